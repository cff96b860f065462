//! The buffers that all connections of a worker share: what is read, its plaintext, and records to be written. A connection holds
//! bytes of its own only while it waits. Performs no I/O.

use std::cell::RefCell;

use super::channel::{WAITING, room};

/// What one write of plaintext takes at most, in bytes: four full records.
pub const PLAIN: usize = 64 * 1024;
/// What one read of records takes at most, with what is there of one before; always more than may be there.
pub const BUFFER: usize = WAITING + 2 * 1024;

/// The buffers.
pub struct Buffers {
    /// Bytes as they come: [`BUFFER`] of them.
    pub incoming: Box<[u8]>,
    /// Plaintext.
    pub plain: Vec<u8>,
    /// Room for the records of [`BUFFER`] bytes of plaintext.
    pub records: Box<[u8]>,
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Buffers")
    }
}

thread_local! {
    static SHARED: RefCell<Buffers> = RefCell::new(Buffers {
        incoming: vec![0; BUFFER].into_boxed_slice(),
        plain: Vec::with_capacity(BUFFER),
        records: vec![0; room(BUFFER)].into_boxed_slice(),
    });
}

/// Lends the buffers of this thread. Whoever has them must not ask for them again.
pub fn with<T>(work: impl FnOnce(&mut Buffers) -> T) -> T {
    SHARED.with_borrow_mut(work)
}
