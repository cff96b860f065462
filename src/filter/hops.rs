//! Headers that are for one connection only (RFC 9110 7.6.1) and those that a gateway never passes on. One walk over the names, and a
//! removal only for what is there.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Every header that is never passed on, in either direction.
static NAMES: [HeaderName; 17] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::UPGRADE_INSECURE_REQUESTS,
    header::ALT_SVC,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-features"),
    HeaderName::from_static("proxy-instruction"),
    HeaderName::from_static("security-scheme"),
    HeaderName::from_static("alpn"),
    HeaderName::from_static("close"),
    HeaderName::from_static("http2-settings"),
];

/// What was among the removed headers and changes what follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    /// `TE` had `trailers` in it.
    pub(super) te_trailers: bool,
}

/// The place in [`NAMES`]. Lengths first: nearly every header is told apart by them.
fn bit(name: &HeaderName) -> Option<usize> {
    let name = name.as_str();
    let candidate = |at: usize| NAMES.get(at).is_some_and(|known| known.as_str() == name).then_some(at);
    match name.len() {
        2 => candidate(3),
        4 => candidate(14),
        5 => candidate(15),
        7 => candidate(2).or_else(|| candidate(7)),
        10 => candidate(0).or_else(|| candidate(8)),
        14 => candidate(11).or_else(|| candidate(16)),
        15 => candidate(13),
        16 => candidate(9),
        17 => candidate(1).or_else(|| candidate(12)),
        18 => candidate(4),
        19 => candidate(5),
        25 => candidate(6).or_else(|| candidate(10)),
        _ => None,
    }
}

/// Removes what is for one connection only, and the headers that `Connection` names.
pub(super) fn strip(headers: &mut HeaderMap) -> Removed {
    let mut seen = 0_u32;
    for at in headers.keys().filter_map(bit) {
        seen |= 1 << at;
    }
    let mut removed = Removed::default();
    if seen == 0 {
        return removed;
    }
    removed.te_trailers = seen & (1 << 3) != 0 && headers.get_all(header::TE).iter().any(|value| tokens(value).any(is_trailers));
    if seen & 1 != 0 {
        strip_named(headers);
    }
    if seen & (1 << 1) != 0 {
        // both would let the two sides disagree where the body ends (RFC 9112 6.3)
        headers.remove(header::CONTENT_LENGTH);
    }
    for (at, name) in NAMES.iter().enumerate() {
        if seen & (1 << at) != 0 {
            headers.remove(name);
        }
    }
    removed
}

/// Removes the headers that `Connection` names, and nothing else.
pub(super) fn strip_named(headers: &mut HeaderMap) {
    let values: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    for token in values.iter().flat_map(tokens) {
        let usual = [&b"close"[..], b"keep-alive", b"upgrade"].iter().any(|usual| token.eq_ignore_ascii_case(usual));
        if let Ok(name) = HeaderName::from_bytes(token)
            && !usual
            && name != header::CONNECTION
        {
            headers.remove(name);
        }
    }
}

/// The members of a comma-separated list.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// `trailers`, whatever parameters follow.
fn is_trailers(token: &[u8]) -> bool {
    let word = token.split(|b| *b == b';').next().unwrap_or_default();
    word.trim_ascii_end().eq_ignore_ascii_case(b"trailers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(n, v): &(&str, &str)| (HeaderName::from_bytes(n.as_bytes()).unwrap(), HeaderValue::from_str(v).unwrap());
        lines.iter().map(line).collect()
    }

    fn left(lines: &[(&str, &str)]) -> Vec<String> {
        let mut headers = map(lines);
        strip(&mut headers);
        headers.iter().map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn every_name_of_the_list_is_found_and_removed() {
        for (at, name) in NAMES.iter().enumerate() {
            assert_eq!(bit(name), Some(at), "{name}");
            assert_eq!(left(&[(name.as_str(), "x"), ("a", "b")]), ["a"], "{name}");
        }
    }

    #[test]
    fn names_as_long_as_those_of_the_list_stay() {
        for name in ["is", "host", "range", "expires", "user-agent", "accept-charset", "accept-encoding", "content-encoding"] {
            assert_eq!(left(&[(name, "x")]), [name]);
        }
    }

    #[test]
    fn headers_that_connection_names_go_with_it() {
        assert_eq!(
            left(&[("connection", "keep-alive, X-Foo"), ("connection", " ,x-bar"), ("x-foo", "1"), ("x-bar", "2"), ("c", "3")]),
            ["c"]
        );
        assert_eq!(left(&[("connection", "close, a b, é"), ("a", "1")]), ["a"]);
    }

    #[test]
    fn a_length_beside_a_transfer_encoding_goes() {
        assert_eq!(left(&[("transfer-encoding", "chunked"), ("content-length", "5"), ("a", "b")]), ["a"]);
        assert_eq!(left(&[("content-length", "5")]), ["content-length"]);
    }

    #[test]
    fn trailers_are_seen_in_te() {
        for (value, expected) in [("trailers", true), ("gzip, Trailers;q=1", true), ("gzip", false), ("trailersx", false)] {
            assert_eq!(strip(&mut map(&[("te", value)])).te_trailers, expected, "{value}");
        }
    }
}
