//! Waiting for many sockets at one price: they are gathered under one descriptor of their own (`epoll(7)`), and the worker's runtime
//! waits for that one. Nothing is kept here for a socket.
#![expect(unsafe_code, reason = "a descriptor that the runtime watches must stay open meanwhile, which is vouched for here")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How much news is taken at once.
pub const NEWS: usize = 128;

/// Has the worker's runtime watch for what comes to a descriptor. To be called inside that runtime.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is the same open descriptor until it is dropped, and AsyncFd gives it out by reference only.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// The sockets.
#[derive(Debug)]
pub struct Ready(AsyncFd<OwnedFd>);

impl Ready {
    /// None. To be called inside the runtime that is to wait.
    pub fn new() -> io::Result<Self> {
        Ok(Self(watch(epoll::create(CreateFlags::CLOEXEC)?)?))
    }

    /// Adds a socket under a number. Each time that something comes to it, or an error, is told once. Closing the socket takes it out.
    pub fn add(&self, socket: &UdpSocket, number: u64) -> io::Result<()> {
        Ok(epoll::add(self.0.get_ref(), socket, EventData::new_u64(number), EventFlags::IN | EventFlags::ET)?)
    }

    /// The numbers of sockets with news, at most [`NEWS`] of them, instead of what `into` held. Pending: there are none.
    pub fn poll(&self, cx: &mut Context<'_>, into: &mut Vec<u64>) -> Poll<io::Result<()>> {
        into.clear();
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; NEWS];
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        // only a look that finds nothing ready leaves word to be woken
        while into.is_empty() {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let taken = epoll::wait(self.0.get_ref(), &mut events, Some(&at_once))?;
            if taken < NEWS {
                guard.clear_ready();
            }
            into.extend(events.iter().take(taken).map(|event| event.data.u64()));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn a_sockets_news_are_told_once_under_its_number() {
        let ready = Ready::new().unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = super::super::connect(server.local_addr().unwrap()).unwrap();
        ready.add(&socket, 7 << 40).unwrap();
        server.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        let mut news = Vec::new();
        while news.is_empty() {
            poll_fn(|cx| ready.poll(cx, &mut news)).await.unwrap();
        }
        assert_eq!(news, [7 << 40]);
        assert!(!poll_fn(|cx| Poll::Ready(ready.poll(cx, &mut news).is_ready())).await);
    }
}
