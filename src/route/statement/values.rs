//! Where the values of fields come from: a borrowed walk over the request. Compares nothing.

use http::header::{HOST, HeaderName};

use crate::route::fold::Folded;
use crate::route::http::cookie;
use crate::route::http::request::{Form, NeedsForm, Request};

/// A field with one value or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Single {
    Path,
    PathBase,
    Method,
    Scheme,
    Host,
    QueryString,
    ContentType,
    Protocol,
}

/// A field with any number of named values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Many {
    Header,
    Query,
    Cookie,
    Form,
}

/// Which of the values.
#[derive(Clone, Debug)]
pub(super) enum Pick {
    /// Those of one header.
    Header(HeaderName),
    /// Those of one name.
    Named(Folded),
    Keys,
    Values,
    /// Names and values alike.
    Both,
}

/// What became of a walk over values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walked {
    /// One was as wanted.
    Found,
    /// There were some, and none as wanted.
    Others,
    /// There was none.
    Nothing,
    /// The request has no form at all.
    NoForm,
}

impl Single {
    /// The value; `None` where it is absent. Always the whole of it, never allocated.
    pub(super) fn of<'a>(self, request: &Request<'a>) -> Option<&'a [u8]> {
        let text = match self {
            Self::Path => request.path,
            Self::PathBase => "",
            Self::Method => request.method,
            Self::Scheme => request.scheme,
            Self::Host => request.host,
            // a question mark alone is no query
            Self::QueryString => {
                if request.query == "?" {
                    ""
                } else {
                    request.query
                }
            }
            Self::ContentType => return request.content_type(),
            Self::Protocol => protocol(request.version),
        };
        Some(text.as_bytes())
    }
}

fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// Walks over the picked values until one is as wanted. Allocates only where a query has escapes in it.
pub(super) fn walk(many: Many, pick: &Pick, request: &Request<'_>, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Walked, NeedsForm> {
    let mut seen = Seen { pick, wanted, any: false };
    let found = match many {
        Many::Header => headers(request, &mut seen),
        Many::Query => {
            let query = request.query.strip_prefix('?').unwrap_or(request.query);
            form_urlencoded::parse(query.as_bytes()).any(|(key, value)| seen.pair(key.as_bytes(), value.as_bytes()))
        }
        Many::Cookie => cookies(request, &mut seen),
        Many::Form if !request.has_form() => return Ok(Walked::NoForm),
        Many::Form => match request.form {
            Form::Unread => return Err(NeedsForm),
            Form::Fields(fields) => fields.iter().any(|(key, value)| seen.pair(key.as_bytes(), value.as_bytes())),
        },
    };
    Ok(match (found, seen.any) {
        (true, _) => Walked::Found,
        (false, true) => Walked::Others,
        (false, false) => Walked::Nothing,
    })
}

/// What a walk looks for, and whether anything was picked on it.
struct Seen<'w> {
    pick: &'w Pick,
    wanted: &'w dyn Fn(&[u8]) -> bool,
    any: bool,
}

impl Seen<'_> {
    /// Looks at a name and its value; true if what was picked of them is as wanted.
    fn pair(&mut self, key: &[u8], value: &[u8]) -> bool {
        let (key_counts, value_counts) = match self.pick {
            Pick::Named(name) => (false, name.is(key)),
            Pick::Keys => (true, false),
            Pick::Header(_) | Pick::Values => (false, true),
            Pick::Both => (true, true),
        };
        self.any |= key_counts || value_counts;
        key_counts && (self.wanted)(key) || value_counts && (self.wanted)(value)
    }
}

/// One value per line. The authority of HTTP/2 counts as the `Host` line that it stands for (RFC 9113 8.3.1).
fn headers(request: &Request<'_>, seen: &mut Seen<'_>) -> bool {
    let implied = !request.host.is_empty() && !request.headers.contains_key(HOST);
    if let Pick::Header(name) = seen.pick {
        return request.headers.get_all(name).iter().any(|line| seen.pair(name.as_ref(), line.as_bytes()))
            || implied && *name == HOST && seen.pair(b"host", request.host.as_bytes());
    }
    request.headers.iter().any(|(name, line)| seen.pair(name.as_ref(), line.as_bytes()))
        || implied && seen.pair(b"host", request.host.as_bytes())
}

/// Of cookies of one name, the last counts; `#Keys`, `#Values` and `#KVS` see all of them.
fn cookies(request: &Request<'_>, seen: &mut Seen<'_>) -> bool {
    let mut all = cookie::cookies(request.headers);
    match seen.pick {
        Pick::Named(name) => all.rfind(|(key, _)| name.is(key)).is_some_and(|(key, value)| seen.pair(key, value)),
        Pick::Header(_) | Pick::Keys | Pick::Values | Pick::Both => all.any(|(key, value)| seen.pair(key, value)),
    }
}
