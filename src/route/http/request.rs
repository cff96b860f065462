//! What matching sees of a request: borrowed from the connection, nothing copied. Reads no socket and changes nothing.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Version};

/// A request, as routes and statements see it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method as sent.
    pub method: &'a str,
    /// `http` or `https`, as the gateway was reached.
    pub scheme: &'a str,
    /// `Host` or `:authority` as sent, port included; empty if there was none.
    pub host: &'a str,
    /// The path in its plain form ([`super::path::plain`]), without the query.
    pub path: &'a str,
    /// The query as sent with its leading `?`; empty if there is none.
    pub query: &'a str,
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// The header lines.
    pub headers: &'a HeaderMap,
    /// The form in the body. Only asked for where a statement reads it: see [`NeedsForm`].
    pub form: Form<'a>,
}

/// What is known of the form in a body.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// The body was not read.
    Unread,
    /// Its fields.
    Fields(&'a [Field<'a>]),
}

/// One field of a form: name and value.
pub type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The answer depends on the form in the body: match again with [`Form::Fields`], or refuse the request. Only requests whose
/// content type is a form's come to this, and only where a statement that reads the form is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the route depends on the form in the body")]
pub struct NeedsForm;

impl<'a> Request<'a> {
    /// The whole `Content-Type`, parameters included.
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes)
    }

    /// `Content-Length`, if it is there and a number.
    pub fn content_length(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
    }

    /// Whether the content type is one of the two that forms have.
    pub fn has_form(&self) -> bool {
        self.content_type().is_some_and(|line| super::form::sort(line).is_some())
    }
}
