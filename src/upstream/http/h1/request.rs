//! A request as it goes out: its head, and its body piece by piece (RFC 9112, 3, 6 and 7.1).

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Body as _;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{HeaderMap, Method};

use super::head::{self, Asked};
use super::outbox::Outbox;
use crate::upstream::http::body::Outgoing;
use crate::upstream::http::error::Error;

/// A body on its way.
#[derive(Debug)]
pub(super) struct Sending {
    body: Outgoing,
    framing: Framing,
    /// Whether some of it was taken: it cannot be sent again.
    begun: bool,
}

#[derive(Debug)]
enum Framing {
    /// All is in the outbox.
    Done,
    /// So many bytes are left.
    Length(u64),
    /// Chunks, and these fields in a trailer.
    Chunked(Vec<HeaderName>),
    /// It will never be whole.
    Broken,
}

/// What an outbox was filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// As much as it takes.
    Full,
    /// All that was there; more is to come.
    Some,
    /// All.
    All,
}

/// What a head says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) asked: Asked,
    /// Whether the connection may live on.
    pub(super) keep: bool,
}

impl Sending {
    /// No body.
    pub(super) const fn none() -> Self {
        Self { body: Outgoing::none(), framing: Framing::Done, begun: false }
    }

    /// A body that will never be whole.
    pub(super) const fn broken() -> Self {
        Self { body: Outgoing::none(), framing: Framing::Broken, begun: true }
    }

    /// Writes the head of a request and begins with its body. The body alone says how it is framed.
    pub(super) fn begin(head: &request::Parts, body: Outgoing, outbox: &mut Outbox) -> (Self, Told) {
        let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let told = write_head(head, length, outbox.together());
        let framing = match length {
            Some(0) => Framing::Done,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked(announced(&head.headers)),
        };
        (Self { body, framing, begun: false }, told)
    }

    /// The body, if nothing of it was taken.
    pub(super) fn into_whole(self) -> Option<Outgoing> {
        (!self.begun).then_some(self.body)
    }

    /// Whether nothing is to come any more.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done)
    }

    /// Whether more may come.
    pub(super) const fn is_under_way(&self) -> bool {
        matches!(self.framing, Framing::Length(_) | Framing::Chunked(_))
    }

    /// The node has asked for the body.
    pub(super) fn open(&mut self) {
        self.body.open();
    }

    /// Moves what has come of the body into the outbox.
    pub(super) fn fill(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Result<Filled, Error> {
        while self.is_under_way() {
            if !outbox.has_room() {
                return Ok(Filled::Full);
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return Ok(Filled::Some) };
            self.begun = true;
            let Some(frame) = frame.transpose().map_err(Error::Client)? else {
                self.end(None, outbox)?;
                break;
            };
            match frame.into_data() {
                Ok(data) => self.data(data, outbox),
                Err(frame) => self.end(frame.trailers_ref(), outbox)?,
            }
        }
        Ok(Filled::All)
    }

    fn data(&mut self, mut data: bytes::Bytes, outbox: &mut Outbox) {
        match &mut self.framing {
            Framing::Length(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = left.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
                outbox.push(data, b"");
                if *left == 0 {
                    self.done();
                }
            }
            Framing::Chunked(_) if data.is_empty() => {}
            Framing::Chunked(_) => {
                // writing into memory does not fail
                let _ = write!(outbox.together(), "{:x}\r\n", data.len());
                if self.body.is_end_stream() {
                    outbox.push(data, b"\r\n0\r\n\r\n");
                    self.done();
                } else {
                    outbox.push(data, b"\r\n");
                }
            }
            Framing::Done | Framing::Broken => {}
        }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>, outbox: &mut Outbox) -> Result<(), Error> {
        match &self.framing {
            Framing::Length(_) => return Err(Error::Short),
            Framing::Chunked(announced) => {
                let out = outbox.together();
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| announced.contains(name)) {
                    write_line(name, value, out);
                }
                out.extend_from_slice(b"\r\n");
            }
            Framing::Done | Framing::Broken => {}
        }
        self.done();
        Ok(())
    }

    /// Lets the client's body go.
    fn done(&mut self) {
        (self.body, self.framing) = (Outgoing::none(), Framing::Done);
    }
}

fn write_head(head: &request::Parts, length: Option<u64>, out: &mut Vec<u8>) -> Told {
    let mut told = Told { asked: Asked { head: head.method == Method::HEAD, upgrade: false }, keep: true };
    let mut has_length = false;
    for part in [head.method.as_str(), " ", head.uri.path_and_query().map_or("/", |target| target.as_str()), " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &head.headers {
        if *name == header::TRANSFER_ENCODING {
            continue;
        }
        if *name == header::CONTENT_LENGTH {
            if has_length || length.is_none() || head::number(value.as_bytes()) != length {
                continue;
            }
            has_length = true;
        } else if *name == header::UPGRADE {
            told.asked.upgrade = true;
        } else if *name == header::CONNECTION {
            told.keep &= !head::has_option(value, b"close");
        }
        write_line(name, value, out);
    }
    // writing into memory does not fail
    let _ = match length {
        None => out.write_all(b"transfer-encoding: chunked\r\n"),
        // who may send a body says that there is none (RFC 9110, 8.6)
        Some(0) if has_length || !matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => Ok(()),
        Some(_) if has_length => Ok(()),
        Some(length) => write!(out, "content-length: {length}\r\n"),
    };
    out.extend_from_slice(b"\r\n");
    told
}

fn write_line(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The fields that `Trailer` names and that may stand in one (RFC 9110, 6.5.1).
fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists = headers.get_all(header::TRAILER).iter().map(HeaderValue::as_bytes);
    let names = lists.flat_map(|list| list.split(|byte| *byte == b',')).filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    names.filter(|name| !NEVER_TRAILERS.contains(name)).collect()
}

/// Fields that frame, route or authorise a message, or say what its body is.
static NEVER_TRAILERS: [HeaderName; 14] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::MAX_FORWARDS,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
];
