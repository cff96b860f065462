//! HTTP/2 on both sides, between real programs: curl, h2load and gRPC for Python; and a client and a server of hyper, where bytes or
//! headers matter that those do not show.

mod resets;

use std::convert::Infallible;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::gateway::upstream;
use crate::support::poll::{soon, until};
use crate::support::{Conf, Gateway, client, ports, python, upstream as servers};

type Body = BoxBody<Bytes, Infallible>;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway with an http listener and a route for all requests.
fn gateway(nodes: &Value, more: &Value) -> (Gateway, SocketAddr) {
    let gateway = Gateway::start(Conf::new());
    let addr = listen(&gateway, "web", &json!({}));
    let mut route = json!({"upstream": nodes});
    for (key, value) in more.as_object().unwrap() {
        route[key] = value.clone();
    }
    gateway.put_live("routes", "all", &route);
    (gateway, addr)
}

fn listen(gateway: &Gateway, id: &str, http: &Value) -> SocketAddr {
    let addr = ports::free_addr();
    gateway.put_live("listeners", id, &json!({"protocol": "http", "addr": addr.to_string(), "http": http}));
    soon("the listener accepts", || TcpStream::connect(addr).is_ok());
    addr
}

fn h2c(nodes: &[&str]) -> Value {
    let mut one = upstream(nodes);
    one["scheme"] = json!("h2c");
    one
}

fn curl(args: &[&str]) -> String {
    let output = Command::new("curl").args(["--silent", "--show-error", "--max-time", "20"]).args(args).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A node of HTTP/1.1 that answers each request with its head.
fn mirror() -> servers::Server {
    servers::Server::start(ports::free_addr(), |stream, _| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        loop {
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let before = head.len();
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
                let line = head[before..].trim().to_ascii_lowercase();
                if let Some(text) = line.strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let answer = [head.as_bytes(), &body].concat();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: keep-alive\r\nKeep-Alive: x\r\n\r\n", answer.len());
            if stream.write_all(&[head.as_bytes(), &answer].concat()).is_err() {
                return;
            }
        }
    })
}

/// A node of HTTP/2 in a thread of its own.
struct Node {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Node {
    fn start<F, R>(port: u16, streams: u32, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::AcqRel);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let answer = answer(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    // a connection that ends is what some tests are about
                    let _ = builder.max_concurrent_streams(streams).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { addr, connections, runtime: Some(runtime) }
    }

    fn node(&self) -> String {
        self.addr.to_string()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// The head of a request as text.
fn shown(request: &Request<Incoming>) -> String {
    let mut lines: Vec<String> = request.headers().iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes()))).collect();
    lines.sort();
    format!("{} {} {:?}\n{}\n", request.method(), request.uri(), request.version(), lines.join("\n"))
}

fn text(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

fn in_time<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
}

async fn connect(to: SocketAddr) -> SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let (sender, conn) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(conn);
    sender
}

fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://in.example{path}")).body(Empty::new().boxed()).unwrap()
}

#[test]
fn a_listener_speaks_the_versions_that_it_names() {
    let node = mirror();
    let (gateway, both) = gateway(&upstream(&[&node.node()]), &json!({}));
    let only = |id: &str, version: &str| listen(&gateway, id, &json!({"versions": [version]}));
    let (one, two) = (only("one", "h1"), only("two", "h2"));
    let ask = |addr: SocketAddr, how: &str| curl(&[how, "--write-out", "\n%{http_version} %{http_code}", &format!("http://{addr}/x")]);
    for (addr, h1, h2) in [(both, true, true), (one, true, false), (two, false, true)] {
        assert_eq!(ask(addr, "--http1.1").ends_with("\n1.1 200"), h1, "{addr} by HTTP/1.1");
        assert_eq!(ask(addr, "--http2-prior-knowledge").ends_with("\n2 200"), h2, "{addr} by HTTP/2");
    }
    assert!(!gateway.admin().put("listeners", "three", &json!({"protocol": "http", "addr": 1, "http": {"versions": ["h3"]}})).ok());
}

#[test]
fn a_preface_in_pieces_is_one_and_half_a_request_is_none() {
    let node = mirror();
    let (_gateway, addr) = gateway(&upstream(&[&node.node()]), &json!({}));
    let mut stream = client::connect(addr);
    for piece in [&b"PRI * HT"[..], b"TP/2.0\r\n\r\nSM\r", b"\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        stream.write_all(piece).unwrap();
        std::thread::yield_now();
    }
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "SETTINGS come first: {frame:?}");
    let mut stream = client::connect(addr);
    stream.write_all(b"PRI / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let (answer, _) = client::read_all(&mut stream);
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn clients_of_http_2_reach_nodes_of_http_1() {
    let node = mirror();
    let (gateway, addr) = gateway(&upstream(&[&node.node()]), &json!({"transforms": [{"RequestHeaderOriginalHost": "true"}]}));
    let seen = curl(&[
        "--http2-prior-knowledge",
        "--include",
        "--header",
        "Host: in.example",
        "--header",
        "Cookie: a=1",
        "--header",
        "Cookie: b=2",
        "--header",
        "TE: trailers",
        "--data",
        "body",
        &format!("http://{addr}/p?q=1"),
    ]);
    let lower = seen.to_ascii_lowercase();
    for line in
        ["http/2 200", "post /p?q=1 http/1.1\r\n", "host: in.example\r\n", "cookie: a=1; b=2\r\n", "content-length: 4\r\n", "\r\n\r\nbody"]
    {
        assert!(lower.contains(line), "{line} in\n{seen}");
    }
    for line in ["keep-alive", ":authority"] {
        assert!(!lower.contains(line), "{line} in\n{seen}");
    }
    soon("the line of the request is there", || gateway.access_log().iter().any(|line| line["http_version"] == "HTTP/2"));
    let load = Command::new("h2load").args(["-n", "500", "-c", "2", "-m", "40", &format!("http://{addr}/")]).output().unwrap();
    let said = String::from_utf8_lossy(&load.stdout);
    assert!(said.contains("500 succeeded, 0 failed"), "{said}");
}

#[test]
fn clients_of_http_1_reach_nodes_of_http_2_on_shared_connections() {
    let node = Node::start(0, 100, |request| async move {
        let head = shown(&request);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(text([head.as_bytes(), &body].concat()))
    });
    let (_gateway, addr) = gateway(&h2c(&[&node.node()]), &json!({}));
    let url = format!("http://{addr}/p?q=1");
    let seen = curl(&[
        "--http1.1",
        "--header",
        "Connection: x-gone",
        "--header",
        "X-Gone: 1",
        "--header",
        "Expect: 100-continue",
        "--data",
        "body",
        &url,
    ]);
    assert!(seen.starts_with(&format!("POST http://{}/p?q=1 HTTP/2.0\n", node.addr)), "{seen}");
    assert!(seen.ends_with("body") && seen.contains("content-length: 4\n") && seen.contains("x-forwarded-for: 127.0.0.1\n"), "{seen}");
    for line in ["x-gone", "connection", "host: ", "expect"] {
        assert!(!seen.replace("x-forwarded-host: ", "").contains(line), "{line} in\n{seen}");
    }
    let load = Command::new("h2load").args(["--h1", "-n", "400", "-c", "20", &format!("http://{addr}/")]).output().unwrap();
    let said = String::from_utf8_lossy(&load.stdout);
    assert!(said.contains("400 succeeded, 0 failed"), "{said}");
    let workers = std::thread::available_parallelism().unwrap().get();
    assert!(node.connections() <= workers, "{} connections for {workers} workers", node.connections());
}

#[test]
fn a_further_connection_is_opened_when_the_streams_of_one_are_full() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (runs, seen) = (running.clone(), most.clone());
    let node = Node::start(0, 2, move |_| {
        let (runs, seen) = (runs.clone(), seen.clone());
        async move {
            let now = runs.fetch_add(1, Ordering::AcqRel) + 1;
            seen.fetch_max(now, Ordering::AcqRel);
            while seen.load(Ordering::Acquire) < 6 {
                tokio::task::yield_now().await;
            }
            Response::new(text("ok"))
        }
    });
    let (_gateway, addr) = gateway(&h2c(&[&node.node()]), &json!({}));
    in_time(async {
        let sender = connect(addr).await;
        let mut answers = Vec::new();
        for _ in 0..6 {
            let mut sender = sender.clone();
            answers.push(tokio::spawn(async move { sender.send_request(get("/")).await.unwrap().status() }));
        }
        for answer in answers {
            assert_eq!(answer.await.unwrap(), 200);
        }
    });
    assert_eq!((most.load(Ordering::Acquire), node.connections()), (6, 3));
    drop(running);
}

#[test]
fn a_connection_that_died_is_replaced() {
    let port = ports::free();
    let answer = |_| async { Response::new(text("ok")) };
    let node = Node::start(port, 100, answer);
    let (_gateway, addr) = gateway(&h2c(&[&node.node()]), &json!({}));
    let ask = || curl(&["--http2-prior-knowledge", &format!("http://{addr}/")]);
    assert_eq!(ask(), "ok");
    drop(node);
    let node = Node::start(port, 100, answer);
    soon("requests are answered again", || ask() == "ok");
    assert!(node.connections() >= 1);
}

fn greeter() -> (python::Server, String) {
    python::serve("http2/greeter.py", &["0"])
}

fn caller(addr: SocketAddr, args: &[&str]) -> Value {
    let addr = addr.to_string();
    python::ask("http2/caller.py", &[&[addr.as_str()], args].concat())
}

#[test]
fn grpc_goes_both_ways_with_its_trailers() {
    let (_server, node) = greeter();
    let mut nodes = upstream(&[&node]);
    nodes["scheme"] = json!("grpc");
    let (_gateway, addr) = gateway(&nodes, &json!({}));
    let saw = caller(addr, &["chat"]);
    assert_eq!(saw["unary"], json!({"answer": "hello world", "code": "OK", "trailers": {"x-trail": "w1"}}));
    assert_eq!(saw["fail"], json!({"code": "FAILED_PRECONDITION", "details": "as asked"}));
    let answers = ["re: m0", "re: m1", "re: m2", "re: m3", "re: m4"];
    assert_eq!(saw["chat"], json!({"answers": answers, "code": "OK", "trailers": {"x-trail": "chat"}}));
    assert_eq!(saw["many"], 200);
}

#[test]
fn what_the_gateway_answers_itself_has_a_status_of_grpc() {
    let silent = servers::Server::start(ports::free_addr(), |mut stream, _| {
        // it reads, and never says a word of HTTP/2
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let dead = ports::free_addr().to_string();
    let scheme = |node: &str| {
        let mut one = upstream(&[node]);
        one["scheme"] = json!("grpc");
        one
    };
    let (gateway, addr) = gateway(&scheme(&dead), &json!({}));
    assert_eq!(caller(addr, &[])["unary"], json!({"code": "UNAVAILABLE", "details": "upstream_refused"}));
    gateway.put_live("settings", "global", &json!({"connect_timeout": 1}));
    gateway.put_live("routes", "all", &json!({"upstream": scheme(&silent.node())}));
    assert_eq!(caller(addr, &[])["unary"], json!({"code": "DEADLINE_EXCEEDED", "details": "upstream_timeout"}));
    gateway.put_live("routes", "all", &json!({"match": {"paths": ["/other"]}, "upstream": scheme(&dead)}));
    assert_eq!(caller(addr, &[])["unary"], json!({"code": "UNIMPLEMENTED", "details": "no_route"}));
    assert!(curl(&["--http2-prior-knowledge", "--include", &format!("http://{addr}/")]).starts_with("HTTP/2 404"));
}

#[test]
fn trailers_go_both_ways_and_a_route_may_set_some() {
    let node = Node::start(0, 100, |request| async move {
        let whole = request.into_body().collect().await.unwrap();
        let sent = whole.trailers().and_then(|t| t.get("x-sent")).cloned();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-back", sent.unwrap_or_else(|| "none".parse().unwrap()));
        Response::new(text("body").with_trailers(async move { Some(Ok(trailers)) }).boxed())
    });
    let (gateway, addr) = gateway(&h2c(&[&node.node()]), &json!({"transforms": [{"ResponseTrailer": "tr", "Set": "v"}]}));
    let ask = || {
        in_time(async {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sent", "yes".parse().unwrap());
            let body = text("up").with_trailers(async move { Some(Ok(trailers)) }).boxed();
            let request = Request::post("http://in.example/").body(body).unwrap();
            let answer = connect(addr).await.send_request(request).await.unwrap();
            let whole = answer.into_body().collect().await.unwrap();
            let trailers = whole.trailers().cloned().unwrap_or_default();
            let shown = |name: &str| trailers.get(name).map(|v| v.to_str().unwrap().to_owned());
            (shown("x-back"), shown("tr"), whole.to_bytes())
        })
    };
    assert_eq!(ask(), (Some("yes".into()), Some("v".into()), Bytes::from_static(b"body")));
    let plain = mirror();
    gateway.put_live(
        "routes",
        "all",
        &json!({"upstream": upstream(&[&plain.node()]), "transforms": [{"ResponseTrailer": "tr", "Set": "v"}]}),
    );
    let (back, set) = in_time(async {
        let answer = connect(addr).await.send_request(get("/")).await.unwrap();
        let whole = answer.into_body().collect().await.unwrap();
        let trailers = whole.trailers().cloned().unwrap_or_default();
        (trailers.contains_key("x-back"), trailers.get("tr").cloned())
    });
    assert_eq!((back, set.as_ref().map(HeaderValue::as_bytes)), (false, Some(&b"v"[..])), "a node of HTTP/1.1 sent none");
}

/// A node of web sockets: answers the handshake, with a wrong word if asked to, and then echoes bytes.
fn websocket_node(right: bool) -> servers::Server {
    servers::Server::start(ports::free_addr(), move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        let (key, version) = (field("sec-websocket-key:"), field("sec-websocket-version:"));
        if !head.starts_with("GET /chat HTTP/1.1\r\n") || version != "13" {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
            return;
        }
        let sha1 = Command::new("sh")
            .args(["-c", &format!("printf %s '{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11' | openssl dgst -sha1 -binary | base64")])
            .output()
            .unwrap();
        let accept = if right { String::from_utf8(sha1.stdout).unwrap() } else { "bm9uc2Vuc2U=".into() };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: chat\r\n\r\nearly",
            accept.trim()
        );
        stream.write_all(answer.as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            stream.write_all(&buffer[..n]).unwrap();
        }
    })
}

fn extended(protocol: Option<&'static str>, path: &str) -> Request<Body> {
    let mut request = Request::connect(format!("http://in.example{path}")).body(Empty::new().boxed()).unwrap();
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(hyper::ext::Protocol::from_static(protocol));
    }
    request
}

#[test]
fn a_websocket_of_http_2_reaches_a_node_of_http_1() {
    let node = websocket_node(true);
    let (gateway, addr) = gateway(&upstream(&[&node.node()]), &json!({}));
    in_time(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut sender = connect(addr).await;
        // the gateway's SETTINGS have to be there before the protocol may be used
        assert_eq!(sender.send_request(get("/other")).await.unwrap().status(), 400);
        let answer = sender.send_request(extended(Some("websocket"), "/chat")).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["sec-websocket-protocol"].to_str().unwrap()), (200, "chat"));
        assert!(!answer.headers().contains_key("sec-websocket-accept"));
        let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        stream.write_all(b" and ping").await.unwrap();
        let mut back = [0; 14];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"early and ping");
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut back).await.unwrap(), 0, "the end goes both ways");
        for (protocol, path, status) in [(Some("connect-udp"), "/chat", 501), (Some("websocket"), "/other", 400)] {
            assert_eq!(sender.send_request(extended(protocol, path)).await.unwrap().status(), status, "{protocol:?} {path}");
        }
    });
    soon("the session of the socket is told", || {
        gateway.access_log().iter().any(|line| line["path"] == "/chat" && line["rx_bytes"] == 9 && line["tx_bytes"] == 14)
    });
}

#[test]
fn a_node_that_does_not_know_websockets_is_a_bad_gateway() {
    let node = websocket_node(false);
    let (_gateway, addr) = gateway(&upstream(&[&node.node()]), &json!({}));
    in_time(async {
        let mut sender = connect(addr).await;
        sender.send_request(get("/other")).await.unwrap();
        assert_eq!(sender.send_request(extended(Some("websocket"), "/chat")).await.unwrap().status(), 502);
    });
}

#[test]
fn a_drain_lets_requests_finish_and_takes_no_more() {
    let (reached, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (reaches, released) = (reached.clone(), release.clone());
    let node = Node::start(0, 100, move |_| {
        let (reached, released) = (reaches.clone(), released.clone());
        async move {
            reached.fetch_add(1, Ordering::AcqRel);
            while released.load(Ordering::Acquire) == 0 {
                tokio::task::yield_now().await;
            }
            Response::new(text("late"))
        }
    });
    let (mut gateway, addr) = gateway(&h2c(&[&node.node()]), &json!({}));
    let asking = std::thread::spawn(move || curl(&["--http2-prior-knowledge", &format!("http://{addr}/")]));
    soon("the request is on its way", || reached.load(Ordering::Acquire) == 1);
    gateway.signal(Signal::TERM);
    soon("nobody is accepted any more", || client::refused(addr));
    release.store(1, Ordering::Release);
    assert_eq!(asking.join().unwrap(), "late");
    assert!(gateway.wait_exit(PATIENCE).success());
    until(PATIENCE, "the connection to the node ends", || (node.connections() == 1).then_some(()));
}
