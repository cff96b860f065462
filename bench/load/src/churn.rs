//! Many connections of which some always close while others open, and how long an echo takes meanwhile.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::client::MESSAGE;
use crate::poll::{Poll, connect};

/// Connections that close, and as many that open, a second.
const TURNOVER: f64 = 2000.0;
/// Echoes on connections at rest, a second.
const ECHOES: f64 = 1000.0;
/// So many may be on their way to be open.
const OPENING: usize = 256;
/// An echo that takes longer has failed.
const LOST: Duration = Duration::from_secs(5);

/// What was seen.
pub struct Seen {
    /// Connections that were opened and echoed.
    pub opened: u64,
    pub failed: u64,
    /// Of echoes on connections at rest, sorted.
    pub latencies: Vec<Duration>,
}

struct Connection {
    stream: TcpStream,
    /// When its echo was asked for; `None` at rest.
    asked: Option<Instant>,
    sent: bool,
    got: usize,
    fresh: bool,
}

struct Crowd {
    poll: Poll,
    to: SocketAddr,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
    /// Descriptors of connections at rest, the oldest first.
    resting: VecDeque<usize>,
    opening: usize,
    seen: Seen,
}

impl Crowd {
    fn open(&mut self) -> io::Result<()> {
        let stream = connect(self.to)?;
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd();
        let at = fd as usize;
        self.connections.resize_with(self.connections.len().max(at + 1), || None);
        self.connections[at] = Some(Connection { stream, asked: Some(Instant::now()), sent: false, got: 0, fresh: true });
        self.opening += 1;
        self.poll.add(fd, at as u64)
    }

    /// An echo on the oldest connection at rest.
    fn ask(&mut self) {
        let Some(at) = self.resting.pop_front() else { return };
        let Some(connection) = &mut self.connections[at] else { return };
        (connection.asked, connection.sent, connection.got) = (Some(Instant::now()), false, 0);
        self.step(at);
    }

    fn step(&mut self, at: usize) {
        let Some(Some(connection)) = self.connections.get_mut(at) else { return };
        let done = connection.step();
        let (fresh, asked) = (connection.fresh, connection.asked);
        match done {
            Ok(false) if asked.is_none_or(|asked| asked.elapsed() < LOST) => return,
            Ok(true) => {
                let took = connection.asked.take().map_or(Duration::ZERO, |asked| asked.elapsed());
                if fresh {
                    self.seen.opened += 1;
                } else {
                    self.seen.latencies.push(took);
                }
                connection.fresh = false;
                self.resting.push_back(at);
            }
            Ok(false) | Err(_) => {
                self.seen.failed += 1;
                self.resting.retain(|resting| *resting != at);
                self.connections[at] = None;
            }
        }
        self.opening -= usize::from(fresh);
    }

    fn close(&mut self) {
        if let Some(at) = self.resting.pop_front() {
            self.connections[at] = None;
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        for token in self.poll.wait(1)? {
            self.step(token as usize);
        }
        Ok(())
    }
}

impl Connection {
    /// Sends and receives what is possible now; true when a whole echo is back. A connection at rest must hear nothing.
    fn step(&mut self) -> io::Result<bool> {
        let at_rest = self.asked.is_none();
        if !self.sent && !at_rest {
            match self.stream.write(&MESSAGE) {
                Ok(n) => self.sent = n == MESSAGE.len(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        let mut buffer = [0; MESSAGE.len()];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if at_rest => return Err(io::Error::other("bytes that nobody asked for")),
                Ok(n) => self.got += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
            if self.got == MESSAGE.len() {
                return Ok(true);
            }
        }
    }
}

/// Opens connections, says `open`, then for so long closes and opens them and asks for echoes.
pub fn run(to: SocketAddr, time: Duration, connections: usize) -> io::Result<Seen> {
    let seen = Seen { opened: 0, failed: 0, latencies: Vec::new() };
    let mut crowd = Crowd { poll: Poll::new()?, to, connections: Vec::new(), resting: VecDeque::new(), opening: 0, seen };
    while crowd.resting.len() < connections && crowd.seen.failed == 0 {
        while crowd.opening < OPENING && crowd.resting.len() + crowd.opening < connections {
            crowd.open()?;
        }
        crowd.turn()?;
    }
    println!("open");
    crowd.seen.opened = 0;
    let (begin, mut turned, mut asked) = (Instant::now(), 0.0, 0.0);
    while begin.elapsed() < time {
        let passed = begin.elapsed().as_secs_f64();
        while turned < passed * TURNOVER && crowd.opening < OPENING {
            crowd.close();
            crowd.open()?;
            turned += 1.0;
        }
        while asked < passed * ECHOES {
            crowd.ask();
            asked += 1.0;
        }
        crowd.turn()?;
    }
    crowd.seen.latencies.sort();
    Ok(crowd.seen)
}
