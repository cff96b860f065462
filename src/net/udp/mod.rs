//! UDP sockets: those that clients send to, those that are connected to a node, and the probe that finds a port in somebody
//! else's use. Datagrams move in [`batch`]. Knows no sessions and no routes.

pub mod batch;
mod control;
pub mod ready;

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::sock::{BindError, socket};

/// What the system is asked to keep for a listening socket in each direction, in bytes. It gives at most `net.core.rmem_max` and
/// `wmem_max`; a privileged process gets it all.
const BUFFER: usize = 4 * 1024 * 1024;

fn udp(addr: SocketAddr) -> io::Result<Socket> {
    socket(addr, Type::DGRAM, Protocol::UDP)
}

/// Whether the port could be bound by a socket that does not share it, for the reason that it is asked of TCP ports.
pub fn probe(addr: SocketAddr) -> Result<(), BindError> {
    udp(addr).and_then(|s| s.bind(&addr.into())).map_err(|e| BindError::udp(addr, &e))
}

/// Binds `count` times to one address, for as many workers: the kernel keeps each client on one of them.
///
/// Each tells where its datagrams were sent to if it is bound to all addresses, may hand over several of one client as one, and
/// tells how many the system threw away.
pub fn listen(addr: SocketAddr, count: usize) -> Result<Vec<UdpSocket>, BindError> {
    (0..count).map(|_| listen_one(addr)).collect::<io::Result<_>>().map_err(|e| BindError::udp(addr, &e))
}

fn listen_one(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = udp(addr)?;
    socket.set_reuse_port(true)?;
    control::tell(&socket, addr)?;
    enlarge(&socket);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Smaller buffers than asked for are no error: they only overflow earlier.
fn enlarge(socket: &Socket) {
    if control::force_buffers(socket, BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(BUFFER);
        let _ = socket.set_send_buffer_size(BUFFER);
    }
}

/// A socket that sends to one address and hears of that address alone, its ICMP errors included. Three system calls with the first
/// datagram.
pub fn connect(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}

/// How many bytes the system keeps for what was not read yet.
pub fn receive_buffer(socket: &UdpSocket) -> io::Result<usize> {
    SockRef::from(socket).recv_buffer_size()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_found_by_the_probe_though_it_could_be_shared() {
        let taken = listen_one("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = taken.local_addr().unwrap();
        let error = probe(addr).unwrap_err();
        assert_eq!(error.errno, 98);
        assert!(error.message.contains("ss -lunp"), "{error}");
        assert!(listen_one(addr).is_ok(), "shared");
        drop(taken);
    }

    #[test]
    fn a_connected_socket_hears_that_nobody_listens() {
        let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = connect(dead).unwrap();
        socket.send(b"x").unwrap();
        assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
