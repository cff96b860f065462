//! The head of an answer: parsed without copying, judged strictly (RFC 9112, 4, 5 and 6.3). What two readers could frame in two ways
//! is refused.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Response, StatusCode, Version};
use smallvec::SmallVec;

use super::body::Framing;
use super::chunk::Chunked;
use crate::upstream::http::error::Malformed;

/// The largest head and the largest trailer, in bytes.
pub(super) const LARGEST: usize = 64 * 1024;
/// The most field lines of either.
const MOST_LINES: usize = 256;
/// Digits of the longest `Content-Length`; more do not fit into 63 bits.
const LENGTH_DIGITS: usize = 18;

/// What of a request says how its answer is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// For a head only.
    pub(super) head: bool,
    /// For another protocol.
    pub(super) upgrade: bool,
}

/// A head, and what follows it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// Whether the node lets the connection live.
    pub(super) keep: bool,
}

/// Where a name and its value stand.
struct Span {
    name: (usize, usize),
    value: (usize, usize),
}

type Spans = SmallVec<[Span; 32]>;

/// Takes a whole head off the buffer; its fields go into the memory of `headers`, which are gone then. `None`: it is not whole yet.
pub(super) fn parse(read: &mut BytesMut, asked: Asked, headers: &mut HeaderMap) -> Result<Option<Head>, Malformed> {
    let Some((line, spans)) = lines(read)? else { return Ok(None) };
    let head = read.split_to(line.length).freeze();
    let mut judge = Judge::default();
    let mut fields = std::mem::take(headers);
    fields.clear();
    fields.reserve(spans.len());
    for span in &spans {
        let (name, value) = field(&head, span)?;
        judge.see(&name, &value)?;
        fields.try_append(name, value).map_err(|_| Malformed::TooLarge)?;
    }
    let framing = judge.framing(line.status, line.version, asked)?;
    let keep = judge.keep(line.version) && !matches!(framing, Framing::Close);
    let mut response = Response::new(());
    *response.status_mut() = line.status;
    *response.version_mut() = line.version;
    *response.headers_mut() = fields;
    if let Some((start, end)) = line.phrase
        && let Ok(phrase) = ReasonPhrase::try_from(head.slice(start..end))
    {
        response.extensions_mut().insert(phrase);
    }
    Ok(Some(Head { response, framing, keep }))
}

/// Takes a whole trailer with its end off the buffer.
pub(super) fn trailers(read: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_LINES];
    let (length, spans) = match httparse::parse_headers(read, &mut lines).map_err(malformed)? {
        Status::Complete((length, lines)) => (length, spans(read, lines)),
        Status::Partial => return Ok(None),
    };
    if length > LARGEST {
        return Err(Malformed::TooLarge);
    }
    let trailer = read.split_to(length).freeze();
    let mut trailers = HeaderMap::with_capacity(spans.len());
    for span in &spans {
        let (name, value) = field(&trailer, span)?;
        trailers.try_append(name, value).map_err(|_| Malformed::TooLarge)?;
    }
    Ok(Some(trailers))
}

/// What the first line says, and how long the head is.
struct StatusLine {
    status: StatusCode,
    version: Version,
    /// Where the reason phrase stands, if it is not the usual one.
    phrase: Option<(usize, usize)>,
    length: usize,
}

fn lines(read: &[u8]) -> Result<Option<(StatusLine, Spans)>, Malformed> {
    let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_LINES];
    let mut parsed = httparse::Response::new(&mut []);
    let length = match ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, read, &mut lines).map_err(malformed)? {
        Status::Complete(length) if length <= LARGEST => length,
        Status::Complete(_) => return Err(Malformed::TooLarge),
        Status::Partial => return Ok(None),
    };
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| Malformed::Head(httparse::Error::Status))?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let phrase = parsed.reason.filter(|phrase| Some(*phrase) != status.canonical_reason()).map(|phrase| place(read, phrase.as_bytes()));
    Ok(Some((StatusLine { status, version, phrase, length }, spans(read, parsed.headers))))
}

fn malformed(error: httparse::Error) -> Malformed {
    if error == httparse::Error::TooManyHeaders { Malformed::TooLarge } else { Malformed::Head(error) }
}

fn spans(whole: &[u8], lines: &[Header<'_>]) -> Spans {
    lines.iter().map(|line| Span { name: place(whole, line.name.as_bytes()), value: place(whole, line.value) }).collect()
}

/// Where a part stands in the whole.
fn place(whole: &[u8], part: &[u8]) -> (usize, usize) {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    (start, start + part.len())
}

fn field(head: &Bytes, span: &Span) -> Result<(HeaderName, HeaderValue), Malformed> {
    let name = head.get(span.name.0..span.name.1).unwrap_or_default();
    let name = HeaderName::from_bytes(name).map_err(|_| Malformed::Field)?;
    let value = HeaderValue::from_maybe_shared(head.slice(span.value.0..span.value.1)).map_err(|_| Malformed::Field)?;
    Ok((name, value))
}

/// What the fields say about the body and the connection.
#[derive(Debug, Default)]
struct Judge {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Judge {
    fn see(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Malformed> {
        if *name == CONTENT_LENGTH {
            if self.length.is_some() {
                return Err(Malformed::Length);
            }
            self.length = Some(number(value.as_bytes()).ok_or(Malformed::Length)?);
        } else if *name == TRANSFER_ENCODING {
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::Coding);
            }
            self.chunked = true;
        } else if *name == CONNECTION {
            self.close |= has_option(value, b"close");
            self.keep_alive |= has_option(value, b"keep-alive");
        }
        Ok(())
    }

    fn framing(&self, status: StatusCode, version: Version, asked: Asked) -> Result<Framing, Malformed> {
        if self.chunked && (self.length.is_some() || version == Version::HTTP_10) {
            return Err(Malformed::Coding);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS && !asked.upgrade {
            return Err(Malformed::Switch);
        }
        if asked.head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Framing::Ended);
        }
        Ok(match self.length {
            _ if self.chunked => Framing::Chunked(Chunked::new()),
            Some(length) => Framing::length(length),
            None => Framing::Close,
        })
    }

    fn keep(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }
}

/// The number of a `Content-Length`: digits, nothing else (RFC 9112, 6.3).
pub(super) fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > LENGTH_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |all, digit| all * 10 + u64::from(digit - b'0')))
}

/// Whether a `Connection` has an option among its own (RFC 9110, 7.6.1).
pub(super) fn has_option(value: &HeaderValue, option: &[u8]) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
}
