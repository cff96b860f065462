//! Serves a listening socket with a site: connections, their number, every time limit, bodies. Knows nothing of what is asked.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::envelope::Answer;
use super::places::{Places, Room, Seat};
use super::query::Query;
use crate::base::drain::{self, Phase};
use crate::base::task;

/// The room of one site. Whoever holds connections and sends nothing, or half a head, keeps nobody out.
const ROOM: Room = Room { waiting: 256, answers: 256, local: 32 };
/// For a request's head; also how long a connection may be idle between two requests.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// For a request's body.
const BODY_TIME: Duration = Duration::from_secs(30);
/// For an answer to be made.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// After this a connection is closed at its next pause, so that nobody holds a place for ever.
const AGE: Duration = Duration::from_secs(600);
/// For what a closing connection is still doing.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of a refused body that are read away, and how long that may take.
const DISCARD: (usize, Duration) = (8 * 1024 * 1024, Duration::from_secs(5));
/// Bytes for a request's head.
const HEAD_BYTES: usize = 32 * 1024;

/// A request without its body.
#[derive(Debug)]
pub(super) struct Head {
    /// The method.
    pub(super) method: Method,
    /// The path, as sent.
    pub(super) path: String,
    /// The arguments.
    pub(super) query: Query,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// Who asks; an IPv4 address is always one.
    pub(super) peer: IpAddr,
}

impl Head {
    /// The parts of the path; empty ones do not count, so a slash at the end is harmless.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }
}

/// What answers requests.
#[async_trait]
pub(super) trait Site: Send + Sync + 'static {
    /// The largest body, in bytes.
    const BODY: usize;

    /// An answer that needs no body: it is given without reading one.
    fn gate(&self, _head: &Head) -> Option<Answer> {
        None
    }

    /// The answer to a request that passed the gate. Dropped when the client goes away or time is up.
    async fn answer(&self, head: &Head, body: Bytes) -> Answer;

    /// Adds what every answer of the site has.
    fn finish(&self, answer: Answer) -> Answer {
        answer
    }
}

/// Serves until the process ends. During a drain it goes on: people want to look, and readiness has to say so.
pub(super) async fn serve<S: Site>(listener: TcpListener, site: Arc<S>, drain: drain::Watch) {
    serve_in(ROOM, listener, site, drain).await;
}

async fn serve_in<S: Site>(room: Room, listener: TcpListener, site: Arc<S>, mut drain: drain::Watch) {
    let places = Places::new(room);
    loop {
        let next = tokio::select! {
            () = drain.reached(Phase::Ending) => return,
            next = accept(&listener) => next,
        };
        if let Some((stream, peer)) = next {
            task::spawn(connection(stream, peer, site.clone(), drain.clone(), places.enter(peer.is_loopback())));
            // those that have come may read what was sent to them before more take their places
            yield_now().await;
        }
    }
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, IpAddr)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            // without it answers are merely slower
            let _ = stream.set_nodelay(true);
            Some((stream, peer.ip().to_canonical()))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept");
            // out of descriptors, most likely: asking again at once would only burn the core
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn connection<S, I>(stream: I, peer: IpAddr, site: Arc<S>, mut drain: drain::Watch, seat: Seat)
where
    S: Site,
    I: AsyncRead + AsyncWrite + Unpin,
{
    let seat = &seat;
    let service = service_fn(move |request| respond(site.clone(), peer, request, seat));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_BYTES);
    let mut running = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // how a client's connection ended concerns nobody
        _ = running.as_mut() => return,
        () = seat.sent_away() => return,
        () = sleep(AGE) => {}
        () = drain.reached(Phase::Ending) => {}
    }
    running.as_mut().graceful_shutdown();
    tokio::select! {
        _ = timeout(GRACE, running) => {}
        () = seat.sent_away() => {}
    }
}

async fn respond<S: Site>(
    site: Arc<S>,
    peer: IpAddr,
    request: Request<Incoming>,
    seat: &Seat,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let head = Head {
        path: parts.uri.path().to_owned(),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        method: parts.method,
        headers: parts.headers,
        peer,
    };
    let answer = match site.gate(&head) {
        Some(refusal) => {
            discard(&head, body).await;
            refusal
        }
        None => seat.answer(answer(&*site, &head, body)).await,
    };
    let answer = site.finish(answer);
    tracing::debug!(%peer, method = %head.method, path = head.path, status = answer.status().as_u16(), "answered");
    Ok(answer.into_response())
}

async fn answer<S: Site>(site: &S, head: &Head, body: Incoming) -> Answer {
    let told = body.size_hint().lower();
    if usize::try_from(told).is_ok_and(|told| told > S::BODY) {
        discard(head, body).await;
        return Answer::bad(format!("invalid request body: request size {told} is greater than the maximum size {} allowed", S::BODY));
    }
    let body = match timeout(BODY_TIME, read(body, S::BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(problem)) => return Answer::bad(format!("invalid request body: {problem}")),
        Err(_) => return Answer::bad("invalid request body: it did not arrive in time"),
    };
    match timeout(ANSWER_TIME, site.answer(head, body)).await {
        Ok(answer) => answer,
        Err(_) => Answer::error(StatusCode::SERVICE_UNAVAILABLE, "no answer in time; a write may or may not have happened"),
    }
}

async fn read(body: Incoming, limit: usize) -> Result<Bytes, String> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(format!("request size is greater than the maximum size {limit} allowed")),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a body away that nobody wants: closing with unread bytes would reset the connection, and the answer could get lost with
/// it. Who waits for leave to send one (`Expect`) has not sent any.
async fn discard(head: &Head, body: Incoming) {
    if head.headers.contains_key(header::EXPECT) {
        return;
    }
    let (limit, time) = DISCARD;
    let all = async {
        let mut body = body;
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > limit {
                break;
            }
        }
    };
    // what is left after this is the client's own fault
    let _ = timeout(time, all).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Echo;

    #[async_trait]
    impl Site for Echo {
        const BODY: usize = 8;

        fn gate(&self, head: &Head) -> Option<Answer> {
            (head.path == "/closed").then(|| Answer::error(StatusCode::FORBIDDEN, "closed"))
        }

        async fn answer(&self, head: &Head, body: Bytes) -> Answer {
            if head.path == "/never" {
                std::future::pending::<()>().await;
            }
            Answer::ok(&serde_json::json!({ "path": head.segments(), "body": String::from_utf8_lossy(&body), "peer": head.peer }))
        }
    }

    struct Running {
        addr: std::net::SocketAddr,
        trigger: drain::Trigger,
        server: tokio::task::JoinHandle<()>,
    }

    async fn start() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (trigger, watch) = drain::drain();
        Running { addr, trigger, server: task::spawn(serve(listener, Arc::new(Echo), watch)) }
    }

    /// Sends bytes and reads until the server closes.
    async fn talk(addr: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_request_gets_its_answer() {
        let running = start().await;
        let text = talk(running.addr, "PUT /a//b/?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with(r#"{"path":["a","b"],"body":"hi","peer":"127.0.0.1"}"#), "{text}");
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused_with_or_without_a_length() {
        let running = start().await;
        let text = talk(running.addr, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nConnection: close\r\n\r\n123456789").await;
        assert!(text.contains("400 Bad Request"), "{text}");
        assert!(text.contains("invalid request body: request size 9 is greater than the maximum size 8 allowed"), "{text}");
        let chunked =
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n12345\r\n5\r\n12345\r\n0\r\n\r\n";
        let text = talk(running.addr, chunked).await;
        assert!(text.contains("invalid request body: request size is greater than the maximum size 8 allowed"), "{text}");
    }

    #[tokio::test]
    async fn a_refusal_is_read_by_a_client_that_sends_its_whole_body_first() {
        let running = start().await;
        let body = "x".repeat(4 * 1024 * 1024);
        for (path, status) in [("/closed", "403"), ("/", "400")] {
            let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let text = talk(running.addr, &(head + &body)).await;
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_does_not_wait_for_ever_for_a_body() {
        for expect in ["", "Expect: 100-continue\r\n"] {
            let text = talk_still(&format!("PUT /closed HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: 5\r\n\r\n")).await;
            assert!(text.starts_with("HTTP/1.1 403 "), "{text}");
        }
    }

    #[tokio::test]
    async fn nonsense_closes_the_connection_and_the_next_one_is_served() {
        let running = start().await;
        assert!(talk(running.addr, "\u{1}\u{2}\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        assert!(talk(running.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.contains(" 200 OK"));
    }

    /// What a client without a network reads until it is closed. No socket is involved, so paused time moves only when all is still.
    async fn talk_still(request: &str) -> String {
        let (mut client, server) = tokio::io::duplex(4096);
        let (_trigger, watch) = drain::drain();
        task::spawn(connection(server, [127, 0, 0, 1].into(), Arc::new(Echo), watch, Places::new(ROOM).enter(true)));
        client.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_is_a_503() {
        let text = talk_still("GET /never HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_a_400() {
        let text = talk_still("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").await;
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("it did not arrive in time"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_and_a_dripping_client_are_closed() {
        for request in ["", "GET / HTT", "GET / HTTP/1.1\r\nHost: a\r\n"] {
            let text = talk_still(request).await;
            assert!(!text.contains("200 OK"), "{text}");
        }
        let idle = talk_still("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(idle.starts_with("HTTP/1.1 200 OK"), "{idle}");
    }

    #[tokio::test]
    async fn heads_that_never_end_and_idle_connections_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (_trigger, watch) = drain::drain();
        task::spawn(serve_in(Room { waiting: 4, answers: 1, local: 1 }, listener, Arc::new(Echo), watch));
        let mut held = Vec::new();
        for head in ["GET / HTTP/1.1\r\nHost: a\r\n", "GET /", ""].iter().cycle().take(30) {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            held.push(stream);
        }
        let asking = talk(addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let text = timeout(Duration::from_secs(10), asking).await.unwrap();
        assert!(text.contains(" 200 OK"), "{text}");
    }

    #[tokio::test]
    async fn a_drain_goes_on_answering_and_the_end_closes() {
        let running = start().await;
        let mut idle = TcpStream::connect(running.addr).await.unwrap();
        running.trigger.advance(Phase::Draining);
        assert!(talk(running.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.contains(" 200 OK"));
        running.trigger.advance(Phase::Ending);
        running.server.await.unwrap();
        assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
    }
}
