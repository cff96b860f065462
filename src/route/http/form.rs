//! The fields of a form in a body that was read before. How much of a body is read, and whether, is the caller's business.

use super::request::Field;

/// The two ways in which forms are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort<'a> {
    /// `application/x-www-form-urlencoded`
    Urlencoded,
    /// `multipart/form-data` (RFC 7578) with its boundary.
    Multipart(&'a [u8]),
}

/// The sort of form that a content type announces.
pub(super) fn sort(content_type: &[u8]) -> Option<Sort<'_>> {
    let mut parts = content_type.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let media = parts.next()?;
    if media.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return Some(Sort::Urlencoded);
    }
    let boundary = parts.find_map(|p| parameter(p, b"boundary")).unwrap_or_default();
    media.eq_ignore_ascii_case(b"multipart/form-data").then_some(Sort::Multipart(boundary))
}

/// The fields of a body, in their order; empty if the content type is no form's. Files in a multipart form are no fields. A value
/// that is no UTF-8 has its wrong bytes replaced.
pub fn fields<'a>(content_type: &[u8], body: &'a [u8]) -> Vec<Field<'a>> {
    match sort(content_type) {
        Some(Sort::Urlencoded) => form_urlencoded::parse(body).collect(),
        Some(Sort::Multipart(boundary)) if !boundary.is_empty() => multipart(boundary, body),
        Some(Sort::Multipart(_)) | None => Vec::new(),
    }
}

fn multipart<'a>(boundary: &[u8], body: &'a [u8]) -> Vec<Field<'a>> {
    let delimiter = [b"\r\n--", boundary].concat();
    let first = delimiter.get(2..).unwrap_or_default();
    let Some(mut rest) = body.strip_prefix(first).or_else(|| split_once(body, &delimiter).map(|(_, rest)| rest)) else { return Vec::new() };
    let mut fields = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let Some((part, after)) = split_once(part, &delimiter) else { break };
        fields.extend(field(part));
        rest = after;
    }
    fields
}

/// One part, unless it is a file or has no name.
fn field(part: &[u8]) -> Option<Field<'_>> {
    let (head, value) = split_once(part, b"\r\n\r\n")?;
    let line = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).find_map(|line| {
        let (name, value) = split_once(line, b":")?;
        name.eq_ignore_ascii_case(b"content-disposition").then_some(value)
    })?;
    let parameters = || line.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    if parameters().any(|p| parameter(p, b"filename").is_some() || parameter(p, b"filename*").is_some()) {
        return None;
    }
    let name = parameters().find_map(|p| parameter(p, b"name"))?;
    Some((String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
}

/// The value of `name=value` or `name="value"`.
fn parameter<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (key, value) = split_once(text, b"=")?;
    let bare = value.trim_ascii();
    let quoted = bare.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
    key.trim_ascii().eq_ignore_ascii_case(name).then_some(quoted.unwrap_or(bare))
}

fn split_once<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let from = text.windows(at.len()).position(|w| w == at)?;
    Some((text.get(..from)?, text.get(from + at.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(content_type: &str, body: &str) -> Vec<(String, String)> {
        fields(content_type.as_bytes(), body.as_bytes()).into_iter().map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn an_urlencoded_form_is_read() {
        let expected = pairs(&[("user", "Bob"), ("a b", "c&d"), ("e", "")]);
        assert_eq!(read("Application/X-WWW-form-urlencoded; charset=utf-8", "user=Bob&a+b=c%26d&e"), expected);
        assert_eq!(read("application/json", "user=Bob"), []);
    }

    #[test]
    fn the_fields_of_a_multipart_form_are_read_and_its_files_are_not() {
        let body = "preamble\r\n--x\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nBob\r\n\
            --x\r\ncontent-disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nfile\r\n\
            --x\r\nContent-Disposition: form-data; name=role\r\n\r\ntwo\r\nlines\r\n--x--\r\n";
        let expected = pairs(&[("user", "Bob"), ("role", "two\r\nlines")]);
        assert_eq!(read("multipart/form-data; boundary=x", body), expected);
        assert_eq!(read("multipart/form-data; boundary=\"x\"", body), expected);
        assert_eq!(read("multipart/form-data; boundary=x", body.strip_prefix("preamble\r\n").unwrap()), expected);
        assert_eq!(read("multipart/form-data", body), []);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in "(--x|\r\n|name=|\"|;|:|a|Content-Disposition){0,30}") {
            fields(b"multipart/form-data; boundary=x", body.as_bytes());
        }
    }
}
