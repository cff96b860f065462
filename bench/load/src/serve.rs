//! The servers behind the proxies: an echo and a sink.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use crate::poll::{Poll, listen};

const LISTENER: u64 = u64::MAX;

/// What a server does with the bytes it reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sends them back.
    Echo,
    /// Forgets them.
    Sink,
}

/// Serves until the process is killed.
pub fn run(kind: Kind, on: SocketAddr) -> io::Result<()> {
    let listener = listen(on)?;
    let mut poll = Poll::new()?;
    poll.add_listener(listener.as_raw_fd(), LISTENER)?;
    let mut streams: HashMap<u64, TcpStream> = HashMap::new();
    let mut buffer = vec![0; if kind == Kind::Sink { 1 << 20 } else { 1 << 16 }];
    println!("ready");
    loop {
        for token in poll.wait(-1)? {
            if token != LISTENER {
                if streams.get_mut(&token).is_some_and(|stream| !step(kind, stream, &mut buffer)) {
                    streams.remove(&token);
                }
                continue;
            }
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let token = stream.as_raw_fd() as u64;
                poll.add(stream.as_raw_fd(), token)?;
                streams.insert(token, stream);
            }
        }
    }
}

/// Moves what is there; false at the stream's end. An echo's answer is small enough to be written at once, or the stream ends.
fn step(kind: Kind, stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    loop {
        match stream.read(buffer) {
            Ok(0) => return false,
            Ok(n) if kind == Kind::Echo => {
                if stream.write_all(&buffer[..n]).is_err() {
                    return false;
                }
                if n < buffer.len() {
                    return true;
                }
            }
            Ok(_) => {}
            Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
