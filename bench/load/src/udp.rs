//! Datagrams: an echo server, and clients that send many, come anew, or rest. Knows nothing of streams.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::client::Done;
use crate::poll::Poll;

/// Datagrams under way on one socket.
const WINDOW: usize = 4;
/// The payload where the size does not matter.
const SMALL: usize = 64;
/// No echo after so long is one that was lost.
const LOST: Duration = Duration::from_secs(1);
/// Where new sessions come from: an address of their own, and ports in their order, so that none is met again too soon.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const FIRST_PORT: u16 = 10_000;

/// Sends back every datagram until the process is killed.
pub fn echo(on: SocketAddr) -> io::Result<Done> {
    let socket = UdpSocket::bind(on)?;
    println!("ready");
    let mut buffer = vec![0; 65_536];
    loop {
        // a refused datagram is told on the next receive; the client is gone, which is no fault
        if let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..n], from);
        }
    }
}

fn open(from: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Echoes of this size for so long, a few under way on each socket. A unit is a datagram that came back.
pub fn packets(to: SocketAddr, time: Duration, sockets: usize, size: usize) -> io::Result<Done> {
    let mut poll = Poll::new()?;
    let sockets: Vec<UdpSocket> = (0..sockets).map(|_| open(any(), to)).collect::<io::Result<_>>()?;
    let (payload, mut buffer) = (vec![b'u'; size], vec![0; 65_536]);
    let (mut sent, mut units) = (0_u64, 0_u64);
    let mut send = |socket: &UdpSocket| socket.send(&payload).map(|_| sent += 1);
    let begin = Instant::now();
    for (token, socket) in sockets.iter().enumerate() {
        poll.add(socket.as_raw_fd(), token as u64)?;
        for _ in 0..WINDOW {
            send(socket)?;
        }
    }
    while begin.elapsed() < time {
        let ready = poll.wait(100)?;
        // everything that was under way is lost: begin again
        let stalled = if ready.is_empty() { WINDOW } else { 0 };
        for socket in sockets.iter().take(sockets.len() * stalled.min(1)) {
            (0..stalled).try_for_each(|_| send(socket))?;
        }
        for token in ready {
            let socket = &sockets[token as usize];
            while let Ok(n) = socket.recv(&mut buffer) {
                units += u64::from(n == size);
                send(socket)?;
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let lost = sent.saturating_sub(units + (sockets.len() * WINDOW) as u64);
    // a datagram may be lost; one of a hundred may not
    Ok(Done { units: units as f64, seconds, failed: if lost * 100 > units { lost } else { 0 } })
}

/// One exchange of a new session.
struct Session {
    socket: UdpSocket,
    since: Instant,
}

/// The sources of new sessions.
struct Sources(u16);

impl Sources {
    fn open(&mut self, to: SocketAddr) -> io::Result<Session> {
        loop {
            let from = SocketAddr::from((SOURCE, FIRST_PORT + self.0));
            self.0 += 1;
            match open(from, to) {
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
                Err(e) => return Err(e),
                Ok(socket) => {
                    socket.send(&[b'u'; SMALL])?;
                    return Ok(Session { socket, since: Instant::now() });
                }
            }
        }
    }
}

/// So many sessions of one exchange each, some at a time, each from a source that was never seen. A unit is a session.
pub fn sessions(to: SocketAddr, total: usize, at_once: usize) -> io::Result<Done> {
    let mut poll = Poll::new()?;
    let (mut sources, mut begun, mut units, mut failed) = (Sources(0), 0, 0_u64, 0);
    let begin = Instant::now();
    let mut places: Vec<Option<Session>> = Vec::new();
    let mut next = |poll: &Poll, token: usize| -> io::Result<Option<Session>> {
        if begun == total {
            return Ok(None);
        }
        begun += 1;
        let session = sources.open(to)?;
        poll.add(session.socket.as_raw_fd(), token as u64)?;
        Ok(Some(session))
    };
    for token in 0..at_once {
        places.push(next(&poll, token)?);
    }
    let mut buffer = [0; SMALL];
    while places.iter().any(Option::is_some) {
        let ready = poll.wait(100)?;
        let quiet = ready.is_empty();
        for token in ready {
            let place = &mut places[token as usize];
            if place.as_ref().is_some_and(|session| session.socket.recv(&mut buffer).is_ok()) {
                units += 1;
                *place = next(&poll, token as usize)?;
            }
        }
        for (token, place) in places.iter_mut().enumerate().take(if quiet { at_once } else { 0 }) {
            if place.as_ref().is_some_and(|session| session.since.elapsed() > LOST) {
                failed += 1;
                *place = next(&poll, token)?;
            }
        }
    }
    // a datagram may be lost; one of a hundred may not
    Ok(Done { units: units as f64, seconds: begin.elapsed().as_secs_f64(), failed: if failed * 100 > units { failed } else { 0 } })
}

/// Opens sessions, one exchange on each, says `open`, and holds them until its standard input ends. A unit is a session.
pub fn idle(to: SocketAddr, sessions: usize) -> io::Result<Done> {
    let (begin, mut sources, mut held) = (Instant::now(), Sources(0), Vec::new());
    for _ in 0..sessions {
        let session = sources.open(to)?;
        session.socket.set_nonblocking(false)?;
        session.socket.set_read_timeout(Some(LOST))?;
        session.socket.recv(&mut [0; SMALL])?;
        held.push(session);
    }
    println!("open");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(Done { units: held.len() as f64, seconds: begin.elapsed().as_secs_f64(), failed: 0 })
}
