//! Listening sockets: options, the probe that finds a port in somebody else's use, and what bind errors mean.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why a port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BindError {
    /// The system's error number; 0 when it gave none.
    pub errno: i32,
    /// What it means and what helps.
    pub message: String,
}

impl BindError {
    fn new(addr: SocketAddr, source: &io::Error) -> Self {
        Self::with(addr, source, " (another socket has it; `ss -ltnp` shows whose)")
    }

    /// Of a UDP port.
    pub(super) fn udp(addr: SocketAddr, source: &io::Error) -> Self {
        Self::with(addr, source, " (another socket has it; `ss -lunp` shows whose)")
    }

    fn with(addr: SocketAddr, source: &io::Error, in_use: &str) -> Self {
        let hints = [
            (io::ErrorKind::AddrInUse, in_use),
            (io::ErrorKind::PermissionDenied, " (ports below 1024 need the capability CAP_NET_BIND_SERVICE)"),
            (io::ErrorKind::AddrNotAvailable, " (no interface of this machine has the address)"),
        ];
        let hint = hints.iter().find(|(kind, _)| *kind == source.kind()).map_or("", |(_, hint)| hint);
        Self { errno: source.raw_os_error().unwrap_or(0), message: format!("bind {addr}: {source}{hint}") }
    }
}

/// A socket that does not wait and is not inherited, for addresses of one family only.
pub(super) fn socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind.nonblocking().cloexec(), Some(protocol))?;
    if addr.is_ipv6() {
        // an IPv6 wildcard must not take the IPv4 port along: that is another listener's
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn tcp(addr: SocketAddr) -> io::Result<Socket> {
    let socket = socket(addr, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Whether the port could be bound by a socket that does not share it: `SO_REUSEPORT` would hide that another process of the
/// same user listens there, and take half of its connections.
pub fn probe_tcp(addr: SocketAddr) -> Result<(), BindError> {
    tcp(addr).and_then(|s| s.bind(&addr.into())).map_err(|e| BindError::new(addr, &e))
}

/// Binds and listens `count` times on one address, for as many workers. Options are set here because accepted connections
/// inherit them: no further system call for each.
pub fn listen_tcp(addr: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    (0..count).map(|_| listen_one(addr)).collect::<io::Result<_>>().map_err(|e| BindError::new(addr, &e))
}

fn listen_one(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = tcp(addr)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Two addresses that the kernel lets only `SO_REUSEPORT` sockets share: the same port and family, and one of them the wildcard
/// or both equal.
pub fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_found_by_the_probe_though_it_could_be_shared() {
        let taken = listen_one("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = taken.local_addr().unwrap();
        let error = probe_tcp(addr).unwrap_err();
        assert_eq!(error.errno, 98);
        assert!(error.message.contains("in use"), "{error}");
        assert!(listen_one(addr).is_ok(), "shared");
        drop(taken);
    }

    #[test]
    fn an_address_of_no_interface_says_so() {
        let error = probe_tcp("192.0.2.1:9100".parse().unwrap()).unwrap_err();
        assert_eq!(error.errno, 99);
        assert!(error.message.contains("no interface"), "{error}");
    }

    #[test]
    fn wildcards_overlap_with_addresses_of_their_family_only() {
        let at = |s: &str| s.parse::<SocketAddr>().unwrap();
        assert!(overlap(at("0.0.0.0:80"), at("10.0.0.1:80")));
        assert!(!overlap(at("0.0.0.0:80"), at("[::1]:80")));
        assert!(!overlap(at("10.0.0.2:80"), at("10.0.0.1:80")));
        assert!(!overlap(at("0.0.0.0:80"), at("0.0.0.0:81")));
    }
}
