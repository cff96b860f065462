//! Gathering a ClientHello: bytes in, the name in it out. The bytes stay with the caller, who replays them or hands them to the
//! TLS library. Reads no socket, knows no time, decides nothing by what it finds.
//!
//! RFC 8446, 4.1.2 and 5.1: a hello may be cut over several records, and a record over any number of segments; one with a
//! post-quantum key share does not fit one segment.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The most that a client may send before its hello is whole, in bytes, records' headers included.
pub const LIMIT: usize = 16 * 1024;

/// A record's header: content type, version, length.
const RECORD: usize = 5;
/// A handshake message's header: type, length.
const MESSAGE: usize = 4;
/// The longest payload of a record in clear (RFC 8446, 5.1).
const LONGEST_RECORD: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS12: u16 = 0x0303;
const HOST_NAME: u8 = 0;
/// The longest name of the DNS in text.
const LONGEST_NAME: usize = 253;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name, in lower case and without a trailing dot; `None` if the client gave none, or an address, which is no name
    /// (RFC 6066, 3).
    pub sni: Option<Box<str>>,
    /// Whether it speaks nothing newer than TLS 1.1 (RFC 8446, 4.2.1: newer versions are told by an extension, 1.2 without it).
    pub old: bool,
}

/// Bytes that are no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// Not TLS at all; SSL 2 is not either.
    #[error("no TLS")]
    NotTls,
    /// TLS, but against its grammar.
    #[error("a malformed ClientHello")]
    Malformed,
    /// More than [`LIMIT`].
    #[error("a ClientHello of more than 16 KiB")]
    TooLarge,
}

/// How far a hello has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    More,
    /// It is whole.
    Hello(Hello),
}

/// A hello under way. Remembers how far it has looked, so that a client that sends it byte by byte costs no more than one that
/// does not.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Where the first record that is not whole begins.
    at: usize,
    /// Handshake bytes in the records before that.
    gathered: usize,
}

impl Scan {
    /// Looks at all that has come so far. After an answer other than [`Step::More`] there is nothing more to ask.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Bad> {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some(length) = record(rest)? else { break };
            let Some(body) = rest.get(RECORD..RECORD + length) else {
                // what is there of it already tells whether the rest is worth waiting for
                self.bound(bytes, rest.get(RECORD..).unwrap_or_default())?;
                break;
            };
            self.at += RECORD + length;
            self.gathered += body.len();
            if let Some(need) = self.bound(bytes, &[])?
                && self.gathered >= need
            {
                return hello(&message(bytes, self.at, need)).map(Step::Hello).ok_or(Bad::Malformed);
            }
        }
        if bytes.len() >= LIMIT { Err(Bad::TooLarge) } else { Ok(Step::More) }
    }

    /// The length of the handshake message as its header says, once that is there. `part` is the beginning of a record that is
    /// not whole.
    fn bound(&self, bytes: &[u8], part: &[u8]) -> Result<Option<usize>, Bad> {
        let mut head = message(bytes, self.at, MESSAGE);
        head.extend(part.iter().take(MESSAGE - head.len()));
        match head[..] {
            [] | [CLIENT_HELLO] | [CLIENT_HELLO, _] | [CLIENT_HELLO, _, _] => Ok(None),
            [CLIENT_HELLO, a, b, c] => {
                let need = MESSAGE + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c);
                if need + RECORD > LIMIT { Err(Bad::TooLarge) } else { Ok(Some(need)) }
            }
            _ => Err(Bad::Malformed),
        }
    }
}

/// The payload length of the record that begins here, as soon as its header is whole. What is no header is told as early as
/// the bytes show it.
fn record(bytes: &[u8]) -> Result<Option<usize>, Bad> {
    match *bytes {
        [] | [HANDSHAKE] | [HANDSHAKE, 3] | [HANDSHAKE, 3, _] | [HANDSHAKE, 3, _, _] => Ok(None),
        [HANDSHAKE, 3, _, high, low, ..] => {
            let length = usize::from(high) * 256 + usize::from(low);
            if (1..=LONGEST_RECORD).contains(&length) { Ok(Some(length)) } else { Err(Bad::Malformed) }
        }
        _ => Err(Bad::NotTls),
    }
}

/// The first `most` handshake bytes of the whole records before `end`.
fn message(bytes: &[u8], end: usize, most: usize) -> Vec<u8> {
    let mut rest = bytes.get(..end).unwrap_or_default();
    let mut out = Vec::new();
    while out.len() < most {
        let Ok(Some(length)) = record(rest) else { break };
        let body = rest.get(RECORD..RECORD + length).unwrap_or_default();
        out.extend(body.iter().take(most - out.len()));
        rest = rest.get(RECORD + length..).unwrap_or_default();
    }
    out
}

/// A reader of length-prefixed fields. `None` is the end where there should be none.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A field with a length of one byte before it.
    fn small(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(usize::from(length))
    }

    /// A field with a length of two bytes before it.
    fn large(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        self.take(usize::from(length))
    }
}

/// Reads a whole ClientHello message; `None` if it is against the grammar.
fn hello(message: &[u8]) -> Option<Hello> {
    let mut fields = Fields(message.get(MESSAGE..)?);
    let version = fields.short()?;
    fields.take(32)?;
    let session = fields.small()?;
    let suites = fields.large()?;
    let compression = fields.small()?;
    if session.len() > 32 || suites.is_empty() || !suites.len().is_multiple_of(2) || compression.is_empty() {
        return None;
    }
    let (mut found, mut old) = (None, version < TLS12);
    // a hello without any extension is as old as TLS 1.0, and legal
    if !fields.0.is_empty() {
        let mut extensions = Fields(fields.large()?);
        while !extensions.0.is_empty() {
            let (kind, content) = (extensions.short()?, extensions.large()?);
            old &= kind != SUPPORTED_VERSIONS;
            if kind == SERVER_NAME && found.replace(server_name(content).ok()?).is_some() {
                return None;
            }
        }
    }
    fields.0.is_empty().then(|| Hello { sni: found.flatten(), old })
}

/// The one name of the extension, in the form in which names are compared. An address is no name.
fn server_name(content: &[u8]) -> Result<Option<Box<str>>, Bad> {
    let name = host_name(content).ok_or(Bad::Malformed)?;
    let text = std::str::from_utf8(name).map_err(|_| Bad::Malformed)?;
    if text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() {
        return Ok(None);
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let legal = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let whole = !text.is_empty() && text.len() <= LONGEST_NAME && !text.split('.').any(str::is_empty);
    if legal && whole { Ok(Some(text.to_ascii_lowercase().into())) } else { Err(Bad::Malformed) }
}

/// The one entry of the extension. Other kinds of names than host names do not exist.
fn host_name(content: &[u8]) -> Option<&[u8]> {
    let mut outer = Fields(content);
    let mut list = Fields(outer.large()?);
    let (kind, name) = (list.byte()?, list.large()?);
    (kind == HOST_NAME && list.0.is_empty() && outer.0.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
