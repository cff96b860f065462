//! Free ports for tests that run side by side: from below the range that the system gives to clients, each handed out once.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// A port of 0.0.0.0, of TCP and UDP, that nobody had a moment ago and that no other test of this process gets.
pub fn free() -> u16 {
    free_row(1)
}

/// The first of so many neighbouring [`free`] ports.
pub fn free_row(length: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // several runs of the tests on one machine begin at different places
    let begin = std::process::id().wrapping_mul(97);
    loop {
        let n = NEXT.fetch_add(u32::from(length), Ordering::Relaxed);
        assert!(n < COUNT, "no free port");
        let first = u16::try_from(FIRST + begin.wrapping_add(n) % COUNT).unwrap();
        let free =
            |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if (0..length).all(|n| free(first + n)) {
            return first;
        }
    }
}

/// [`free`] on 127.0.0.1.
pub fn free_addr() -> SocketAddr {
    local(free())
}

/// 127.0.0.1 with a port.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
