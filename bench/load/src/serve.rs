//! The servers behind the proxies: an echo, a sink, and one that answers HTTP requests.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use crate::client::Done;
use crate::message;
use crate::poll::{Poll, listen};

const LISTENER: u64 = u64::MAX;

/// What a server does with the bytes it reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sends them back.
    Echo,
    /// Forgets them.
    Sink,
    /// Answers each request, told by the empty line at its end, with 128 bytes.
    Http,
    /// Answers each request, once it is there with its body, with 16 KB.
    HttpBodies,
}

/// A client.
struct Peer {
    stream: TcpStream,
    /// How much of a request's end was seen.
    end: usize,
    /// What was read of a request with its body.
    got: Vec<u8>,
}

const END: &[u8; 4] = b"\r\n\r\n";

fn answer(length: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + length, b'a');
    answer
}

/// Serves until the process is killed.
pub fn run(kind: Kind, on: SocketAddr) -> io::Result<Done> {
    let listener = listen(on)?;
    let mut poll = Poll::new()?;
    poll.add_listener(listener.as_raw_fd(), LISTENER)?;
    let mut peers: HashMap<u64, Peer> = HashMap::new();
    let mut buffer = vec![0; if kind == Kind::Sink { 1 << 20 } else { 1 << 16 }];
    let answer = answer(if kind == Kind::HttpBodies { 16 << 10 } else { 128 });
    println!("ready");
    loop {
        for token in poll.wait(-1)? {
            if token != LISTENER {
                if peers.get_mut(&token).is_some_and(|peer| !step(kind, peer, &mut buffer, &answer)) {
                    peers.remove(&token);
                }
                continue;
            }
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let token = stream.as_raw_fd() as u64;
                poll.add(stream.as_raw_fd(), token)?;
                peers.insert(token, Peer { stream, end: 0, got: Vec::new() });
            }
        }
    }
}

/// Moves what is there; false at the stream's end. An answer is small enough to be written at once, or the stream ends.
fn step(kind: Kind, peer: &mut Peer, buffer: &mut [u8], answer: &[u8]) -> bool {
    loop {
        let n = match peer.stream.read(buffer) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
        };
        let written = match kind {
            Kind::Echo => peer.stream.write_all(&buffer[..n]),
            Kind::Sink => Ok(()),
            Kind::Http => (0..peer.requests(&buffer[..n])).try_for_each(|_| peer.stream.write_all(answer)),
            Kind::HttpBodies => (0..peer.whole(&buffer[..n])).try_for_each(|_| peer.stream.write_all(answer)),
        };
        if written.is_err() {
            return false;
        }
        if kind != Kind::Sink && n < buffer.len() {
            return true;
        }
    }
}

impl Peer {
    /// How many requests end in these bytes. They have no bodies.
    fn requests(&mut self, bytes: &[u8]) -> usize {
        let mut found = 0;
        for byte in bytes {
            self.end = if *byte == END[self.end] { self.end + 1 } else { usize::from(*byte == END[0]) };
            if self.end == END.len() {
                (self.end, found) = (0, found + 1);
            }
        }
        found
    }

    /// How many requests are there with their bodies now.
    fn whole(&mut self, bytes: &[u8]) -> usize {
        let mut found = 0;
        self.got.extend_from_slice(bytes);
        while let Some(length) = message::length(&self.got).filter(|length| *length <= self.got.len()) {
            self.got.drain(..length);
            found += 1;
        }
        found
    }
}
