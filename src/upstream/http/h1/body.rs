//! The body of an answer, cut out of what was read as its framing says (RFC 9112, 6.3). Reads nothing itself.

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::body::SizeHint;

use super::chunk::Chunked;
use crate::upstream::http::error::{Error, Malformed};

/// How a body is framed, and how much of it is to come.
#[derive(Debug)]
pub(super) enum Framing {
    /// Nothing is to come.
    Ended,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// All until the connection ends.
    Close,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
    /// More has to be read; of so many bytes at most it is known that they belong to the body.
    More(u64),
    End,
}

impl Framing {
    /// A body of known length.
    pub(super) const fn length(length: u64) -> Self {
        if length == 0 { Self::Ended } else { Self::Length(length) }
    }

    /// Takes the next piece off the buffer.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Next, Malformed> {
        match self {
            Self::Ended => Ok(Next::End),
            Self::Length(left) if read.is_empty() => Ok(Next::More(*left)),
            Self::Length(left) => {
                let data = read.split_to(usize::try_from(*left).unwrap_or(usize::MAX).min(read.len())).freeze();
                *self = Self::length(left.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX)));
                Ok(Next::Data(data))
            }
            Self::Close if read.is_empty() => Ok(Next::More(u64::MAX)),
            Self::Close => Ok(Next::Data(read.split().freeze())),
            Self::Chunked(chunked) => {
                let next = chunk(chunked, read)?;
                if chunked.is_ended() && !chunked.has_trailers() {
                    *self = Self::Ended;
                }
                Ok(next)
            }
        }
    }

    /// The connection has ended.
    pub(super) fn closed(&mut self) -> Result<(), Error> {
        match self {
            Self::Ended => Ok(()),
            Self::Close => {
                *self = Self::Ended;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Error::Closed),
        }
    }

    pub(super) const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ended => SizeHint::with_exact(0),
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunked(_) | Self::Close => SizeHint::default(),
        }
    }
}

fn chunk(chunked: &mut Chunked, read: &mut BytesMut) -> Result<Next, Malformed> {
    chunked.advance(read)?;
    let data = chunked.data(read.len());
    if data > 0 {
        let data = read.split_to(data).freeze();
        // whoever gets the last data is told that it is the last, if that is known; what is wrong here is so the next time too
        let _ = chunked.advance(read);
        return Ok(Next::Data(data));
    }
    Ok(match chunked.trailers() {
        Some(trailers) => Next::Trailers(trailers),
        None if chunked.is_ended() => Next::End,
        None => Next::More(u64::MAX),
    })
}
