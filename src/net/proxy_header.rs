//! The PROXY protocol (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>), versions 1 and 2: bytes to a header, a
//! header to bytes, and a header off a socket. Never decides whom to believe, and knows no deadline.

pub mod v1;
pub mod v2;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Headers that are longer are refused, in bytes. Version 2 could say 64 KiB; the additions that exist need a few hundred.
pub const LONGEST: usize = 4096;
/// Room that is made at first: what version 2 without unusual additions needs (its section 2.2).
const USUAL: usize = 536;

/// The two ends of the connection that a sender passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it says. `None`: a connection of the sender's own, or one whose ends it does not know or are no IP addresses.
    pub ends: Option<Ends>,
    /// Bytes of additions (TLVs) in it, which nobody reads.
    pub additions: usize,
    /// Bytes that it takes. What follows is the client's.
    pub consumed: usize,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The beginning of a header: all bytes so far belong to it, and at least one more does.
    NeedMore,
    /// A header, and what follows it.
    Header(Header),
    /// No header, whatever comes.
    Bad(Bad),
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// They begin with no signature of the protocol.
    #[error("no PROXY header")]
    Absent,
    /// It goes on beyond what a header may take.
    #[error("the header is too long")]
    TooLong,
    /// The line of version 1 does not end with CR LF, or does not have its fields.
    #[error("a malformed line")]
    Line,
    /// A protocol that version 1 does not know, or a family or transport that version 2 does not.
    #[error("an unknown family")]
    Family,
    /// An address or port that is none.
    #[error("a malformed address")]
    Address,
    /// A version other than 2 behind the signature of version 2.
    #[error("an unknown version")]
    Version,
    /// A command other than LOCAL and PROXY.
    #[error("an unknown command")]
    Command,
    /// A length that leaves no room for the addresses.
    #[error("the length leaves no room for the addresses")]
    Short,
}

/// Reads the first bytes of a connection, of either version.
pub fn parse(bytes: &[u8]) -> Step {
    match bytes.first() {
        None => Step::NeedMore,
        Some(b'P') => v1::parse(bytes),
        Some(_) => v2::parse(bytes),
    }
}

/// Whether the bytes agree with a signature as far as both go.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(a, b)| a == b)
}

/// No header came.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Something else did.
    #[error(transparent)]
    Bad(#[from] Bad),
    /// The sender closed before the end of it.
    #[error("closed before the end of the header")]
    Closed,
    /// The connection broke.
    #[error("receiving the header: {0}")]
    Io(#[from] io::Error),
}

/// Takes the header, and nothing that follows it, off a connection. What is looked at is taken only as far as it belongs to the
/// header, so that every byte of the client's is still in the socket.
///
/// Not cancel safe: bytes that were taken are lost.
pub async fn receive(stream: &TcpStream) -> Result<Header, ReceiveError> {
    let mut bytes = vec![0; USUAL];
    let mut taken = 0;
    loop {
        if taken == bytes.len() {
            bytes.resize(LONGEST, 0);
        }
        let seen = taken + stream.peek(bytes.get_mut(taken..).unwrap_or_default()).await?;
        if seen == taken {
            return Err(ReceiveError::Closed);
        }
        let step = parse(bytes.get(..seen).unwrap_or_default());
        let whole = match step {
            Step::NeedMore => seen,
            Step::Header(header) => header.consumed,
            Step::Bad(bad) => return Err(bad.into()),
        };
        match stream.try_read(bytes.get_mut(taken..whole).unwrap_or_default()) {
            Ok(some) => taken += some,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Step::Header(header) = step
            && taken == whole
        {
            return Ok(header);
        }
    }
}

#[cfg(test)]
mod tests;
