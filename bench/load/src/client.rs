//! The clients: how often, how fast, how much, and how many at rest.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::poll::{Poll, connect};

/// The payload of one message.
pub const MESSAGE: [u8; 64] = [b'm'; 64];

/// What was done in which time.
pub struct Done {
    pub units: f64,
    pub seconds: f64,
    /// Connections or messages that failed; a run with failures is no measurement.
    pub failed: u64,
}

/// One connection's place. After each whole echo it begins again, on the same connection or on a new one.
struct Place {
    stream: TcpStream,
    sent: bool,
    got: usize,
}

impl Place {
    fn open(poll: &Poll, to: SocketAddr, token: u64) -> io::Result<Self> {
        let stream = connect(to)?;
        stream.set_nodelay(true)?;
        poll.add(stream.as_raw_fd(), token)?;
        Ok(Self { stream, sent: false, got: 0 })
    }

    /// Sends and receives what is possible now; true when a whole echo is back.
    fn step(&mut self) -> io::Result<bool> {
        if !self.sent {
            match self.stream.write(&MESSAGE) {
                Ok(n) if n == MESSAGE.len() => self.sent = true,
                Ok(n) => return Err(io::Error::other(format!("{n} bytes were sent"))),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        let mut buffer = [0; MESSAGE.len()];
        while self.got < MESSAGE.len() {
            match self.stream.read(&mut buffer[self.got..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.got += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        (self.sent, self.got) = (false, 0);
        Ok(true)
    }
}

/// Echoes for so long. `again`: each on a new connection.
fn echoes(to: SocketAddr, time: Duration, connections: usize, again: bool) -> io::Result<Done> {
    let mut poll = Poll::new()?;
    let mut places = Vec::new();
    for token in 0..connections {
        places.push(Place::open(&poll, to, token as u64)?);
    }
    let (begin, mut units, mut failed) = (Instant::now(), 0_u64, 0);
    while begin.elapsed() < time {
        for token in poll.wait(100)? {
            let place = &mut places[token as usize];
            loop {
                match place.step() {
                    Ok(false) => break,
                    Ok(true) => units += 1,
                    Err(_) => failed += 1,
                }
                if again || failed > 0 {
                    *place = Place::open(&poll, to, token)?;
                    break;
                }
            }
        }
        if failed > 1000 {
            break;
        }
    }
    Ok(Done { units: units as f64, seconds: begin.elapsed().as_secs_f64(), failed })
}

/// Connect, one echo, close; over and over. A unit is a connection.
pub fn rate(to: SocketAddr, time: Duration, connections: usize) -> io::Result<Done> {
    echoes(to, time, connections, true)
}

/// Echoes on connections that stay. A unit is a message.
pub fn pingpong(to: SocketAddr, time: Duration, connections: usize) -> io::Result<Done> {
    echoes(to, time, connections, false)
}

/// Sends as much as goes. A unit is 10⁹ bytes.
pub fn bulk(to: SocketAddr, time: Duration, connections: usize) -> io::Result<Done> {
    let mut poll = Poll::new()?;
    let mut streams = Vec::new();
    for token in 0..connections {
        let stream = connect(to)?;
        poll.add(stream.as_raw_fd(), token as u64)?;
        streams.push(stream);
    }
    let chunk = vec![b'b'; 256 * 1024];
    let (begin, mut bytes, mut failed) = (Instant::now(), 0_u64, 0);
    while begin.elapsed() < time && failed == 0 {
        for token in poll.wait(100)? {
            // a bounded number of writes, so that no connection starves the others; the edge comes again when the buffer was full
            loop {
                match streams[token as usize].write(&chunk) {
                    Ok(n) => bytes += n as u64,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.kind() == io::ErrorKind::NotConnected => break,
                    Err(_) => {
                        failed += 1;
                        break;
                    }
                }
                if begin.elapsed() >= time {
                    break;
                }
            }
        }
    }
    Ok(Done { units: bytes as f64 / 1e9, seconds: begin.elapsed().as_secs_f64(), failed })
}

/// Opens connections, one echo on each, says `open`, and holds them until its standard input ends. A unit is a connection.
pub fn idle(to: SocketAddr, connections: usize) -> io::Result<Done> {
    let begin = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(&MESSAGE)?;
        stream.read_exact(&mut [0; MESSAGE.len()])?;
        streams.push(stream);
    }
    println!("open");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(Done { units: streams.len() as f64, seconds: begin.elapsed().as_secs_f64(), failed: 0 })
}
