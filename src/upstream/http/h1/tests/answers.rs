//! Answers: every framing in every cut, and what is refused.

use hyper::Method;
use proptest::prelude::*;

use super::*;

/// An answer and what follows it, the method that it answers, and what it means: status, body, trailers, whether the connection is free.
type Row = (&'static str, &'static str, u16, &'static str, &'static [&'static str], bool);

const ROWS: &[Row] = &[
    ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: 1\r\n\r\nhello", 200, "hello", &[], true),
    ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, "", &[], true),
    ("GET", "HTTP/1.1 200\r\nContent-Length:1\r\n\r\nx", 200, "x", &[], true),
    ("GET", "HTTP/1.1 299 Quite so\r\nCONTENT-LENGTH: \t 1 \r\nempty:\r\n\r\nx", 299, "x", &[], true),
    ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, "hello", &[], true),
    (
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n00A;a=\"b;c\";d\r\n0123456789\r\n1 \r\na\r\n0\t;e\r\n\r\n",
        200,
        "0123456789a",
        &[],
        true,
    ),
    ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 200, "", &[], true),
    (
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-a: 1\r\nx-b: 2\r\nx-a: 3\r\n\r\n",
        200,
        "abc",
        &["x-a: 1", "x-a: 3", "x-b: 2"],
        true,
    ),
    ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", 200, "", &[], true),
    ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200, "", &[], true),
    ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", 200, "", &[], true),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", &[], true),
    ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, "", &[], true),
    (
        "GET",
        "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        200,
        "x",
        &[],
        true,
    ),
    ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx", 200, "x", &[], false),
    ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive, Close\r\n\r\nx", 200, "x", &[], false),
    ("GET", "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", 200, "x", &[], false),
    ("GET", "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: Keep-Alive\r\n\r\nx", 200, "x", &[], true),
    ("GET", "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\nconnection: close\r\n\r\nx", 200, "x", &[], false),
    ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, "x", &[], false),
    ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\ny", 200, "x", &[], false),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\nx", 204, "", &[], false),
];

/// Answers that end with their connection, and broken ones: what is told of each.
const REFUSED: &[(&str, &str)] = &[
    ("garbage\r\n\r\n", "no head of HTTP/1"),
    ("HTTP/2 200 OK\r\n\r\n", "no head of HTTP/1"),
    ("HTTP/1.1 99 x\r\n\r\n", "no head of HTTP/1"),
    ("HTTP/1.1 200 OK\r\na : b\r\n\r\n", "no head of HTTP/1"),
    ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", "no head of HTTP/1"),
    ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "no head of HTTP/1"),
    ("HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n", "no head of HTTP/1"),
    ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", "the length"),
    ("HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\nx", "the length"),
    ("HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\nx", "the length"),
    ("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nx", "the length"),
    ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551617\r\n\r\nx", "the length"),
    ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "the transfer coding"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "the transfer coding"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "the transfer coding"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n", "the transfer coding"),
    ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "the transfer coding"),
    ("HTTP/1.1 204 No Content\r\ncontent-length: x\r\n\r\n", "the length"),
    ("HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\n\r\n", "a switch of protocols"),
];

const CHUNKS: &[&str] = &[
    "\r\n",
    "g\r\n",
    "+1\r\nx\r\n",
    "0x1\r\nx\r\n",
    " 1\r\nx\r\n",
    "1\nx\r\n",
    "1\rx",
    "1\r\nxy",
    "1\r\nx\n",
    "1\r\nx\rz",
    "-1\r\n",
    ";a\r\n",
    "1;a\nx",
    "1;\0\r\nx",
    "0000000000000001\r\nx\r\n",
    "ffffffffffffffffff\r\nx",
    "0\r\nx y: 1\r\n\r\n",
    "0\r\nno colon\r\n\r\n",
];

fn asked(method: &str) -> Request<Outgoing> {
    let mut request = get();
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    request
}

/// What an answer means that comes in these pieces.
async fn read(method: &str, pieces: Vec<Vec<u8>>, ends: bool) -> Result<Whole, String> {
    let does = pieces.into_iter().filter(|piece| !piece.is_empty()).map(Does::Says).chain(ends.then_some(Does::Ends));
    exchange(&mut on(Script::new(does)), asked(method)).await
}

/// The bytes, cut before each of these places.
fn cut(bytes: &[u8], at: &[usize]) -> Vec<Vec<u8>> {
    let ends = at.iter().copied().chain([bytes.len()]);
    let mut from = 0;
    ends.map(|to| bytes[std::mem::replace(&mut from, to)..to].to_vec()).collect()
}

async fn is_read_as_told(row: &Row, at: &[usize]) {
    let (method, bytes, status, body, trailers, free) = *row;
    let whole = read(method, cut(bytes.as_bytes(), at), false).await.unwrap_or_else(|e| panic!("{bytes:?} cut at {at:?}: {e}"));
    assert_eq!((whole.status, &whole.body[..]), (status, body.as_bytes()), "{bytes:?} cut at {at:?}");
    assert_eq!(whole.trailers, trailers, "{bytes:?} cut at {at:?}");
    // what came after the answer may be read later: then the connection is not quiet
    assert!(whole.free == free || (whole.free && !at.is_empty()), "{bytes:?} cut at {at:?}");
}

#[tokio::test]
async fn an_answer_is_the_same_however_it_is_cut() {
    for row in ROWS {
        is_read_as_told(row, &[]).await;
        for at in 1..row.1.len() {
            is_read_as_told(row, &[at]).await;
        }
        is_read_as_told(row, &(1..row.1.len()).collect::<Vec<_>>()).await;
    }
}

proptest! {
    #[test]
    fn an_answer_is_the_same_in_any_pieces(row in 0..ROWS.len(), mut at in prop::collection::vec(1..60_usize, 0..8)) {
        let row = &ROWS[row];
        at.retain(|at| *at < row.1.len());
        at.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(is_read_as_told(row, &at));
    }

    #[test]
    fn no_bytes_of_a_node_do_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..120_usize, begin in 0..ROWS.len()) {
        let mut all = ROWS[begin].1.as_bytes().to_vec();
        all.truncate(at);
        all.append(&mut bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _ = runtime.block_on(read("GET", vec![all], true));
    }
}

#[tokio::test]
async fn fields_keep_their_order_and_their_values() {
    let answer = "HTTP/1.1 200 OK\r\nB:  2 \r\na: \r\nSet-Cookie: x=1\r\nset-cookie: y=\u{e9}\r\ncontent-length: 0\r\n\r\n";
    let whole = read("GET", vec![answer.into()], false).await.unwrap();
    assert_eq!(whole.fields, ["b: 2", "a: ", "set-cookie: x=1", "set-cookie: y=\u{e9}", "content-length: 0"]);
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n"] {
        let whole = read("GET", vec![head.into(), b"hel".to_vec(), b"lo".to_vec()], true).await.unwrap();
        assert_eq!((&whole.body[..], whole.free), (&b"hello"[..], false), "{head}");
        let whole = read("GET", vec![head.into()], true).await.unwrap();
        assert_eq!((whole.body.len(), whole.free), (0, false), "{head}");
    }
}

#[tokio::test]
async fn an_answer_that_can_be_read_in_two_ways_is_refused() {
    for (bytes, told) in REFUSED {
        let error = read("GET", vec![bytes.as_bytes().to_vec()], false).await.unwrap_err();
        assert!(error.contains(told), "{bytes:?}: {error}");
    }
    for chunks in CHUNKS {
        let bytes = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        for at in [bytes.len() - chunks.len(), bytes.len() - 1] {
            let error = read("GET", cut(bytes.as_bytes(), &[at]), false).await.unwrap_err();
            assert!(error.contains("chunk") || error.contains("no head"), "{chunks:?}: {error}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_whole() {
    for (method, bytes, ..) in ROWS.iter().filter(|row| row.5) {
        for at in 0..bytes.len() {
            for end in [Does::Ends, Does::Resets] {
                let does = [Does::Says(bytes.as_bytes()[..at].to_vec()), end];
                let does = does.into_iter().filter(|does| !matches!(does, Does::Says(bytes) if bytes.is_empty()));
                let answer = exchange(&mut on(Script::new(does)), asked(method)).await;
                assert!(answer.is_err(), "{bytes:?} cut at {at}");
            }
        }
    }
}

#[tokio::test]
async fn heads_and_trailers_have_a_limit() {
    let field = |size: usize| format!("x: {}\r\n", "a".repeat(size));
    let sized = |size: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{}\r\n", field(size));
    let many = |lines: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: 1\r\n".repeat(lines - 1) + "content-length: 0\r\n");
    let trailer = |lines: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{lines}\r\n");
    for good in [sized(60_000), many(256), trailer(&field(60_000)), trailer(&"a: 1\r\n".repeat(256))] {
        let whole = read("GET", vec![good.into_bytes()], false).await.unwrap();
        assert!(whole.free);
    }
    let endless = "HTTP/1.1 200 OK\r\nx: ".to_owned() + &"a".repeat(70_000);
    let extension = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;".to_owned() + &"a".repeat(9_000);
    for bad in [sized(70_000), many(257), endless, trailer(&field(70_000)), trailer(&"a: 1\r\n".repeat(257)), extension] {
        let error = read("GET", vec![bad.into_bytes()], false).await.unwrap_err();
        assert!(error.contains("too large"), "{error}");
    }
}

#[tokio::test]
async fn the_phrase_of_a_status_is_kept_if_it_is_not_the_usual_one() {
    for (line, phrase) in [("200 OK", None), ("200 Fine", Some("Fine")), ("200 ", Some("")), ("777 x", Some("x"))] {
        let mut h1 = on(Script::new([Does::Says(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").into())]));
        let head = h1.send(get()).await.unwrap();
        let kept = head.extensions().get::<hyper::ext::ReasonPhrase>().map(hyper::ext::ReasonPhrase::as_bytes);
        assert_eq!(kept, phrase.map(str::as_bytes), "{line}");
    }
}

#[tokio::test]
async fn a_known_length_is_told_and_the_last_piece_is_known_to_be_the_last() {
    let mut h1 = on(Script::new([Does::Says(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec())]));
    h1.send(get()).await.unwrap();
    assert_eq!((h1.size_hint().exact(), h1.is_end_stream()), (Some(5), false));
    poll_fn(|cx| h1.poll_frame(cx)).await.unwrap().unwrap();
    assert!(h1.is_end_stream() && h1.is_free());

    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    for (end, is_last) in [("\r\n", true), ("", false), ("a: b\r\n\r\n", false)] {
        let mut h1 = on(Script::new([Does::Says(format!("{chunked}{end}").into())]));
        h1.send(get()).await.unwrap();
        assert_eq!((h1.size_hint().exact(), h1.is_end_stream()), (None, false));
        poll_fn(|cx| h1.poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(h1.is_end_stream(), is_last, "{end:?}");
    }
}

#[tokio::test]
async fn a_large_body_is_read_in_large_pieces() {
    let answer = [b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec(), vec![b'x'; 1_000_000]].concat();
    let mut h1 = on(Script::new([Does::Says(answer)]));
    h1.send(get()).await.unwrap();
    let (mut pieces, mut bytes) = (0, 0);
    while let Some(frame) = poll_fn(|cx| h1.poll_frame(cx)).await {
        bytes += frame.unwrap().into_data().unwrap().len();
        pieces += 1;
    }
    assert_eq!(bytes, 1_000_000);
    assert!(pieces < 25, "{pieces}");
}
