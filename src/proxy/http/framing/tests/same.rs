//! Chance: whatever is let through, the parser understands in the same way; cut anywhere, the verdicts are the same.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::behind::{Call, Seen, served};
use super::*;

/// A message that is mostly sound.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let line = (
        select(vec!["GET", "POST", "OPTIONS", "get", "X-Y"]),
        select(vec!["/", "/a/b?c=d", "*", "http://a/x", "/%00%0d%0a", "//b", "/a\\b"]),
        select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]),
    );
    let fields = vec(
        select(vec![
            "Host: a\r\n",
            "X: y\r\n",
            "X:\r\n",
            "Connection: keep-alive\r\n",
            "Expect: 100-continue\r\n",
            "Upgrade: x\r\n",
            "Content-Length: 0\r\n",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Host: \r\n",
        ]),
        0..3,
    );
    let body = select(vec![
        "",
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nGET\r\nA\r\n / HTTP/1.\r\n0\r\nX: y\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ]);
    (line, fields, body).prop_map(|((method, target, version), fields, body)| {
        let fields = fields.concat();
        let host = if fields.contains("Host") { "" } else { "Host: a\r\n" };
        let end = if body.is_empty() { "\r\n" } else { body };
        format!("{method} {target} {version}\r\n{host}{fields}{end}").into_bytes()
    })
}

/// A change of the bytes: where, how many go, what comes.
fn change() -> impl Strategy<Value = (usize, usize, &'static [u8])> {
    let bytes: Vec<&[u8]> = vec![
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"0",
        b"1",
        b"f",
        b"x",
        b"+",
        b"-",
        b"\"",
        b"\\",
        b"#",
        b"\x7f",
        b"\xff",
        b"\x0b",
        b"",
        b"",
        b"\r\n\r\n",
        b"\n\n",
        b"chunked",
        b"Content-Length: 3\r\n",
        b"=",
    ];
    (0_usize..400, 0_usize..3, select(bytes))
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    (vec(message(), 1..4), vec(change(), 0..3)).prop_map(|(messages, changes)| {
        let mut bytes = messages.concat();
        for (at, goes, comes) in changes {
            let at = at % (bytes.len() + 1);
            let end = (at + goes).min(bytes.len());
            bytes.splice(at..end, comes.iter().copied());
        }
        bytes
    })
}

/// The requests that the watcher let through, read by its boundaries and in the simplest way.
fn understood(bytes: &[u8]) -> Vec<Seen> {
    let mut framing = Framing::new();
    let (mut start, mut all) = (0, Vec::new());
    let mut open: Option<(Seen, usize, bool)> = None;
    for at in 0..bytes.len() {
        if framing.saw(&bytes[at..=at]) == 0 {
            break;
        }
        if framing.verdict() == Some(Ok(())) {
            open = Some(head(&bytes[start..=at], at + 1));
        }
        if framing.place() == Place::Idle
            && let Some((mut seen, from, is_chunked)) = open.take()
        {
            let body = &bytes[from..=at];
            seen.body = if is_chunked { dechunked(body) } else { body.to_vec() };
            start = at + 1;
            all.push(seen);
        }
    }
    if let Some((mut seen, ..)) = open {
        seen.whole = false;
        all.push(seen);
    }
    all
}

fn head(bytes: &[u8], end: usize) -> (Seen, usize, bool) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.trim_start_matches("\r\n").trim_end_matches("\r\n").split("\r\n").collect();
    let words: Vec<&str> = lines[0].split(' ').collect();
    let is_chunked = lines[1..].iter().any(|line| line.to_ascii_lowercase().starts_with("transfer-encoding:"));
    let seen = Seen { method: words[0].into(), target: words[1].into(), fields: lines.len() - 1, body: Vec::new(), whole: true };
    (seen, end, is_chunked)
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
        let digits = std::str::from_utf8(&bytes[..end]).unwrap().split(';').next().unwrap();
        let size = usize::from_str_radix(digits, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}

/// What the handler saw, without what it saw of bodies that broke.
fn told(calls: &[Call]) -> Vec<Seen> {
    let fine = calls.iter().filter_map(|call| call.as_ref().ok());
    fine.cloned().map(|seen| if seen.whole { seen } else { Seen { body: Vec::new(), ..seen } }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(0x46_52_41_4D_45), cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn the_parser_understands_what_is_let_through_as_the_watcher_does(bytes in stream(), size in 1_usize..200) {
        let ours = understood(&bytes);
        let (calls, statuses) = served(bytes.chunks(size).map(<[u8]>::to_vec).collect());
        let theirs = told(&calls);
        // the parser may stop early, and refuse more: an HTTP/1.0 client that does not keep its connection, a body that broke
        prop_assert!(theirs.len() <= ours.len(), "{theirs:?} but {ours:?}");
        prop_assert_eq!(theirs.is_empty(), ours.is_empty(), "{:?}", ours);
        for (theirs, ours) in theirs.iter().zip(&ours) {
            let target = ours.target.strip_prefix("http://a").filter(|rest| rest.starts_with('?'));
            let target = target.map_or(ours.target.clone(), |rest| format!("http://a/{rest}"));
            prop_assert_eq!(theirs, &Seen { target, ..ours.clone() });
        }
        prop_assert!(calls.iter().filter(|call| call.is_err()).count() <= 1);
        prop_assert!(statuses.len() <= calls.len() + 1);
    }

    #[test]
    fn the_verdicts_do_not_depend_on_the_cut(bytes in stream(), size in 1_usize..50, at in 0_usize..400) {
        let whole = fed([&bytes[..]]);
        prop_assert_eq!(&fed(bytes.chunks(1)), &whole);
        prop_assert_eq!(&fed(bytes.chunks(size)), &whole);
        let (one, two) = bytes.split_at(at % (bytes.len() + 1));
        prop_assert_eq!(&fed([one, two]), &whole);
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(pieces in vec(vec(any::<u8>(), 0..40), 0..20)) {
        let _ = fed(pieces.iter().map(Vec::as_slice));
    }
}
