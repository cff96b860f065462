//! Transforms of the path. They work on the bytes as sent: what a transform does not replace stays escaped as it was, so `%2F` is
//! never opened and never escaped twice. Text from the configuration is decoded text, and is escaped here.

use super::percent::{decode, encode_path};

/// One change of the path.
#[derive(Debug)]
pub(super) enum PathStep {
    /// Before the path, escaped, without a slash at its end.
    Prefix(Box<[u8]>),
    /// Whole segments at its beginning, decoded.
    RemovePrefix(Box<str>),
    /// Instead of it, escaped.
    Set(Box<[u8]>),
}

impl PathStep {
    pub(super) fn prefix(text: &str) -> Self {
        let mut escaped = escaped(text);
        if escaped.last() == Some(&b'/') {
            escaped.pop();
        }
        Self::Prefix(escaped.into())
    }

    pub(super) fn remove_prefix(text: &str) -> Self {
        Self::RemovePrefix(rooted(text).into())
    }

    pub(super) fn set(text: &str) -> Self {
        Self::Set(escaped(text).into())
    }

    /// Applies the change to an escaped path, which may be empty in between.
    pub(super) fn apply(&self, path: &mut Vec<u8>) {
        match self {
            Self::Prefix(prefix) => drop(path.splice(0..0, prefix.iter().copied())),
            Self::Set(value) => {
                path.clear();
                path.extend_from_slice(value);
            }
            Self::RemovePrefix(prefix) => {
                if let Some(end) = end_of_prefix(path, prefix) {
                    path.drain(..end);
                }
            }
        }
    }
}

fn rooted(text: &str) -> String {
    if text.starts_with('/') { text.to_owned() } else { format!("/{text}") }
}

fn escaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode_path(rooted(text).as_bytes(), &mut out);
    out
}

/// Where the path goes on after the prefix, if it begins with it, segment by segment and without case.
fn end_of_prefix(path: &[u8], prefix: &str) -> Option<usize> {
    let segments = prefix.bytes().filter(|b| *b == b'/').count();
    let next = path.iter().enumerate().filter(|(_, b)| **b == b'/').nth(segments);
    let end = next.map_or(path.len(), |(at, _)| at);
    let begin = decode(path.get(..end)?, |byte| byte == b'/');
    let begin = std::str::from_utf8(&begin).ok()?;
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
    (begin.eq_ignore_ascii_case(prefix) || lower(begin) == lower(prefix)).then_some(end)
}

/// Removes dot segments, escaped ones too (RFC 3986 5.2.4): a path that is about to get a prefix must not climb out of it.
pub(super) fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut open = false;
    for segment in path.strip_prefix(b"/").unwrap_or(path).split(|b| *b == b'/') {
        let plain = decode(segment, |byte| byte != b'.');
        open = matches!(plain.as_slice(), b"." | b"..");
        match plain.as_slice() {
            b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    if open {
        kept.push(b"");
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(step: &PathStep, path: &str) -> String {
        let mut bytes = path.as_bytes().to_vec();
        step.apply(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_prefix_is_joined_with_one_slash() {
        for (prefix, path, expected) in [
            ("/p", "/x", "/p/x"),
            ("p", "/x", "/p/x"),
            ("/p/", "/x", "/p/x"),
            ("/", "/x", "/x"),
            ("/p", "", "/p"),
            ("/p", "/", "/p/"),
            ("/a b?ü", "/%2F%20~%7e", "/a%20b%3F%C3%BC/%2F%20~%7e"),
        ] {
            assert_eq!(applied(&PathStep::prefix(prefix), path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn a_prefix_is_removed_by_whole_segments_and_without_case() {
        for (prefix, path, expected) in [
            ("/p", "/p/x", "/x"),
            ("/p", "/P/x", "/x"),
            ("p", "/p/x", "/x"),
            ("/p", "/p", ""),
            ("/p", "/p2/x", "/p2/x"),
            ("/p", "/", "/"),
            ("/p/", "/p/x", "/p/x"),
            ("/p/", "/p//x", "/x"),
            ("/p/q", "/p/q/r", "/r"),
            ("/p/q", "/p%2Fq/r", "/p%2Fq/r"),
            ("/a b", "/a%20b/c%2Fd", "/c%2Fd"),
            ("/p", "/%70/x", "/x"),
            ("/ÜB", "/%C3%BCb/x", "/x"),
            ("/p", "/%ff/x", "/%ff/x"),
        ] {
            assert_eq!(applied(&PathStep::remove_prefix(prefix), path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn a_set_path_is_text_that_gets_escaped() {
        for (value, expected) in [
            ("/new", "/new"),
            ("new", "/new"),
            ("/a?b#c%20", "/a%3Fb%23c%2520"),
            ("/\"<>[]^\\`{|}", "/%22%3C%3E%5B%5D%5E%5C%60%7B%7C%7D"),
            ("/!$&'()*+,;=:@-._~", "/!$&'()*+,;=:@-._~"),
        ] {
            assert_eq!(applied(&PathStep::set(value), "/old"), expected);
        }
    }

    #[test]
    fn dot_segments_go_and_nothing_else() {
        for (path, expected) in [
            ("/a/../b", "/b"),
            ("/%2e%2E/b/./c", "/b/c"),
            ("/..", "/"),
            ("/a/.", "/a/"),
            ("/a//%2F..", "/a//%2F.."),
            ("/", "/"),
            ("/a/", "/a/"),
        ] {
            assert_eq!(without_dots(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_prefix_that_was_put_before_comes_off_again(prefix in "/[a-z ü%]{1,8}", path in "/[a-z%0-9/]{0,12}") {
            let there = applied(&PathStep::prefix(&prefix), &path);
            // a percent sign of the prefix is escaped, and so is that of the text that it is compared with
            prop_assert_eq!(applied(&PathStep::remove_prefix(&prefix), &there), path);
        }
    }
}
