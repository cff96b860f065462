//! How bytes are counted while they move, without the mover knowing what counts them.

/// Direction of bytes through the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to upstream.
    In,
    /// Upstream to client.
    Out,
}

/// Told of every run of bytes after the receiving side's socket took it.
pub trait ByteMeter {
    /// `bytes` moved in this direction.
    fn moved(&self, direction: Direction, bytes: usize);
}

impl<M: ByteMeter + ?Sized> ByteMeter for std::sync::Arc<M> {
    fn moved(&self, direction: Direction, bytes: usize) {
        (**self).moved(direction, bytes);
    }
}
