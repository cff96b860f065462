//! What went wrong with a call, and what that means for the next one.

use std::fmt;
use std::time::Duration;

use etcd_client::Error;

use crate::store::watch::Failure;

/// What a fault means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The revision is compacted.
    Compacted,
    /// The revision is still to come.
    Future,
    /// The token is not valid any more, or there is none yet.
    Token,
    /// The store does not let us, with any token.
    Denied,
    /// It was not sent, or refused before it was done: another member may be asked.
    NotDone,
    /// The store will never do it.
    Refused,
    /// Nobody knows whether it was done: another member may be asked, if it may be done twice.
    Unknown,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) meaning: Meaning,
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// gRPC's status codes, as far as they mean something here
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const OUT_OF_RANGE: i32 = 11;
const UNIMPLEMENTED: i32 = 12;
const UNAUTHENTICATED: i32 = 16;

impl Fault {
    /// No answer in time.
    pub(super) fn late(url: &str, limit: Duration) -> Self {
        Self { meaning: Meaning::Unknown, text: format!("{url}: no answer within {limit:?}") }
    }

    /// An error of the client.
    pub(super) fn of(url: &str, error: &Error) -> Self {
        let (meaning, text) = match error {
            Error::GRpcStatus(status) => {
                let detail = chain(status);
                let meaning = if is_connecting(&detail) { Meaning::NotDone } else { meaning(status.code().into(), status.message()) };
                (meaning, with_cause(status.message(), status))
            }
            Error::TransportError(error) => (Meaning::NotDone, chain(error)),
            Error::InvalidArgs(text) => (Meaning::Refused, text.clone()),
            Error::InvalidUri(_)
            | Error::IoError(_)
            | Error::WatchError(_)
            | Error::Utf8Error(_)
            | Error::LeaseKeepAliveError(_)
            | Error::ElectError(_)
            | Error::InvalidMetadataValue(_)
            | Error::EndpointError(_)
            | Error::EndpointsNotManaged
            | Error::Internal(_) => (Meaning::Unknown, error.to_string()),
        };
        Self { meaning, text: format!("{url}: {text}") }
    }

    /// Whether another member could do it, given that it may be done twice.
    pub(super) fn is_of_the_member(&self) -> bool {
        matches!(self.meaning, Meaning::NotDone | Meaning::Unknown)
    }

    /// What it is to the watcher.
    pub(super) fn failure(&self) -> Failure {
        match self.meaning {
            Meaning::Compacted => Failure::Compacted,
            Meaning::Future => Failure::Future,
            Meaning::Token | Meaning::Denied => Failure::Denied,
            Meaning::NotDone | Meaning::Refused | Meaning::Unknown => Failure::Unavailable,
        }
    }
}

fn meaning(code: i32, message: &str) -> Meaning {
    let says = |text: &str| message.contains(text);
    match code {
        OUT_OF_RANGE if says("compacted") => Meaning::Compacted,
        OUT_OF_RANGE if says("future revision") => Meaning::Future,
        UNAUTHENTICATED => Meaning::Token,
        // a token from before a change of users or roles; no token where one is asked for
        _ if says("invalid auth token") || says("revision of auth store is old") || says("user name is empty") => Meaning::Token,
        PERMISSION_DENIED => Meaning::Denied,
        _ if says("authentication failed") => Meaning::Denied,
        INVALID_ARGUMENT | NOT_FOUND | RESOURCE_EXHAUSTED | FAILED_PRECONDITION | OUT_OF_RANGE | UNIMPLEMENTED => Meaning::Refused,
        _ if says("no leader") => Meaning::NotDone,
        _ => Meaning::Unknown,
    }
}

/// Whether the connection was never made.
fn is_connecting(detail: &str) -> bool {
    ["tcp connect error", "dns error", "deadline has elapsed", "invalid peer certificate"].iter().any(|text| detail.contains(text))
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A message with the first cause of all, if there is one.
fn with_cause(message: &str, error: &dyn std::error::Error) -> String {
    let mut first = None;
    let mut cause = error.source();
    while let Some(error) = cause {
        first = Some(error);
        cause = error.source();
    }
    match first.map(ToString::to_string) {
        Some(first) if !message.contains(&first) => format!("{message} ({first})"),
        Some(_) | None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_etcd_mean_what_they_say() {
        for (code, message, expected) in [
            (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Meaning::Compacted),
            (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision", Meaning::Future),
            (UNAUTHENTICATED, "etcdserver: invalid auth token", Meaning::Token),
            (2, "etcdserver: invalid auth token", Meaning::Token),
            (INVALID_ARGUMENT, "etcdserver: revision of auth store is old", Meaning::Token),
            (INVALID_ARGUMENT, "etcdserver: user name is empty", Meaning::Token),
            (INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password", Meaning::Denied),
            (PERMISSION_DENIED, "etcdserver: permission denied", Meaning::Denied),
            (INVALID_ARGUMENT, "etcdserver: too many operations in txn request", Meaning::Refused),
            (RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Meaning::Refused),
            (14, "etcdserver: no leader", Meaning::NotDone),
            (14, "etcdserver: request timed out", Meaning::Unknown),
            (14, "error reading a body from connection", Meaning::Unknown),
        ] {
            assert_eq!(meaning(code, message), expected, "{code} {message}");
        }
    }

    #[test]
    fn a_write_without_an_answer_is_never_taken_for_not_done() {
        let fault = Fault::late("http://a", Duration::from_secs(5));
        assert_eq!((fault.meaning, fault.failure()), (Meaning::Unknown, Failure::Unavailable));
        assert!(fault.is_of_the_member());
        assert_eq!(fault.to_string(), "http://a: no answer within 5s");
    }
}
