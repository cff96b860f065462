//! Version 1: one line of text. Knows no other version and no socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Bad, Ends, Header, Step, begins};

/// The longest line, with its CR LF (section 2.1).
pub const LONGEST: usize = 107;

const SIGNATURE: &[u8] = b"PROXY ";

/// Reads a line.
pub fn parse(bytes: &[u8]) -> Step {
    if !begins(bytes, SIGNATURE) {
        return Step::Bad(Bad::Absent);
    }
    let Some(end) = bytes.iter().take(LONGEST).position(|b| *b == b'\n') else {
        return if bytes.len() < LONGEST { Step::NeedMore } else { Step::Bad(Bad::TooLong) };
    };
    let line = bytes.get(SIGNATURE.len()..end).and_then(|rest| rest.strip_suffix(b"\r"));
    match line.and_then(|line| std::str::from_utf8(line).ok()).ok_or(Bad::Line).and_then(fields) {
        Ok(ends) => Step::Header(Header { ends, additions: 0, consumed: end + 1 }),
        Err(bad) => Step::Bad(bad),
    }
}

/// What stands between `PROXY ` and CR LF.
fn fields(line: &str) -> Result<Option<Ends>, Bad> {
    let mut words = line.split(' ');
    let read: fn(&str) -> Option<IpAddr> = match words.next() {
        Some("TCP4") => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some("TCP6") => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        // whatever follows it has to be ignored (section 2.1)
        Some("UNKNOWN") => return Ok(None),
        Some(_) | None => return Err(Bad::Family),
    };
    let mut next = || words.next().ok_or(Bad::Line);
    let (source, destination, source_port, destination_port) = (next()?, next()?, next()?, next()?);
    if words.next().is_some() {
        return Err(Bad::Line);
    }
    let end = |ip, text| read(ip).zip(port(text)).map(SocketAddr::from).ok_or(Bad::Address);
    Ok(Some(Ends { source: end(source, source_port)?, destination: end(destination, destination_port)? }))
}

/// Digits only, and none too many: `+80` and `080` are no ports.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

/// The line for these ends; `UNKNOWN` where they are not of one family.
pub fn write(ends: &Ends) -> Vec<u8> {
    let Ends { source, destination } = ends;
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
        (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return b"PROXY UNKNOWN\r\n".to_vec(),
    };
    format!("PROXY {family} {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port()).into_bytes()
}
