//! Cookies of a request: the pairs in its `Cookie` fields (RFC 6265, 4.2.1). Never decodes a value.

use http::HeaderMap;
use http::header::COOKIE;

/// Names and values, in the order in which they were sent; without the white space around them. What has no `=` is no cookie.
pub fn cookies(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';')).filter_map(pair)
}

/// The value of a cookie by its name, without regard to ASCII case. Of several, the last counts: a server may not rely on their
/// order (RFC 6265, 4.2.2).
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    cookies(headers).rfind(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
}

fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == b'=')?;
    Some((text.get(..at)?.trim_ascii(), text.get(at + 1..)?.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_lines() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; Sid = x=y ;b; C=2"));
        headers.append(COOKIE, HeaderValue::from_static("c=3;=4"));
        assert_eq!(cookie(&headers, "sid"), Some(&b"x=y"[..]));
        assert_eq!(cookie(&headers, "c"), Some(&b"3"[..]), "the last one counts");
        assert_eq!(cookie(&headers, "b"), None, "half a pair is no cookie");
        let names: Vec<&[u8]> = cookies(&headers).map(|(name, _)| name).collect();
        assert_eq!(names, [&b"a"[..], b"Sid", b"C", b"c", b""]);
    }
}
