//! Literal bytes of nodes in every cut, literal bytes of requests, and what becomes of the connection.

mod answers;
mod requests;
mod reuse;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

use super::{Broken, H1};
use crate::base::task;
use crate::upstream::http::kind::Kind;
use crate::upstream::http::{Error, Outgoing};

/// What a node does next.
#[derive(Clone, Debug)]
enum Does {
    /// Sends this, to be read in one go.
    Says(Vec<u8>),
    /// Nothing, until so many bytes were written to it.
    Hears(usize),
    /// Ends the connection.
    Ends,
    /// Resets it.
    Resets,
}

/// A connection to a node that does one thing after another, and then nothing.
#[derive(Debug)]
struct Script {
    does: VecDeque<Does>,
    written: Vec<u8>,
    /// The most that it takes in one go.
    takes: usize,
    /// How much it takes until writing fails.
    until: usize,
    /// The next poll finds nothing: each piece is a poll of its own.
    pause: bool,
}

impl Script {
    fn new(does: impl IntoIterator<Item = Does>) -> Self {
        Self { does: does.into_iter().collect(), written: Vec::new(), takes: usize::MAX, until: usize::MAX, pause: true }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written).into_owned()
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.pause = !self.pause;
        if !self.pause && !self.does.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(does) = self.does.pop_front() else { return Poll::Pending };
        match does {
            Does::Says(mut bytes) => {
                let rest = bytes.split_off(bytes.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                if !rest.is_empty() {
                    self.does.push_front(Does::Says(rest));
                }
            }
            Does::Hears(bytes) => {
                if self.written.len() < bytes {
                    self.does.push_front(Does::Hears(bytes));
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Does::Ends => self.does.push_front(Does::Ends),
            Does::Resets => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let taken = buf.len().min(self.takes).min(self.until - self.written.len());
        if taken == 0 && !buf.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.written.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A whole answer.
#[derive(Debug, PartialEq)]
struct Whole {
    status: u16,
    fields: Vec<String>,
    body: Vec<u8>,
    trailers: Vec<String>,
    free: bool,
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))).collect()
}

/// Sends a request and reads its answer to the end. Of an error its text.
async fn exchange(h1: &mut H1<Script>, request: Request<Outgoing>) -> Result<Whole, String> {
    let (head, ()) = h1.send(request).await.map_err(|e| e.to_string())?.into_parts();
    let (mut body, mut trailers) = (Vec::new(), Vec::new());
    while let Some(frame) = poll_fn(|cx| h1.poll_frame(cx)).await {
        match frame.map_err(|e: Error| e.to_string())?.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = lines(frame.trailers_ref().unwrap()),
        }
    }
    assert!(h1.is_end_stream());
    assert_eq!(h1.size_hint().exact(), Some(0));
    Ok(Whole { status: head.status.as_u16(), fields: lines(&head.headers), body, trailers, free: h1.is_free() })
}

fn on(script: Script) -> H1<Script> {
    H1::new(script, Kind::default())
}

fn get() -> Request<Outgoing> {
    Request::builder().uri("/").header("host", "a").body(Outgoing::none()).unwrap()
}

/// A client's request, whose body is sent by and by.
struct Client {
    io: DuplexStream,
    body: Option<Incoming>,
}

impl Client {
    /// One that has sent this much.
    async fn begin(bytes: &str) -> Self {
        let (mut io, server) = tokio::io::duplex(1 << 20);
        io.write_all(bytes.as_bytes()).await.unwrap();
        let (told, mut bodies) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            told.send(request.into_body()).unwrap();
            std::future::pending::<Result<Response<String>, Infallible>>()
        });
        drop(task::spawn(async move { drop(http1::Builder::new().serve_connection(TokioIo::new(server), service).await) }));
        Self { io, body: bodies.recv().await }
    }

    fn body(&mut self) -> Outgoing {
        Outgoing::client(self.body.take().unwrap(), None, false, None)
    }

    fn held(&mut self) -> Outgoing {
        Outgoing::client(self.body.take().unwrap(), None, true, None)
    }
}

fn post(body: Outgoing) -> Request<Outgoing> {
    Request::builder().method("POST").uri("/p").header("host", "a").body(body).unwrap()
}

fn whole(text: &'static str) -> Outgoing {
    Outgoing::whole(Bytes::from_static(text.as_bytes()))
}
