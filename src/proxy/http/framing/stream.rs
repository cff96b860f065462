//! The watcher: follows the byte stream of a client from message to message and keeps a verdict for each head. It sees bytes in any
//! cut, does no I/O, and copies nothing but a line of which only a part has come.

use super::chunk::{Chunk, Step};
use super::line::{self, Field};
use super::{Fault, LARGEST_HEAD, LONGEST_TARGET, MOST_LINES};

/// The largest trailer, in bytes; that of the parser behind the watcher is 16 KiB.
const LARGEST_TRAILER: usize = 15 * 1024;

/// The watcher of one connection.
///
/// Feed it with [`Framing::saw`], in order. A fault is final.
#[derive(Debug)]
pub struct Framing {
    at: At,
    /// The part of a line that has come and was let through.
    part: Vec<u8>,
    head: Head,
    /// Heads that are fine and not yet asked for.
    fine: u32,
    fault: Option<Fault>,
}

/// Where the stream is, for time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between messages: nothing of a next one has come.
    Idle,
    /// In a head.
    Head,
    /// In a body or its trailer.
    Body,
    /// After a fault: nothing that comes has a meaning.
    Broken,
    /// HTTP has ended by a switch of protocols.
    Switched,
}

#[derive(Debug)]
enum At {
    RequestLine,
    Field,
    Length(u64),
    Chunked(Chunk),
    Trailer,
    /// A head was refused. These bytes end, for the parser behind, the part of it that was let through.
    Refused(&'static [u8]),
    /// A body was refused.
    Broken,
    Switched,
}

/// What was seen of a head.
#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    lines: u16,
    /// An empty line came before it.
    has_blank: bool,
    is_10: bool,
    has_host: bool,
    body: Body,
    /// The host that an absolute target names.
    authority: Option<Box<[u8]>>,
}

/// How a head says that its body ends.
#[derive(Clone, Copy, Debug, Default)]
enum Body {
    #[default]
    None,
    Length(u64),
    Chunked,
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

impl Framing {
    /// A watcher at the beginning of a connection. Allocates nothing.
    pub fn new() -> Self {
        Self { at: At::RequestLine, part: Vec::new(), head: Head::default(), fine: 0, fault: None }
    }

    /// Looks at the next bytes of the stream, and says how many of them may go on to the parser: all of them, or those before the
    /// line, or the byte of a chunked body's framing, that is refused.
    #[must_use]
    pub fn saw(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.step(rest) {
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err((good, fault)) => {
                    self.refuse(fault);
                    rest = rest.get(good..).unwrap_or_default();
                    break;
                }
            }
        }
        bytes.len() - rest.len()
    }

    /// The verdict on the oldest head not yet asked for. After a fault there is no further head: the fault is told again and again.
    pub fn verdict(&mut self) -> Option<Result<(), Fault>> {
        match self.fine.checked_sub(1) {
            Some(left) => {
                self.fine = left;
                Some(Ok(()))
            }
            None => self.fault.map(Err),
        }
    }

    /// Hands all verdicts over that are fine.
    pub(super) const fn take_fine(&mut self) -> u32 {
        std::mem::replace(&mut self.fine, 0)
    }

    /// The fault, if one was found.
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Where the stream is.
    pub fn place(&self) -> Place {
        match self.at {
            At::RequestLine if self.part.is_empty() && !self.head.has_blank => Place::Idle,
            At::RequestLine | At::Field => Place::Head,
            At::Length(_) | At::Chunked(_) | At::Trailer => Place::Body,
            At::Refused(_) | At::Broken => Place::Broken,
            At::Switched => Place::Switched,
        }
    }

    /// What the parser must be given after a refused head, so that what it got of that head becomes a whole one and the refusal an
    /// answer, in its turn. `None` unless a head was refused; what the made-up head says means nothing.
    pub const fn mend(&self) -> Option<&'static [u8]> {
        if let At::Refused(mend) = self.at { Some(mend) } else { None }
    }

    /// All that comes belongs to another protocol from here on.
    pub fn switch(&mut self) {
        self.at = At::Switched;
    }

    fn refuse(&mut self, fault: Fault) {
        self.at = match self.at {
            At::RequestLine => At::Refused(mend_request_line(&self.part)),
            At::Field => At::Refused(mend_field(&self.part)),
            At::Length(_) | At::Chunked(_) | At::Trailer | At::Refused(_) | At::Broken | At::Switched => At::Broken,
        };
        self.fault = Some(fault);
        self.part = Vec::new();
        self.head = Head::default();
    }

    /// Takes some bytes; an error says how many were fine before the fault.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
        match &mut self.at {
            At::RequestLine | At::Field | At::Trailer => self.line(bytes).map_err(|fault| (0, fault)),
            At::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= u64::try_from(here).unwrap_or(u64::MAX);
                if *left == 0 {
                    self.at = At::RequestLine;
                }
                Ok(here)
            }
            At::Chunked(chunk) => match chunk.take(bytes)? {
                Step::On(taken) => Ok(taken),
                Step::Last(taken) => {
                    self.at = At::Trailer;
                    Ok(taken)
                }
            },
            At::Refused(_) | At::Broken => Err((0, self.fault.unwrap_or(Fault::OutOfStep))),
            At::Switched => Ok(bytes.len()),
        }
    }

    /// Takes a line, or what has come of it.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        if self.head.lines >= MOST_LINES && self.part.is_empty() && !matches!(bytes.first(), Some(b'\r' | b'\n')) {
            // not even its first byte may pass: the parser takes no more lines than these
            return Err(Fault::TooManyLines);
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.fits(self.part.len() + bytes.len())?;
            self.part.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        let (line, _) = bytes.split_at_checked(end + 1).unwrap_or((bytes, &[]));
        self.fits(self.part.len() + line.len())?;
        if self.part.is_empty() {
            self.whole(line)?;
        } else {
            let mut joined = Vec::with_capacity(self.part.len() + line.len());
            joined.extend_from_slice(&self.part);
            joined.extend_from_slice(line);
            self.whole(&joined)?;
            self.part.clear();
        }
        Ok(line.len())
    }

    /// Whether a line of which so much has come is not too long.
    fn fits(&self, line: usize) -> Result<(), Fault> {
        let is_request_line = matches!(self.at, At::RequestLine);
        if is_request_line && line > line::LONGEST_REQUEST_LINE {
            return Err(Fault::TargetTooLong);
        }
        let largest = if matches!(self.at, At::Trailer) { LARGEST_TRAILER } else { LARGEST_HEAD };
        if self.head.bytes + line > largest { Err(Fault::HeadTooLarge) } else { Ok(()) }
    }

    /// Takes a whole line with its end.
    fn whole(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.head.bytes += line.len();
        let line = line::content(line)?;
        match (&self.at, line.is_empty()) {
            (At::RequestLine, false) => {
                let seen = line::request(line)?;
                self.head.is_10 = seen.is_10;
                self.head.authority = seen.authority.map(Into::into);
                self.at = At::Field;
            }
            // some clients end a body with a CRLF too many (RFC 9112, 2.2)
            (At::RequestLine, true) if !self.head.has_blank => self.head.has_blank = true,
            (At::RequestLine, true) => return Err(Fault::RequestLine),
            (At::Field, true) => return self.head_ends(),
            (_, true) => self.message_ends(At::RequestLine),
            (at, false) => {
                let is_trailer = matches!(at, At::Trailer);
                self.head.lines += 1;
                if self.head.lines > MOST_LINES {
                    return Err(Fault::TooManyLines);
                }
                match (line::field(line)?, is_trailer) {
                    (Field::Other, _) => {}
                    (_, true) => return Err(Fault::Trailer),
                    (field, false) => self.head.take(&field)?,
                }
            }
        }
        Ok(())
    }

    fn head_ends(&mut self) -> Result<(), Fault> {
        if !self.head.has_host && !self.head.is_10 {
            return Err(Fault::Host);
        }
        let body = match self.head.body {
            Body::Chunked => At::Chunked(Chunk::new()),
            Body::Length(length) if length > 0 => At::Length(length),
            Body::Length(_) | Body::None => At::RequestLine,
        };
        self.fine = self.fine.saturating_add(1);
        self.message_ends(body);
        Ok(())
    }

    fn message_ends(&mut self, next: At) {
        self.at = next;
        self.head = Head::default();
        if self.part.capacity() > 0 {
            self.part = Vec::new();
        }
    }
}

impl Head {
    /// Takes a field that says something of framing.
    fn take(&mut self, field: &Field<'_>) -> Result<(), Fault> {
        match *field {
            Field::Host(value) => {
                if std::mem::replace(&mut self.has_host, true) || !line::is_host(value) {
                    return Err(Fault::Host);
                }
                if self.authority.as_ref().is_some_and(|authority| !authority.eq_ignore_ascii_case(value)) {
                    return Err(Fault::Authority);
                }
            }
            Field::Length(value) => {
                self.body = match self.body {
                    Body::None => Body::Length(line::length(value)?),
                    Body::Length(_) => return Err(Fault::ContentLengthRepeated),
                    Body::Chunked => return Err(Fault::LengthAndEncoding),
                };
            }
            Field::Encoding(_) if self.is_10 => return Err(Fault::TransferEncodingIn10),
            Field::Encoding(value) => {
                self.body = match self.body {
                    Body::None => line::encoding(value).map(|()| Body::Chunked)?,
                    Body::Length(_) => return Err(Fault::LengthAndEncoding),
                    Body::Chunked => return Err(Fault::TransferEncoding),
                };
            }
            Field::Connection(value) => line::connection(value)?,
            Field::Other => {}
        }
        Ok(())
    }
}

/// What makes a whole head of a part of a request line.
fn mend_request_line(part: &[u8]) -> &'static [u8] {
    const VERSION: &[u8] = b"HTTP/1.1\r\n\r\n";
    if part == b"\r" {
        return b"\nGET / HTTP/1.1\r\n\r\n";
    }
    if part.ends_with(b"\r") {
        return b"\n\r\n";
    }
    let mut words = part.splitn(3, |byte| *byte == b' ');
    match (words.next().unwrap_or_default(), words.next(), words.next()) {
        ([], ..) => b"GET / HTTP/1.1\r\n\r\n",
        (_, None, _) => b" / HTTP/1.1\r\n\r\n",
        (_, Some([]), _) => b"/ HTTP/1.1\r\n\r\n",
        (_, Some(_), None) => b" HTTP/1.1\r\n\r\n",
        (.., Some(version)) if VERSION.starts_with(version) => VERSION.get(version.len()..).unwrap_or_default(),
        _ => b"\r\n\r\n",
    }
}

/// What makes a whole head of a part of a field line.
fn mend_field(part: &[u8]) -> &'static [u8] {
    match part {
        [] => b"\r\n",
        b"\r" => b"\n",
        [.., b'\r'] => b"\n\r\n",
        _ if part.contains(&b':') => b"\r\n\r\n",
        _ => b"x:\r\n\r\n",
    }
}

const _: () = assert!(LONGEST_TARGET < line::LONGEST_REQUEST_LINE && line::LONGEST_REQUEST_LINE < LARGEST_HEAD);
