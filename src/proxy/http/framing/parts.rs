//! The same strictness for heads of HTTP/2, which a parser has read already: requests before they become HTTP/1.1, and answers of
//! nodes. What the parser has thrown away cannot be seen here.

use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::{request, response};
use hyper::{HeaderMap, Method};

use super::line;
use super::{Fault, LARGEST_HEAD, LONGEST_TARGET};

/// Judges the head of an HTTP/2 request: its pseudo-fields must make one sound request line and one host (RFC 9113, 8.3.1), and
/// nothing in it may frame an HTTP/1.1 message in another way than its frames do (8.2.2).
///
/// The host is `:authority`, or `Host` if there is none.
pub fn request(head: &request::Parts) -> Result<(), Fault> {
    frames(&head.headers)?;
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

/// Judges the head of an HTTP/2 answer: nothing in it may frame an HTTP/1.1 message in another way than its frames do (RFC 9113,
/// 8.2.2), or it may be followed by another answer that nobody asked for (RFC 9112, 6.3).
pub fn answer(head: &response::Parts) -> Result<(), Fault> {
    frames(&head.headers)
}

/// Whether there is no coding, and at most one length, a plain number.
fn frames(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(Fault::TransferEncoding);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    if lengths.next().is_some() {
        return Err(Fault::ContentLengthRepeated);
    }
    line::length(length.as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use hyper::{Request, Response, Version};

    use super::*;

    fn request_of(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<(), Fault> {
        let builder = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        let builder = fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        request(&builder.body(()).unwrap().into_parts().0)
    }

    fn answer_of(fields: &[(&str, &str)]) -> Result<(), Fault> {
        let builder =
            fields.iter().fold(Response::builder().version(Version::HTTP_2), |builder, (name, value)| builder.header(*name, *value));
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
        assert_eq!(answer_of(&[]), Ok(()));
        assert_eq!(answer_of(&[("content-length", "3")]), Ok(()));
        assert_eq!(answer_of(&[("content-length", "3"), ("content-length", "3")]), Err(Fault::ContentLengthRepeated));
        assert_eq!(answer_of(&[("content-length", "3, 3")]), Err(Fault::ContentLength));
        assert_eq!(answer_of(&[("transfer-encoding", "chunked")]), Err(Fault::TransferEncoding));
    }
}
