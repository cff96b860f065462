//! Pipes for `splice`: a pool for each worker thread, so that an idle session holds none.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::limits;

/// What a pipe is asked to hold, in bytes; a smaller one costs a quarter more system time.
const SIZE: usize = 1 << 20;
/// Pipes that a worker keeps for later.
const KEPT: usize = 32;

/// Pipes in the process, used and kept.
static OPEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// Bytes on their way between two sockets, in the kernel.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty pipe from this thread's pool, or a new one. `None` when pipes have their share of the descriptors (an eighth), or
    /// the system gives no more: the caller copies instead.
    pub fn take() -> Option<Self> {
        POOL.with_borrow_mut(Vec::pop).or_else(Self::open)
    }

    fn open() -> Option<Self> {
        let most = limits::descriptors() / 16;
        if OPEN.fetch_add(1, Ordering::Relaxed) >= most {
            OPEN.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let Ok((read, write)) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC) else {
            OPEN.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        // a smaller pipe works too: an unprivileged user may have used up the pages of `fs.pipe-user-pages-soft`
        let _ = fcntl_setpipe_size(&write, SIZE);
        Some(Self { read, write, held: 0 })
    }

    /// Gives the pipe back to this thread's pool. One that still holds bytes is closed: they belong to one session alone.
    pub fn give_back(self) {
        if self.held > 0 {
            return;
        }
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT {
                pool.push(self);
            }
        });
    }

    /// Bytes in the pipe.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Moves bytes from a socket into the empty pipe; 0 is the end of the stream. Asked of a pipe that holds something, `WouldBlock`
    /// could mean the pipe or the socket, so the caller empties it first.
    pub fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "filled before it was emptied");
        let n = splice(from, None, &self.write, None, SIZE, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
        self.held += n;
        Ok(n)
    }

    /// Moves bytes from the pipe into a socket.
    pub fn empty(&mut self, to: impl AsFd) -> io::Result<usize> {
        let n = splice(&self.read, None, to, None, self.held, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
        self.held = self.held.saturating_sub(n);
        Ok(n)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (a, listener.accept().unwrap().0)
    }

    #[test]
    fn bytes_cross_unchanged_and_the_emptied_pipe_is_used_again() {
        let (mut client, near) = pair();
        let (far, mut server) = pair();
        client.write_all(b"hello").unwrap();
        let mut pipe = Pipe::take().unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&pipe.read);
        assert_eq!(pipe.fill(&near).unwrap(), 5);
        assert_eq!((pipe.empty(&far).unwrap(), pipe.held()), (5, 0));
        let mut got = [0; 5];
        server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        pipe.give_back();
        let again = Pipe::take().unwrap();
        assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&again.read), descriptor);
    }
}
