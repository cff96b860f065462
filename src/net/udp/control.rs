//! What travels beside a datagram: the address that it was sent to or leaves from, and the size of its parts where one buffer
//! holds several. `ip(7)`, `ipv6(7)`, `udp(7)`, `socket(7)`.
#![expect(unsafe_code, reason = "control messages are read and written through pointers into their buffer")]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use libc::{c_int, c_uint, c_void, cmsghdr, in_pktinfo, in6_pktinfo, msghdr, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};
use socket2::Socket;

use names::{FAMILY_V4, FAMILY_V6, LENGTH_V4, LENGTH_V6};

/// Room for the control messages of one datagram, aligned as they need it: an address, a size and a count at most.
pub(super) type Room = [u64; 12];

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "small constants of the system")]
mod names {
    use libc::{sa_family_t, sockaddr_in, sockaddr_in6, socklen_t};

    pub(super) const FAMILY_V4: sa_family_t = libc::AF_INET as sa_family_t;
    pub(super) const FAMILY_V6: sa_family_t = libc::AF_INET6 as sa_family_t;
    pub(super) const LENGTH_V4: socklen_t = size_of::<sockaddr_in>() as socklen_t;
    pub(super) const LENGTH_V6: socklen_t = size_of::<sockaddr_in6>() as socklen_t;
}

/// What came beside a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    /// Where the client sent it to.
    pub(super) local: Option<IpAddr>,
    /// The size of each part but the last, where the buffer holds several.
    pub(super) segment: Option<usize>,
    /// How many the system has thrown away on this socket, ever, modulo 2³².
    pub(super) lost: Option<u32>,
}

/// The name of a peer as the system writes it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Name {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

fn set<T>(socket: &Socket, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let length = socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length are those of a live value, which the system only reads.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the socket tell what [`Beside`] holds.
pub(super) fn tell(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    let on: c_int = 1;
    if addr.ip().is_unspecified() {
        match addr {
            SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &on)?,
            SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &on)?,
        }
    }
    set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &on)?;
    // kernels before 5.0 cannot; then every datagram has a buffer of its own
    let _ = set(socket, libc::SOL_UDP, libc::UDP_GRO, &on);
    Ok(())
}

/// Buffers beyond what unprivileged processes may have.
pub(super) fn force_buffers(socket: &Socket, bytes: usize) -> io::Result<()> {
    let bytes = c_int::try_from(bytes).map_err(io::Error::other)?;
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)?;
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes)
}

impl Name {
    pub(super) const fn empty() -> Self {
        // SAFETY: all zeros is a value of both members.
        unsafe { mem::zeroed() }
    }

    /// The peer's address, canonical only in form: an IPv4 address inside IPv6 stays one.
    pub(super) fn read(&self) -> Option<SocketAddr> {
        // SAFETY: the family stands at the same place in both members, and all bytes are initialised.
        match c_int::from(unsafe { self.v4.sin_family }) {
            libc::AF_INET => {
                // SAFETY: the system wrote this member, as the family says.
                let v4 = unsafe { self.v4 };
                Some(SocketAddrV4::new(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)), u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }

    /// Writes an address; the answer is its length.
    pub(super) fn write(&mut self, addr: SocketAddr) -> socklen_t {
        match addr {
            SocketAddr::V4(addr) => {
                self.v4 = sockaddr_in {
                    sin_family: FAMILY_V4,
                    sin_port: addr.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*addr.ip()).to_be() },
                    sin_zero: [0; 8],
                };
                LENGTH_V4
            }
            SocketAddr::V6(addr) => {
                self.v6 = sockaddr_in6 {
                    sin6_family: FAMILY_V6,
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
                    sin6_scope_id: addr.scope_id(),
                };
                LENGTH_V6
            }
        }
    }

    pub(super) fn pointer(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast::<sockaddr>().cast()
    }
}

/// Reads what the system wrote beside one datagram.
pub(super) fn read(header: &msghdr) -> Beside {
    let mut beside = Beside::default();
    // SAFETY: the system filled the header's control buffer, which is live, and set its length.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR answer with null or a whole header inside the buffer.
    while let Some(message) = unsafe { at.as_ref() } {
        one(message, at, &mut beside);
        // SAFETY: as above.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    beside
}

fn one(message: &cmsghdr, at: *const cmsghdr, beside: &mut Beside) {
    match (message.cmsg_level, message.cmsg_type) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            // SAFETY: the system put this structure into a message of this level and type.
            let info: in_pktinfo = unsafe { data(at) };
            beside.local = Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            // SAFETY: as above.
            let info: in6_pktinfo = unsafe { data(at) };
            beside.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
        }
        (libc::SOL_UDP, libc::UDP_GRO) => {
            // SAFETY: as above.
            let segment: c_int = unsafe { data(at) };
            beside.segment = usize::try_from(segment).ok();
        }
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
            // SAFETY: as above.
            beside.lost = Some(unsafe { data(at) });
        }
        _ => {}
    }
}

/// # Safety
/// The message holds a `T`.
unsafe fn data<T>(at: *const cmsghdr) -> T {
    // SAFETY: the caller vouches for the type; the copy needs no alignment.
    unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(at).cast()) }
}

/// Writes what goes beside a datagram that is to be sent: its source address, and the size of its parts if it has several. The
/// header's control buffer is `room`.
pub(super) fn write(header: &mut msghdr, room: &mut Room, from: Option<IpAddr>, segment: Option<u16>) {
    header.msg_control = room.as_mut_ptr().cast();
    header.msg_controllen = size_of::<Room>();
    // SAFETY: the control buffer was just set to one that is live and larger than a header.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    let mut used = 0;
    if let Some(from) = from {
        used += match from {
            IpAddr::V4(v4) => {
                let spec = libc::in_addr { s_addr: u32::from(v4).to_be() };
                let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec, ipi_addr: libc::in_addr { s_addr: 0 } };
                // SAFETY: the room holds all three kinds of message at once.
                unsafe { put(at, libc::IPPROTO_IP, libc::IP_PKTINFO, info) }
            }
            IpAddr::V6(v6) => {
                let info = in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: v6.octets() }, ipi6_ifindex: 0 };
                // SAFETY: as above.
                unsafe { put(at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info) }
            }
        };
        // SAFETY: a whole message was written at the place, and the room goes on behind it.
        at = unsafe { at.cast::<u8>().add(used).cast() };
    }
    if let Some(segment) = segment {
        // SAFETY: as above.
        used += unsafe { put(at, libc::SOL_UDP, libc::UDP_SEGMENT, segment) };
    }
    header.msg_controllen = used;
    if used == 0 {
        header.msg_control = std::ptr::null_mut();
    }
}

/// Writes one message; the answer is how many bytes it takes.
///
/// # Safety
/// There is room for it at the place, aligned as a header.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "sizes of control messages fit any integer")]
unsafe fn put<T>(at: *mut cmsghdr, level: c_int, kind: c_int, value: T) -> usize {
    let size = size_of::<T>() as c_uint;
    // SAFETY: the caller vouches for the room; CMSG_LEN and CMSG_SPACE only reckon.
    unsafe {
        (*at).cmsg_level = level;
        (*at).cmsg_type = kind;
        (*at).cmsg_len = libc::CMSG_LEN(size) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(at).cast(), value);
        libc::CMSG_SPACE(size) as usize
    }
}
