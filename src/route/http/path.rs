//! The plain form of a path, in which it is compared: decoded, without dot segments. What is forwarded stays as it was sent.

use std::borrow::Cow;

/// The plain form of the path of a request target: percent-escapes are decoded, but not `%2F` (a slash in a segment is no
/// separator) and nothing that is no UTF-8 or a control character; then dot segments are removed (RFC 3986 5.2.4). Allocates only
/// where there is something to do.
pub fn plain(raw: &str) -> Cow<'_, str> {
    let decoded = if raw.contains('%') { Cow::Owned(decoded(raw)) } else { Cow::Borrowed(raw) };
    if decoded.contains("/.") { Cow::Owned(without_dots(&decoded)) } else { decoded }
}

fn decoded(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let run = escapes(bytes.get(at..).unwrap_or_default());
        if run.is_empty() {
            out.push(*byte);
            at += 1;
        } else {
            let sent = bytes.get(at..at + run.len() * 3).unwrap_or_default();
            run_decoded(&run, sent, &mut out);
            at += run.len() * 3;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The bytes of the percent-escapes that the text begins with.
fn escapes(text: &[u8]) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut run = Vec::new();
    for escape in text.chunks_exact(3) {
        let &[b'%', high, low] = escape else { break };
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { break };
        run.push(high << 4 | low);
    }
    run
}

/// Writes what the escapes stand for; those that stay are written as they were sent.
fn run_decoded(run: &[u8], sent: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    for chunk in run.utf8_chunks() {
        for c in chunk.valid().chars() {
            let stays = c == '/' || c.is_control();
            match sent.get(at * 3..(at + c.len_utf8()) * 3) {
                Some(escape) if stays => out.extend_from_slice(escape),
                _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            at += c.len_utf8();
        }
        let end = at + chunk.invalid().len();
        out.extend_from_slice(sent.get(at * 3..end * 3).unwrap_or_default());
        at = end;
    }
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut out = kept.iter().fold(String::with_capacity(path.len()), |out, segment| out + "/" + segment);
    if open || out.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_decoded_but_not_that_of_the_slash() {
        for (raw, expected) in [
            ("/%78", "/x"),
            ("/x%20", "/x "),
            ("/a%2Fb%2fc", "/a%2Fb%2fc"),
            ("/%E4%BD%A0", "/你"),
            ("/%e4%bd", "/%e4%bd"),
            ("/%E4%BD%A0%FFz", "/你%FFz"),
            ("/%", "/%"),
            ("/%4", "/%4"),
            ("/%zz%41", "/%zzA"),
            ("/%2541", "/%41"),
            ("/%00%0a", "/%00%0a"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(plain(raw), expected, "{raw}");
        }
    }

    #[test]
    fn dot_segments_go_and_never_lead_above_the_top() {
        for (raw, expected) in [
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/../../a", "/a"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/...", "/a/..."),
            ("/.a/b.", "/.a/b."),
            ("/a//../b", "/a/b"),
        ] {
            assert_eq!(plain(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_path_that_is_plain_is_not_copied() {
        assert!(matches!(plain("/a/b"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(raw in "[/.%a-c0-9A-F\u{e4}]{0,40}") {
            let once = plain(&raw);
            prop_assert!(!once.split('/').skip(1).any(|s| s == ".." || s == "."), "{once}");
        }
    }
}
