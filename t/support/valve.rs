//! A relay on a port of its own that can be shut: every connection through it ends, and no new one is let in, until it is opened again.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ports;

/// The relay. Shut when it is dropped.
pub struct Valve {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    is_open: AtomicBool,
    is_over: AtomicBool,
    /// Connections that were turned away.
    refused: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl Valve {
    /// An open one.
    pub fn start(to: SocketAddr) -> Self {
        let addr = ports::free_addr();
        let listener = TcpListener::bind(addr).unwrap();
        let (is_open, is_over) = (AtomicBool::new(true), AtomicBool::new(false));
        let shared = Arc::new(Shared { to, is_open, is_over, refused: AtomicU64::new(0), streams: Mutex::default() });
        let relay = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if relay.is_over.load(Ordering::Acquire) {
                    return;
                }
                relay.clone().connect(client);
            }
        });
        Self { addr, shared }
    }

    /// Ends all connections and lets no more in.
    pub fn shut(&self) {
        self.shared.is_open.store(false, Ordering::Release);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            // it may have ended already
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections in again.
    pub fn open(&self) {
        self.shared.is_open.store(true, Ordering::Release);
    }

    /// How many connections were turned away.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Acquire)
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shut();
        // wakes the accepting thread
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
    }
}

impl Shared {
    fn connect(self: Arc<Self>, client: TcpStream) {
        // under the lock, so that none gets in while the valve is being shut
        let mut streams = self.streams.lock().unwrap();
        let server = TcpStream::connect(self.to).ok().filter(|_| self.is_open.load(Ordering::Acquire));
        let Some(server) = server else {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return;
        };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
            streams.push(stream.try_clone().unwrap());
        }
        let (back, forth) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || pump(client, forth));
        std::thread::spawn(move || pump(server, back));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
