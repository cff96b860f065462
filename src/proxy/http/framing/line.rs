//! The rules of single lines: the request line, field lines, and the values that frame a message. Pure functions of whole lines;
//! never keeps anything from one line to the next.

use super::{Fault, LONGEST_TARGET};

/// The longest method, in bytes.
pub(super) const LONGEST_METHOD: usize = 64;
/// The longest request line, in bytes, with its end.
pub(super) const LONGEST_REQUEST_LINE: usize = LONGEST_METHOD + LONGEST_TARGET + " HTTP/1.1 \r\n".len();
/// Digits of the longest `Content-Length`; more do not fit into 63 bits.
const LENGTH_DIGITS: usize = 18;

/// What of a request line matters for what follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    /// The host and port that an absolute target names.
    pub(super) authority: Option<&'a [u8]>,
    pub(super) is_10: bool,
}

/// A field line, by what it means for framing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Host(&'a [u8]),
    Length(&'a [u8]),
    Encoding(&'a [u8]),
    Connection(&'a [u8]),
    Other,
}

/// The line without its CRLF.
pub(super) fn content(line: &[u8]) -> Result<&[u8], Fault> {
    let content = line.strip_suffix(b"\r\n").ok_or(Fault::LineEnd)?;
    // no early end: the compiler makes this loop a wide one
    let is_bad = |byte: u8| (u8::from(byte < b' ') & u8::from(byte != b'\t')) | u8::from(byte == 0x7f);
    let bad = content.iter().fold(0, |bad, &byte| bad | is_bad(byte));
    if bad == 0 { Ok(content) } else { Err(Fault::ControlByte) }
}

/// Judges a request line without its end (RFC 9112, section 3).
pub(super) fn request(line: &[u8]) -> Result<RequestLine<'_>, Fault> {
    let (method, rest) = cut(line, b' ').ok_or(Fault::RequestLine)?;
    if !is_token(method) || method.len() > LONGEST_METHOD {
        return Err(Fault::Method);
    }
    let (target, version) = cut(rest, b' ').ok_or(Fault::RequestLine)?;
    if target.len() > LONGEST_TARGET {
        return Err(Fault::TargetTooLong);
    }
    if !target.iter().all(|&byte| is_of(TARGET, byte)) {
        return Err(Fault::Target);
    }
    let is_10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Fault::Version);
        }
        _ => return Err(Fault::RequestLine),
    };
    let authority = authority_of(method, target)?;
    Ok(RequestLine { authority, is_10 })
}

/// The authority of an absolute target; an error if the method may not have a target of this form (RFC 9112, 3.2).
fn authority_of<'a>(method: &[u8], target: &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
    match target {
        b"*" if method == b"OPTIONS" => Ok(None),
        _ if method == b"CONNECT" => is_host(target).then_some(None).ok_or(Fault::Target),
        [b'/', ..] => Ok(None),
        _ => {
            let after = without_scheme(target).ok_or(Fault::Target)?;
            let end = after.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(after.len());
            let authority = after.get(..end).unwrap_or_default();
            if is_host(authority) { Ok(Some(authority)) } else { Err(Fault::Target) }
        }
    }
}

fn without_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Judges a field line without its end (RFC 9112, section 5).
pub(super) fn field(line: &[u8]) -> Result<Field<'_>, Fault> {
    if let [b' ' | b'\t', ..] = line {
        return Err(Fault::Folded);
    }
    let (name, value) = cut(line, b':').ok_or(Fault::FieldName)?;
    if !is_token(name) {
        return Err(Fault::FieldName);
    }
    let value = value.trim_ascii();
    Ok(match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => Field::Host(value),
        10 if name.eq_ignore_ascii_case(b"connection") => Field::Connection(value),
        14 if name.eq_ignore_ascii_case(b"content-length") => Field::Length(value),
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Field::Encoding(value),
        14 if is_alike(name, b"content-length") => return Err(Fault::FieldName),
        17 if is_alike(name, b"transfer-encoding") => return Err(Fault::FieldName),
        _ => Field::Other,
    })
}

/// Equal, where some nodes take `_` for `-`.
fn is_alike(name: &[u8], other: &[u8]) -> bool {
    name.iter().zip(other).all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
}

/// The number of a `Content-Length`: digits, nothing else (RFC 9112, 6.3).
pub(super) fn length(value: &[u8]) -> Result<u64, Fault> {
    if value.is_empty() || value.len() > LENGTH_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::ContentLength);
    }
    Ok(value.iter().fold(0, |all, digit| all * 10 + u64::from(digit - b'0')))
}

/// Fine is `chunked` and nothing else (RFC 9112, 6.1).
pub(super) fn encoding(value: &[u8]) -> Result<(), Fault> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_last = codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let is_known = |coding: &[u8]| !is_token(coding) || coding.eq_ignore_ascii_case(b"chunked") || coding.eq_ignore_ascii_case(b"identity");
    Err(if is_last && !codings.any(is_known) { Fault::TransferEncodingUnknown } else { Fault::TransferEncoding })
}

/// Refuses a `Connection` that would take away what frames the message or says where it goes.
pub(super) fn connection(value: &[u8]) -> Result<(), Fault> {
    const KEPT: [&[u8]; 4] = [b"host", b"content-length", b"transfer-encoding", b"content-type"];
    let is_kept = |option: &[u8]| KEPT.iter().any(|name| option.trim_ascii().eq_ignore_ascii_case(name));
    if value.len() > 3 && value.split(|byte| *byte == b',').any(is_kept) { Err(Fault::ConnectionNames) } else { Ok(()) }
}

/// Whether this is a host name or address with or without a port (RFC 3986, 3.2.2, without what no host name has).
pub(super) fn is_host(value: &[u8]) -> bool {
    let is_address = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b':' | b'.');
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let (has_name, port) = if let [b'[', rest @ ..] = value {
        let Some((address, port)) = cut(rest, b']') else { return false };
        (address.iter().all(|byte| is_address(*byte)) && !address.is_empty(), port)
    } else {
        let (name, port) = value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len()));
        (name.iter().all(|byte| is_name(*byte)) && !name.is_empty(), port)
    };
    has_name && is_port(port)
}

fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => matches!(digits.len(), 1..=5) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

pub(super) const fn is_tchar(byte: u8) -> bool {
    is_of(TCHAR, byte)
}

const TCHAR: u8 = 1;
const TARGET: u8 = 2;

#[expect(clippy::as_conversions, clippy::indexing_slicing, reason = "a byte is an index of 256 places")]
const fn is_of(class: u8, byte: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// The classes of every byte.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = b'!';
    #[expect(clippy::as_conversions, clippy::indexing_slicing, reason = "a byte is an index of 256 places")]
    while byte <= b'~' {
        let mark = matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        if byte.is_ascii_alphanumeric() || mark {
            classes[byte as usize] |= TCHAR;
        }
        if byte != b'#' {
            classes[byte as usize] |= TARGET;
        }
        byte += 1;
    }
    classes
};

/// What stands before and after the first such byte.
fn cut(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at_checked(memchr::memchr(at, bytes)?)?;
    Some((before, after.split_first()?.1))
}
