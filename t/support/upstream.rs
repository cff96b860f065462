//! Upstreams with a temper, on threads of the test's own process. Each ends when it is dropped.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{client, ports};

/// What a server saw.
#[derive(Debug, Default)]
pub struct Seen {
    hits: Mutex<BTreeMap<IpAddr, u64>>,
    received: AtomicU64,
}

/// A running server.
pub struct Server {
    pub addr: SocketAddr,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves each connection on a thread of its own.
    pub fn start(addr: SocketAddr, serve: impl Fn(TcpStream, &Seen) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(addr).unwrap_or_else(|e| panic!("upstream on {addr}: {e}"));
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let (saw, stopped, serve) = (seen.clone(), stop.clone(), Arc::new(serve));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let local = stream.local_addr().unwrap().ip();
                *saw.hits.lock().unwrap().entry(local).or_default() += 1;
                let (saw, serve) = (saw.clone(), serve.clone());
                std::thread::spawn(move || serve(stream, &saw));
            }
        });
        Self { addr, seen, stop, accepting: Some(accepting) }
    }

    /// Connections that it accepted.
    pub fn connections(&self) -> u64 {
        self.seen.hits.lock().unwrap().values().sum()
    }

    /// Connections that it accepted on one of its addresses.
    pub fn hits(&self, ip: &str) -> u64 {
        self.seen.hits.lock().unwrap().get(&ip.parse().unwrap()).copied().unwrap_or_default()
    }

    /// Bytes that it read.
    pub fn received(&self) -> u64 {
        self.seen.received.load(Ordering::Acquire)
    }

    /// `127.0.0.1:<port>`, as nodes are written.
    pub fn node(&self) -> String {
        ports::local(self.addr.port()).to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // wakes the accepting thread; it may have ended already
        let _ = TcpStream::connect_timeout(&ports::local(self.addr.port()), Duration::from_secs(1));
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

/// Reads to the end, counting; the bytes go to `each`.
fn drain(stream: &mut TcpStream, seen: &Seen, mut each: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n) = stream.read(&mut buffer) {
        seen.received.fetch_add(n as u64, Ordering::AcqRel);
        if n == 0 || !each(&buffer[..n]) {
            return;
        }
    }
}

/// Sends back what it gets.
pub fn echo() -> Server {
    Server::start(any(ports::free()), |mut stream, seen| {
        let _ = stream.set_nodelay(true);
        let Ok(mut back) = stream.try_clone() else { return };
        drain(&mut stream, seen, |bytes| back.write_all(bytes).is_ok());
        let _ = back.shutdown(Shutdown::Write);
    })
}

/// Waits for a byte, says `hello world` and closes. Listens on every address; [`Server::hits`] tells which one was used.
pub fn hello() -> Server {
    hello_on(ports::free())
}

/// [`hello`] on a given port.
pub fn hello_on(port: u16) -> Server {
    Server::start(any(port), |mut stream, seen| {
        let mut buffer = [0; 1024];
        if let Ok(n) = stream.read(&mut buffer)
            && n > 0
        {
            seen.received.fetch_add(n as u64, Ordering::AcqRel);
            let _ = stream.write_all(b"hello world\n");
        }
    })
}

/// Answers each request of HTTP/1.1 that has no body, with a body of as many bytes; HEAD with the head of that alone.
pub fn http_of(bytes: usize) -> Server {
    Server::start(ports::free_addr(), move |mut stream, _| {
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..n]);
            while let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                let body = "x".repeat(if seen.starts_with(b"HEAD ") { 0 } else { bytes });
                seen.drain(..end + 4);
                if write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n{body}").is_err() {
                    return;
                }
            }
        }
    })
}

/// Says a banner at once, then echoes.
pub fn speaks_first(banner: &'static [u8]) -> Server {
    Server::start(any(ports::free()), move |mut stream, seen| {
        let Ok(mut back) = stream.try_clone() else { return };
        if back.write_all(banner).is_ok() {
            drain(&mut stream, seen, |bytes| back.write_all(bytes).is_ok());
        }
    })
}

/// Reads to the client's FIN, then sends so many bytes of a known pattern and closes.
pub fn answers_after_fin(bytes: usize) -> Server {
    Server::start(any(ports::free()), move |mut stream, seen| {
        drain(&mut stream, seen, |_| true);
        let _ = stream.write_all(&pattern(bytes));
    })
}

/// Says `bye` and FIN at once, then reads on to the client's FIN.
pub fn says_bye_and_listens() -> Server {
    Server::start(any(ports::free()), |mut stream, seen| {
        if stream.write_all(b"bye").is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
            drain(&mut stream, seen, |_| true);
        }
    })
}

/// Bytes in which every position can be told from its neighbours.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap()).collect()
}

/// Sends `before`, waits for a byte, and resets the connection.
pub fn resets(before: &'static [u8]) -> Server {
    Server::start(any(ports::free()), move |mut stream, seen| {
        let _ = stream.write_all(before);
        let mut buffer = [0; 1];
        let n = stream.read(&mut buffer).unwrap_or_default();
        seen.received.fetch_add(n as u64, Ordering::AcqRel);
        client::reset(stream);
    })
}

/// A stream socket bound to a free port, which old connections to that port do not hinder.
fn bound() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let addr = ports::free_addr();
    socket.bind(&addr.into()).unwrap();
    (socket, addr)
}

/// A port that nobody can listen on and that refuses connections.
pub struct Refusing {
    pub addr: SocketAddr,
    _bound: socket2::Socket,
}

/// Bound but not listening.
pub fn refusing() -> Refusing {
    let (bound, addr) = bound();
    Refusing { addr, _bound: bound }
}

/// A port whose queue is full: connects to it get no answer at all.
pub struct Blackhole {
    pub addr: SocketAddr,
    _listening: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

/// Listens with the smallest queue, fills it, and never accepts.
pub fn blackhole() -> Blackhole {
    let (listening, addr) = bound();
    listening.listen(0).unwrap();
    let mut queued = Vec::new();
    // full is when a connect gets no answer for longer than a machine needs for one
    loop {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let answered = socket.connect_timeout(&addr.into(), Duration::from_millis(300)).is_ok();
        queued.push(socket);
        if !answered {
            return Blackhole { addr, _listening: listening, _queued: queued };
        }
        assert!(queued.len() < 64, "the queue of {addr} does not fill");
    }
}

mod tests {
    use super::*;

    #[test]
    fn each_temper_is_what_it_says() {
        let hello = hello();
        assert!(client::served(ports::local(hello.addr.port())));
        assert_eq!((hello.connections(), hello.hits("127.0.0.1"), hello.received()), (1, 1, 3));

        assert!(client::refused(refusing().addr));

        let black = blackhole();
        let error = TcpStream::connect_timeout(&black.addr, Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);

        let resets = resets(b"x");
        let mut stream = client::connect(ports::local(resets.addr.port()));
        stream.write_all(b"y").unwrap();
        assert_eq!(client::read_all(&mut stream).1, client::End::Reset);

        let echo = echo();
        let mut stream = client::connect(ports::local(echo.addr.port()));
        client::ping(&mut stream, b"abc").unwrap();
    }
}
