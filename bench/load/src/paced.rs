//! Requests of HTTP/1.1 at a steady rate, and how long each takes from the moment at which it was due.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::churn::Seen;
use crate::message;
use crate::poll::{Poll, connect};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n";
/// A request that takes longer has failed.
const LOST: Duration = Duration::from_secs(5);

/// A connection that stays.
struct Place {
    stream: TcpStream,
    /// When the request under way was due; `None` at rest.
    due: Option<Instant>,
    got: Vec<u8>,
}

impl Place {
    fn open(poll: &Poll, to: SocketAddr, token: u64) -> io::Result<Self> {
        let stream = connect(to)?;
        stream.set_nodelay(true)?;
        poll.add(stream.as_raw_fd(), token)?;
        Ok(Self { stream, due: None, got: Vec::new() })
    }

    fn ask(&mut self, due: Instant) -> io::Result<()> {
        self.due = Some(due);
        self.got.clear();
        match self.stream.write(REQUEST)? {
            n if n == REQUEST.len() => Ok(()),
            n => Err(io::Error::other(format!("{n} bytes were sent"))),
        }
    }

    /// Reads what is there; how long the request took, once its answer is whole.
    fn step(&mut self) -> io::Result<Option<Duration>> {
        let mut buffer = [0; 1 << 14];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.got.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.kind() == io::ErrorKind::NotConnected => break,
                Err(e) => return Err(e),
            }
        }
        if self.due.is_none() || message::length(&self.got) != Some(self.got.len()) {
            return Ok(None);
        }
        if !self.got.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other("not 200"));
        }
        Ok(self.due.take().map(|due| due.elapsed()))
    }
}

/// The connections, and what was seen on them.
struct Row {
    poll: Poll,
    to: SocketAddr,
    places: Vec<Place>,
    resting: VecDeque<usize>,
    seen: Seen,
}

impl Row {
    /// Sends a request on a connection at rest; false where there is none.
    fn ask(&mut self, due: Instant) -> io::Result<bool> {
        let Some(at) = self.resting.pop_front() else { return Ok(false) };
        if self.places[at].ask(due).is_err() {
            self.lose(at)?;
        }
        Ok(true)
    }

    fn turn(&mut self) -> io::Result<()> {
        for token in self.poll.wait(1)? {
            let at = token as usize;
            match self.places[at].step() {
                Ok(Some(took)) if took < LOST => {
                    self.seen.latencies.push(took);
                    self.resting.push_back(at);
                }
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => self.lose(at)?,
            }
        }
        Ok(())
    }

    /// Another connection in the place of one that failed.
    fn lose(&mut self, at: usize) -> io::Result<()> {
        self.seen.failed += 1;
        self.places[at] = Place::open(&self.poll, self.to, at as u64)?;
        self.resting.retain(|resting| *resting != at);
        self.resting.push_back(at);
        Ok(())
    }
}

/// For so long, so many requests a second on connections that stay.
pub fn run(to: SocketAddr, time: Duration, connections: usize, rate: f64) -> io::Result<Seen> {
    let poll = Poll::new()?;
    let places = (0..connections).map(|at| Place::open(&poll, to, at as u64)).collect::<io::Result<_>>()?;
    let seen = Seen { opened: 0, failed: 0, latencies: Vec::new() };
    let mut row = Row { poll, to, places, resting: (0..connections).collect(), seen };
    // their connects end
    std::thread::sleep(Duration::from_millis(500));
    let (begin, mut asked, mut is_late) = (Instant::now(), 0.0, false);
    while begin.elapsed() < time {
        let due = begin + Duration::from_secs_f64(asked / rate);
        if due <= Instant::now() {
            // that this program comes late is not the server's fault; that all connections wait for it is
            is_late = !row.ask(if is_late { due } else { Instant::now() })?;
            asked += f64::from(!is_late);
            if !is_late {
                continue;
            }
        }
        row.turn()?;
    }
    row.seen.latencies.sort();
    Ok(row.seen)
}
