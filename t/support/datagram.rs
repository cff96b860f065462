//! Servers and clients of datagrams.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ports;

/// Longer than anything that a test waits for on purpose.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a test waits for what must not come.
pub const QUIET: Duration = Duration::from_millis(200);

/// A server that answers each datagram with so many copies of it. It ends when it is dropped.
pub struct Echo {
    pub addr: SocketAddr,
    received: Arc<AtomicU64>,
    clients: Arc<Mutex<BTreeSet<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One copy of each.
pub fn echo() -> Echo {
    echo_on(ports::free_addr(), 1)
}

/// An echo of so many copies on an address.
pub fn echo_on(addr: SocketAddr, copies: usize) -> Echo {
    let socket = UdpSocket::bind(addr).unwrap_or_else(|e| panic!("echo on {addr}: {e}"));
    // to see that it is to stop
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    let (received, stop, clients) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
    let (saw, stopped, met) = (received.clone(), stop.clone(), clients.clone());
    let thread = std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while !stopped.load(Ordering::Acquire) {
            let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
            saw.fetch_add(1, Ordering::AcqRel);
            met.lock().unwrap().insert(from);
            for _ in 0..copies {
                let _ = socket.send_to(&buffer[..n], from);
            }
        }
    });
    Echo { addr, received, clients, stop, thread: Some(thread) }
}

impl Echo {
    /// Datagrams that it got.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Different addresses that it got them from.
    pub fn clients(&self) -> usize {
        self.clients.lock().unwrap().len()
    }

    /// As nodes are written.
    pub fn node(&self) -> String {
        self.addr.to_string()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A client that hears of one address only.
pub struct Client(pub UdpSocket);

/// A client of an address, from any port.
pub fn client(to: SocketAddr) -> Client {
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse().unwrap() } else { "[::]:0".parse().unwrap() };
    client_from(any, to)
}

/// A client of an address, from an address.
pub fn client_from(from: SocketAddr, to: SocketAddr) -> Client {
    let socket = UdpSocket::bind(from).unwrap_or_else(|e| panic!("client on {from}: {e}"));
    socket.connect(to).unwrap();
    Client(socket)
}

impl Client {
    pub fn say(&self, bytes: &[u8]) {
        self.0.send(bytes).unwrap_or_else(|e| panic!("send: {e}"));
    }

    /// The next datagram.
    pub fn hear(&self) -> Vec<u8> {
        self.within(PATIENCE).expect("a datagram")
    }

    /// The next datagram, if one comes in time. An error of the gateway's port is nothing.
    pub fn within(&self, time: Duration) -> Option<Vec<u8>> {
        self.0.set_read_timeout(Some(time)).unwrap();
        let mut buffer = vec![0; 65_536];
        let n = self.0.recv(&mut buffer).ok()?;
        buffer.truncate(n);
        Some(buffer)
    }

    /// Says something and hears the same.
    pub fn ping(&self, bytes: &[u8]) {
        self.say(bytes);
        let heard = self.hear();
        assert!(heard == bytes, "{} bytes were sent, {} came back", bytes.len(), heard.len());
    }

    /// Whether an answer comes to a datagram that is said again and again for a while.
    pub fn answered(&self) -> bool {
        (0..20).any(|_| self.0.send(b"?").is_ok() && self.within(Duration::from_millis(100)).is_some())
    }
}
