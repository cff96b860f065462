//! Why a request got no whole answer, and whose doing it was.

use std::io;

use super::body::Torn;
use crate::base::reason::Reason;

/// What ended an exchange with a node before its time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client broke off its body.
    #[error("{0}")]
    Client(#[source] Torn),
    /// The client's body ended before the length that its head told.
    #[error("the client's body is shorter than its length")]
    Short,
    /// The node sent what is no answer.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The node closed the connection.
    #[error("the node closed the connection")]
    Closed,
    /// The connection failed.
    #[error("connection to the node: {0}")]
    Wire(#[source] io::Error),
    /// The node broke off a stream of HTTP/2, and called that no error.
    #[error("the node broke off the stream")]
    Cut,
    /// A stream of HTTP/2 failed.
    #[error("stream to the node: {0}")]
    Stream(#[source] hyper::Error),
}

/// What is wrong with an answer of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Its status line or a field line is none.
    #[error("the head is no head of HTTP/1: {0}")]
    Head(httparse::Error),
    /// A field that no map takes.
    #[error("a field cannot be kept")]
    Field,
    /// More bytes or lines in the head or the trailer than the limit.
    #[error("the head or the trailer is too large")]
    TooLarge,
    /// A length that is no number, or several (RFC 9112, 6.3).
    #[error("the length is not one plain number")]
    Length,
    /// A coding that is not `chunked` alone, or one beside a length, or one in HTTP/1.0 (RFC 9112, 6.1).
    #[error("the transfer coding is not chunked alone")]
    Coding,
    /// A chunk that is none (RFC 9112, 7.1).
    #[error("a chunk is no chunk")]
    Chunk,
    /// A protocol that was not asked for.
    #[error("a switch of protocols that was not asked for")]
    Switch,
}

impl Error {
    /// What the request ends with if no answer began.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Client(Torn::TooLarge) => Reason::BodyTooLarge,
            Self::Client(Torn::Client(_) | Torn::Cut) | Self::Short => Reason::ClientReset,
            Self::Malformed(_) => Reason::BadResponse,
            Self::Stream(error) if error.is_user() => Reason::ClientReset,
            Self::Stream(error) if error.is_parse() => Reason::BadResponse,
            Self::Closed | Self::Cut | Self::Wire(_) | Self::Stream(_) => Reason::UpstreamReset,
        }
    }
}
