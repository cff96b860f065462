//! Version 2: binary, with a length. Knows no other version and no socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Bad, Ends, Header, LONGEST, Step, begins};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;

/// Bytes of two IPv4 addresses and their ports.
const INET: u16 = 12;
/// The same of IPv6.
const INET6: u16 = 36;
/// The same of two paths.
const UNIX: u16 = 216;

/// Reads a header.
pub fn parse(bytes: &[u8]) -> Step {
    if !begins(bytes, SIGNATURE) {
        return Step::Bad(Bad::Absent);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Step::NeedMore };
    let [.., command, kind, high, low] = *fixed;
    let len = u16::from_be_bytes([high, low]);
    match block(command, kind, len) {
        Err(bad) => Step::Bad(bad),
        Ok(_) if usize::from(len) > LONGEST - FIXED => Step::Bad(Bad::TooLong),
        Ok(_) if rest.len() < usize::from(len) => Step::NeedMore,
        Ok(block) => {
            let additions = usize::from(len.saturating_sub(block.size()));
            Step::Header(Header { ends: block.ends(rest), additions, consumed: FIXED + usize::from(len) })
        }
    }
}

/// The block of addresses in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// All of it is to be skipped.
    Skipped,
    Inet,
    Inet6,
    Unix,
}

impl Block {
    const fn size(self) -> u16 {
        match self {
            Self::Skipped => 0,
            Self::Inet => INET,
            Self::Inet6 => INET6,
            Self::Unix => UNIX,
        }
    }

    fn ends(self, bytes: &[u8]) -> Option<Ends> {
        match self {
            Self::Skipped | Self::Unix => None,
            Self::Inet => ends(bytes, |b: [u8; 4]| Ipv4Addr::from(b).into()),
            Self::Inet6 => ends(bytes, |b: [u8; 16]| Ipv6Addr::from(b).into()),
        }
    }
}

/// What the fixed part announces. Values that the protocol does not have must be refused (section 2.2); the block of a LOCAL header
/// must be ignored, its family too.
fn block(command: u8, kind: u8, len: u16) -> Result<Block, Bad> {
    match (command >> 4, command & 0x0F) {
        (2, 0) => return Ok(Block::Skipped),
        (2, 1) => {}
        (2, _) => return Err(Bad::Command),
        _ => return Err(Bad::Version),
    }
    let block = match (kind >> 4, kind & 0x0F) {
        (1, 1 | 2) => Block::Inet,
        (2, 1 | 2) => Block::Inet6,
        (3, 1 | 2) => Block::Unix,
        (0, 0..=2) | (1..=3, 0) => Block::Skipped,
        _ => return Err(Bad::Family),
    };
    if len < block.size() { Err(Bad::Short) } else { Ok(block) }
}

/// Two addresses, then two ports. `None` only where bytes are missing, which the length has ruled out.
fn ends<const N: usize>(bytes: &[u8], ip: fn([u8; N]) -> IpAddr) -> Option<Ends> {
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    let end = |addr: &[u8; N], port: &[u8; 2]| SocketAddr::new(ip(*addr), u16::from_be_bytes(*port));
    Some(Ends { source: end(source, source_port), destination: end(destination, destination_port) })
}

/// The header for these ends of a TCP connection; of no family where they are not of one.
pub fn write(ends: &Ends) -> Vec<u8> {
    let Ends { source, destination } = ends;
    let mut addresses = Vec::with_capacity(usize::from(INET6));
    let (kind, len) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            addresses.extend(a.octets().into_iter().chain(b.octets()));
            (0x11, INET)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            addresses.extend(a.octets().into_iter().chain(b.octets()));
            (0x21, INET6)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => (0x00, 0),
    };
    if len > 0 {
        addresses.extend(source.port().to_be_bytes().into_iter().chain(destination.port().to_be_bytes()));
    }
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0x21, kind]);
    bytes.extend(len.to_be_bytes());
    bytes.append(&mut addresses);
    bytes
}
