//! Buffers that no message needs now. Connections of one thread pass them on, so that one which waits for a request holds none, and
//! one that gets a request allocates none.

use std::cell::RefCell;

use bytes::BytesMut;

/// The size of a buffer, in bytes: most messages fit.
pub(super) const SIZE: usize = 8 * 1024;
/// The most that a thread keeps of each kind.
const KEPT: usize = 16;

thread_local! {
    static READ: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static WRITE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer to read into.
pub(super) fn read() -> BytesMut {
    READ.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// Takes one back of [`SIZE`], of which parts may still be read somewhere.
pub(super) fn keep_read(mut buffer: BytesMut) {
    buffer.clear();
    READ.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    });
}

/// An empty buffer to write from.
pub(super) fn write() -> Vec<u8> {
    WRITE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(SIZE))
}

/// Takes one back, unless it has grown.
pub(super) fn keep_write(mut buffer: Vec<u8>) {
    if buffer.capacity() != SIZE {
        return;
    }
    buffer.clear();
    WRITE.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    });
}
