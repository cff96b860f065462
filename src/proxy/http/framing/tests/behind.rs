//! The real parser behind the watcher: what reaches the handler, and what is answered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::{PARSER_HEAD, watch};
use super::*;

/// A stream that says these pieces, one a read, and then ends, and that keeps what is written.
struct Script {
    pieces: VecDeque<Vec<u8>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.pieces.pop_front() {
            let later = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !later.is_empty() {
                self.pieces.push_front(later);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request as the handler saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: usize,
    /// What came of the body, and whether it came to its end.
    pub(super) body: Vec<u8>,
    pub(super) whole: bool,
}

/// What the handler made of a call.
pub(super) type Call = Result<Seen, Fault>;

/// Serves a client that sends these pieces: the calls of the handler, and the statuses that were answered.
pub(super) fn served(pieces: Vec<Vec<u8>>) -> (Vec<Call>, Vec<u16>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::new(Mutex::new(Vec::new()));
    let (stream, watch) = watch(Script { pieces: pieces.into(), written: written.clone() });
    let service = service_fn(|request: Request<Incoming>| {
        let (calls, verdict) = (calls.clone(), watch.verdict());
        async move {
            let mut response = Response::new(Empty::<Bytes>::new());
            match verdict {
                Ok(()) => {
                    let seen = seen(request).await;
                    calls.lock().unwrap().push(Ok(seen));
                }
                Err(fault) => {
                    *response.status_mut() = fault.status();
                    response.headers_mut().insert(CONNECTION, "close".parse().unwrap());
                    calls.lock().unwrap().push(Err(fault));
                }
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.half_close(true).max_header_size(PARSER_HEAD);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // how it ends is seen by what was written
    let _ = runtime.block_on(builder.serve_connection(TokioIo::new(stream), service));
    let statuses = statuses(&written.lock().unwrap());
    (Arc::into_inner(calls).unwrap().into_inner().unwrap(), statuses)
}

async fn seen(request: Request<Incoming>) -> Seen {
    let (head, mut body) = request.into_parts();
    let mut seen =
        Seen { method: head.method.to_string(), target: head.uri.to_string(), fields: head.headers.len(), body: Vec::new(), whole: true };
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => seen.body.extend(frame.into_data().unwrap_or_default()),
            Err(_) => seen.whole = false,
        }
    }
    seen
}

fn statuses(written: &[u8]) -> Vec<u16> {
    let text = String::from_utf8(written.to_vec()).unwrap();
    let lines = text.split("\r\n").filter_map(|line| line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")));
    lines.map(|line| line[..3].parse().unwrap()).filter(|status| *status != 100).collect()
}

/// The bytes whole, byte by byte, and cut in two at every place.
fn cuts(bytes: &str) -> Vec<Vec<Vec<u8>>> {
    let bytes = bytes.as_bytes();
    let mut all = vec![vec![bytes.to_vec()], bytes.chunks(1).map(<[u8]>::to_vec).collect()];
    all.extend((1..bytes.len()).map(|at| vec![bytes[..at].to_vec(), bytes[at..].to_vec()]));
    all
}

#[test]
fn a_refused_head_is_answered_in_its_turn_whatever_the_cut() {
    let fine = "GET /fine HTTP/1.1\r\nHost: a\r\n\r\n";
    for (head, status) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nG", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        for pieces in cuts(&format!("{fine}{head}")) {
            let (calls, statuses) = served(pieces.clone());
            assert_eq!(statuses, [200, status], "{pieces:?}");
            assert!(calls.len() <= 2 && calls[1..].iter().all(Result::is_err), "{pieces:?}: {calls:?}");
        }
    }
}

#[test]
fn a_refused_head_that_comes_whole_has_the_status_of_its_rule() {
    let answered = |bytes: &str| served(vec![bytes.as_bytes().to_vec()]).1;
    assert_eq!(answered("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), [505]);
    assert_eq!(answered("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"), [400]);
    assert_eq!(answered("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), [501]);
    assert_eq!(answered(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000))), [414]);
    assert_eq!(answered(&format!("GET /{}", "a".repeat(9000))), [414]);
    assert_eq!(answered(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200))), [431]);
    assert_eq!(answered(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(70_000))), [431]);
    assert_eq!(answered("\n\n\n"), [400]);
}

#[test]
fn a_body_that_breaks_never_comes_to_its_end() {
    for body in ["3 \r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\nHost: a\r\n\r\n", "3\r\nabc\r\n0;\r\n\r\n", "3\r\nabc\r\n0\r\n\n"] {
        for pieces in cuts(&format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")) {
            let (calls, _) = served(pieces);
            let [Ok(seen)] = &calls[..] else { panic!("{calls:?}") };
            assert!(!seen.whole, "{seen:?}");
        }
    }
}

#[test]
fn bytes_before_the_switch_stand_against_it() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let switched = |early: &[u8]| {
        let pieces = VecDeque::from([[&request[..], early].concat()]);
        let (mut stream, watch) = watch(Script { pieces, written: Arc::default() });
        let mut space = [0; 1000];
        let mut buf = ReadBuf::new(&mut space);
        assert!(Pin::new(&mut stream).poll_read(&mut Context::from_waker(std::task::Waker::noop()), &mut buf).is_ready());
        assert_eq!(watch.verdict(), Ok(()));
        watch.switch()
    };
    assert_eq!(switched(b""), Ok(()));
    for early in [&b"\x81\x05hello"[..], b"\r\n", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0\n"] {
        assert_eq!(switched(early), Err(Fault::EarlyBytes), "{early:?}");
    }
}
