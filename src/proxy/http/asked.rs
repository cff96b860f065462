//! What a request asks for, as far as the gateway has to know: checked, and in the form that matching sees.

use std::borrow::Cow;

use hyper::header::HOST;
use hyper::http::request;
use hyper::{Method, StatusCode, Version};

use crate::route::http::path::plain;
use crate::route::http::request::{Form, Request};

/// A request's place: borrowed from its head.
pub(super) struct Asked<'a> {
    head: &'a request::Parts,
    secure: bool,
    /// `Host` or `:authority` as sent; empty if there was none.
    pub(super) host: &'a str,
    path: Cow<'a, str>,
    query: &'a str,
}

impl<'a> Asked<'a> {
    /// Reads a head.
    ///
    /// # Errors
    /// The status to refuse it with: RFC 9112 3.2 asks for exactly one Host in HTTP/1.1, and for 400 otherwise.
    pub(super) fn read(head: &'a request::Parts, secure: bool) -> Result<Self, StatusCode> {
        if head.method == Method::CONNECT {
            // a tunnel to anywhere is not what a gateway offers
            return Err(StatusCode::BAD_GATEWAY);
        }
        let host = host(head).ok_or(StatusCode::BAD_REQUEST)?;
        let whole = head.uri.path_and_query().map_or("", |whole| whole.as_str());
        let query = whole.find('?').and_then(|at| whole.get(at..)).filter(|query| query.len() > 1).unwrap_or_default();
        Ok(Self { head, secure, host, path: plain(head.uri.path()), query })
    }

    /// The form in which routes see it.
    pub(super) fn request<'b>(&'b self, form: Form<'b>) -> Request<'b> {
        Request {
            method: self.head.method.as_str(),
            scheme: if self.secure { "https" } else { "http" },
            host: self.host,
            path: &self.path,
            query: self.query,
            version: self.head.version,
            headers: &self.head.headers,
            form,
        }
    }
}

/// The host, if there is exactly as much of it as the version asks for, and it is the same wherever it is given.
pub(super) fn host(head: &request::Parts) -> Option<&str> {
    let mut lines = head.headers.get_all(HOST).iter();
    let line = match lines.next() {
        Some(line) => Some(line.to_str().ok()?),
        None => None,
    };
    if lines.next().is_some() {
        return None;
    }
    match (head.uri.authority(), line) {
        (Some(authority), Some(line)) => authority.as_str().eq_ignore_ascii_case(line).then_some(line),
        // HTTP/1.0 knows no Host (RFC 9112, 3.2 asks HTTP/1.1 for it even here)
        (Some(authority), None) if head.version != Version::HTTP_11 => Some(authority.as_str()),
        (None, Some(line)) => Some(line),
        (None, None) if head.version == Version::HTTP_10 => Some(""),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(version: Version, target: &str, hosts: &[&str]) -> Result<String, u16> {
        let mut request = hyper::Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Asked::read(&head, false).map(|asked| asked.host.to_owned()).map_err(|status| status.as_u16())
    }

    #[test]
    fn there_is_one_host_and_it_is_the_same_everywhere() {
        assert_eq!(read(Version::HTTP_11, "/", &["a.com:80"]).unwrap(), "a.com:80");
        assert_eq!(read(Version::HTTP_11, "http://a.com/", &["A.com"]).unwrap(), "A.com");
        assert_eq!(read(Version::HTTP_10, "/", &[]).unwrap(), "");
        assert_eq!(read(Version::HTTP_10, "http://a.com/", &[]).unwrap(), "a.com");
        assert_eq!(read(Version::HTTP_2, "http://a.com/", &[]).unwrap(), "a.com");
        for (version, target, hosts) in [
            (Version::HTTP_11, "/", &[][..]),
            (Version::HTTP_11, "/", &["a.com", "a.com"]),
            (Version::HTTP_11, "http://a.com/", &["b.com"]),
            (Version::HTTP_11, "http://a.com/", &[]),
            (Version::HTTP_2, "http://a.com/", &["b.com"]),
        ] {
            assert_eq!(read(version, target, hosts), Err(400), "{target} {hosts:?}");
        }
    }

    #[test]
    fn a_query_keeps_its_question_mark_and_a_bare_one_is_none() {
        let query = |target: &str| {
            let (head, ()) = hyper::Request::builder().uri(target).header(HOST, "a").body(()).unwrap().into_parts();
            Asked::read(&head, false).map(|asked| asked.query.to_owned()).unwrap()
        };
        assert_eq!((query("/a?b=c"), query("/a?"), query("/a")), ("?b=c".into(), String::new(), String::new()));
        assert_eq!(query("http://a?b=c"), "?b=c", "a target without a path");
    }
}
