//! The few system calls that the load needs, each behind a safe function: epoll, and sockets that do not block.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// An epoll instance. Tokens are chosen by the caller.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the descriptor that comes back is ours alone
        let epoll = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; 1024] })
    }

    /// Watches for readability and writability, edge-triggered.
    pub fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        self.control(fd, token, (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32)
    }

    /// Watches for readability, level-triggered: for listeners.
    pub fn add_listener(&self, fd: RawFd, token: u64) -> io::Result<()> {
        self.control(fd, token, libc::EPOLLIN as u32)
    }

    fn control(&self, fd: RawFd, token: u64, events: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: the event lives until the call returns
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
    }

    /// Waits for at most so many milliseconds; returns the tokens that are ready.
    pub fn wait(&mut self, milliseconds: i32) -> io::Result<Vec<u64>> {
        let room = self.events.len() as libc::c_int;
        // SAFETY: the buffer has the length that is passed
        let found = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), room, milliseconds) };
        match check(found) {
            Ok(n) => Ok(self.events[..n as usize].iter().map(|e| e.u64).collect()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }
}

/// Begins a connect and returns at once.
pub fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let SocketAddr::V4(v4) = to else { return Err(io::Error::other("IPv4 only")) };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: v4.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: the address lives until the call returns and has the length that is passed; the descriptor is ours alone
    unsafe {
        let fd = check(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0))?;
        let stream = TcpStream::from_raw_fd(fd);
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        match check(libc::connect(fd, (&raw const address).cast(), length)) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
            _ => Ok(stream),
        }
    }
}

/// A listener that does not block, with room for bursts.
pub fn listen(on: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(on)?;
    listener.set_nonblocking(true)?;
    // SAFETY: no pointers are passed; a second listen only changes the queue's length
    check(unsafe { libc::listen(listener.as_raw_fd(), 4096) })?;
    Ok(listener)
}
