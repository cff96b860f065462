//! The same strictness for heads that a parser has read already: requests of HTTP/2 before they become HTTP/1.1, and answers of
//! nodes. What the parser has thrown away cannot be seen here.

use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::{request, response};
use hyper::{HeaderMap, Method, Version};

use super::line;
use super::{Fault, LARGEST_HEAD, LONGEST_TARGET};

/// Judges the head of an HTTP/2 request: its pseudo-fields must make one sound request line and one host (RFC 9113, 8.3.1), and
/// nothing in it may frame an HTTP/1.1 message in another way than its frames do (8.2.2).
///
/// The host is `:authority`, or `Host` if there is none.
pub fn request(head: &request::Parts) -> Result<(), Fault> {
    if head.headers.contains_key(TRANSFER_ENCODING) {
        return Err(Fault::TransferEncoding);
    }
    content_length(&head.headers)?;
    let target = head.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes();
    if target.len() > LONGEST_TARGET {
        return Err(Fault::TargetTooLong);
    }
    size(&head.headers)?;
    let has_form = match target {
        [b'/', ..] => true,
        b"*" => head.method == Method::OPTIONS,
        [] => head.method == Method::CONNECT,
        _ => false,
    };
    if !has_form || !target.iter().all(|byte| matches!(byte, b'!'..=b'~')) {
        return Err(Fault::Target);
    }
    host(head)
}

/// Each line counts with 32 bytes beside its own (RFC 9113, 10.5.1), which bounds their number: cookies come in a line each.
fn size(headers: &HeaderMap) -> Result<(), Fault> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    if bytes > LARGEST_HEAD { Err(Fault::HeadTooLarge) } else { Ok(()) }
}

fn host(head: &request::Parts) -> Result<(), Fault> {
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut hosts = head.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    match (authority, hosts.next(), hosts.next()) {
        (_, _, Some(_)) | (None, None, None) => Err(Fault::Host),
        (Some(authority), Some(host), None) if !authority.eq_ignore_ascii_case(host) => Err(Fault::Authority),
        (Some(name), ..) | (None, Some(name), None) if line::is_host(name) => Ok(()),
        _ => Err(Fault::Host),
    }
}

/// Judges the head of a node's answer over HTTP/1: the gateway frames what it sends anew, but an answer that can be read in two
/// ways may be followed on its connection by another that nobody asked for (RFC 9112, 6.3).
pub fn answer(head: &response::Parts) -> Result<(), Fault> {
    let has_length = content_length(&head.headers)?;
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if head.version == Version::HTTP_10 {
        return Err(Fault::TransferEncodingIn10);
    }
    if has_length {
        return Err(Fault::LengthAndEncoding);
    }
    if codings.next().is_some() {
        return Err(Fault::TransferEncoding);
    }
    line::encoding(coding.as_bytes().trim_ascii())
}

/// Whether there is one; an error if there are several, or one that is no plain number.
fn content_length(headers: &HeaderMap) -> Result<bool, Fault> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(false) };
    if lengths.next().is_some() {
        return Err(Fault::ContentLengthRepeated);
    }
    line::length(length.as_bytes()).map(|_| true)
}

#[cfg(test)]
mod tests {
    use hyper::{Request, Response};

    use super::*;

    fn request_of(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<(), Fault> {
        let builder = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        let builder = fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        request(&builder.body(()).unwrap().into_parts().0)
    }

    fn answer_of(version: Version, fields: &[(&str, &str)]) -> Result<(), Fault> {
        let builder = fields.iter().fold(Response::builder().version(version), |builder, (name, value)| builder.header(*name, *value));
        answer(&builder.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_of_http2_has_one_host_one_length_and_a_sound_target() {
        let get = |uri: &str, fields: &[(&str, &str)]| request_of("GET", uri, fields);
        assert_eq!(get("http://a/b?c", &[]), Ok(()));
        assert_eq!(get("http://a/", &[("host", "A")]), Ok(()));
        assert_eq!(get("/", &[("host", "a:80")]), Ok(()));
        assert_eq!(get("/", &[]), Err(Fault::Host));
        assert_eq!(get("http://a/", &[("host", "b")]), Err(Fault::Authority));
        assert_eq!(get("http://a/", &[("host", "a"), ("host", "a")]), Err(Fault::Host));
        assert_eq!(get("http://u@a/", &[]), Err(Fault::Host));
        assert_eq!(get("/", &[("host", "a b")]), Err(Fault::Host));
        assert_eq!(get("*", &[("host", "a")]), Err(Fault::Target));
        assert_eq!(request_of("OPTIONS", "*", &[("host", "a")]), Ok(()));
        assert_eq!(request_of("CONNECT", "a:443", &[]), Ok(()));
        assert_eq!(get("http://a/\u{e9}", &[]), Err(Fault::Target));
        assert_eq!(get(&format!("http://a/{}", "b".repeat(LONGEST_TARGET)), &[]), Err(Fault::TargetTooLong));
        assert_eq!(get("http://a/", &[("content-length", "1"), ("content-length", "1")]), Err(Fault::ContentLengthRepeated));
        assert_eq!(get("http://a/", &[("content-length", "+1")]), Err(Fault::ContentLength));
        assert_eq!(get("http://a/", &[("transfer-encoding", "chunked")]), Err(Fault::TransferEncoding));
    }

    #[test]
    fn an_answer_is_framed_in_one_way() {
        let new = |fields: &[(&str, &str)]| answer_of(Version::HTTP_11, fields);
        assert_eq!(new(&[]), Ok(()));
        assert_eq!(new(&[("content-length", "3")]), Ok(()));
        assert_eq!(new(&[("transfer-encoding", "chunked")]), Ok(()));
        assert_eq!(new(&[("transfer-encoding", "chunked"), ("content-length", "3")]), Err(Fault::LengthAndEncoding));
        assert_eq!(new(&[("content-length", "3"), ("content-length", "3")]), Err(Fault::ContentLengthRepeated));
        assert_eq!(new(&[("content-length", "3, 3")]), Err(Fault::ContentLength));
        assert_eq!(new(&[("transfer-encoding", "gzip, chunked")]), Err(Fault::TransferEncodingUnknown));
        assert_eq!(new(&[("transfer-encoding", "gzip")]), Err(Fault::TransferEncoding));
        assert_eq!(new(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]), Err(Fault::TransferEncoding));
        assert_eq!(answer_of(Version::HTTP_10, &[("transfer-encoding", "chunked")]), Err(Fault::TransferEncodingIn10));
    }
}
