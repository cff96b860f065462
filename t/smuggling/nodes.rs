//! Nodes that tell which requests they saw: nginx, hyper and Python. Each marks its answers, so that they can be told from the
//! gateway's own.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::support::{poll, ports};

/// What a node writes for each whole request: `method target body`.
const PYTHON: &str = r#"
import http.server, sys
class Node(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        all = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            all += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return all
    def any(self):
        try:
            body = self.body()
        except ValueError:
            self.close_connection = True
            return
        with open(sys.argv[2], "ab") as log:
            log.write(f"{self.command} {self.path} ".encode("latin-1") + body + b"\n")
        self.send_response(200)
        self.send_header("X-Node", "python")
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_GET = do_POST = any
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Node).serve_forever()
"#;

/// A node that runs until it is dropped.
pub struct Node {
    pub name: &'static str,
    pub addr: SocketAddr,
    log: Log,
    child: Option<Child>,
    _runtime: Option<tokio::runtime::Runtime>,
}

enum Log {
    File(PathBuf),
    Memory(Arc<Mutex<String>>),
}

impl Node {
    /// All that it saw, a line a request.
    pub fn seen(&self) -> Vec<String> {
        let text = match &self.log {
            Log::File(path) => std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default(),
            Log::Memory(text) => text.lock().unwrap().clone(),
        };
        text.lines().map(ToOwned::to_owned).collect()
    }

    pub fn python(dir: &Path) -> Self {
        let (addr, log) = (ports::free_addr(), dir.join("python.log"));
        let args = ["-c", PYTHON, &addr.port().to_string(), log.to_str().unwrap()].map(ToOwned::to_owned);
        Self::child("python", addr, log, Command::new("python3").args(args))
    }

    /// Logs what it has read whole: the answer comes from a second server, to which it hands bodies after their end.
    pub fn nginx(dir: &Path) -> Self {
        let (addr, inner, log) = (ports::free_addr(), ports::free_addr(), dir.join("nginx.log"));
        let at = dir.display();
        let conf = format!(
            "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/nginx-errors.log;
             events {{ worker_connections 1000; }}
             http {{
               log_format seen escape=none '$request_method $request_uri $request_body';
               map $status $whole {{ 200 1; default 0; }}
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
               client_body_in_single_buffer on;
               server {{ listen {addr}; access_log {log} seen if=$whole;
                 location / {{ add_header X-Node nginx always; proxy_pass http://{inner}; }} }}
               server {{ listen {inner}; access_log off; location / {{ return 200; }} }}
             }}",
            log = log.display(),
        );
        let file = dir.join("nginx.conf");
        std::fs::write(&file, conf).unwrap();
        Self::child("nginx", addr, log, Command::new("nginx").args(["-e", "stderr", "-p"]).arg(dir).arg("-c").arg(file))
    }

    fn child(name: &'static str, addr: SocketAddr, log: PathBuf, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap_or_else(|e| panic!("{name} (make setup-test): {e}"));
        poll::soon("the node listens", || TcpStream::connect(addr).is_ok());
        Self { name, addr, log: Log::File(log), child: Some(child), _runtime: None }
    }

    pub fn hyper() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (addr, log) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(String::new())));
        let seen = log.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                let service = service_fn(move |request| note(request, seen.clone()));
                tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await });
            }
        });
        Self { name: "hyper", addr, log: Log::Memory(log), child: None, _runtime: Some(runtime) }
    }
}

async fn note(request: Request<Incoming>, log: Arc<Mutex<String>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Full::default());
    response.headers_mut().insert("x-node", "hyper".parse().unwrap());
    match body.collect().await {
        Ok(body) => {
            writeln!(log.lock().unwrap(), "{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body.to_bytes())).unwrap();
        }
        Err(_) => *response.status_mut() = hyper::StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // it may have ended already
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
