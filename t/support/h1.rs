//! HTTP/1.1 byte by byte, for both ends of a test: a client that sends what it is told, and an origin server that answers as the path
//! asks, and tells what it got.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::upstream::{Server, pattern};
use super::{client, ports};

/// A message, complete.
#[derive(Debug, Default)]
pub struct Message {
    /// Request line or status line.
    pub first: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Message {
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Every line of a header.
    pub fn lines(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.first, String::from_utf8_lossy(&self.body)))
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some()
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if from.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end_matches("\r\n").to_owned())
}

fn fields(from: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    loop {
        let text = line(from)?;
        if text.is_empty() {
            return Ok(all);
        }
        let (name, value) = text.split_once(':').ok_or_else(|| io::Error::other(format!("no field: {text}")))?;
        all.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn head(from: &mut impl BufRead) -> io::Result<Message> {
    Ok(Message { first: line(from)?, headers: fields(from)?, ..Message::default() })
}

/// Reads a body; `until_end` where one of no told length goes on to the end of the stream.
fn body(from: &mut impl BufRead, message: &mut Message, until_end: bool) -> io::Result<()> {
    if message.is_chunked() {
        loop {
            let size = line(from)?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16).map_err(io::Error::other)?;
            if size == 0 {
                message.trailers = fields(from)?;
                return Ok(());
            }
            let start = message.body.len();
            message.body.resize(start + size, 0);
            from.read_exact(&mut message.body[start..])?;
            line(from)?;
        }
    }
    match message.header("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) => {
            message.body.resize(length, 0);
            from.read_exact(&mut message.body)
        }
        Some(Err(e)) => Err(io::Error::other(e)),
        None if until_end => from.read_to_end(&mut message.body).map(drop),
        None => Ok(()),
    }
}

/// Reads an answer; `to_head`: to a request of HEAD, whose answer has no body whatever it says.
pub fn answer(from: &mut impl BufRead, to_head: bool) -> io::Result<Message> {
    let mut answer = head(from)?;
    let status = answer.status();
    if !to_head && status >= 200 && status != 204 && status != 304 {
        body(from, &mut answer, true)?;
    }
    Ok(answer)
}

/// A client's connection.
pub struct Client {
    pub stream: TcpStream,
    read: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(to: SocketAddr) -> Self {
        Self::on(client::connect(to))
    }

    pub fn on(stream: TcpStream) -> Self {
        let read = BufReader::new(stream.try_clone().unwrap());
        Self { stream, read }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next answer; `to_head`: to a request of HEAD, whose answer has no body whatever it says.
    pub fn try_answer(&mut self, to_head: bool) -> io::Result<Message> {
        answer(&mut self.read, to_head)
    }

    pub fn answer(&mut self) -> Message {
        self.try_answer(false).unwrap()
    }

    /// A request with these field lines, and its answer.
    pub fn ask(&mut self, method: &str, target: &str, lines: &[&str]) -> Message {
        let lines = lines.iter().flat_map(|line| [line, "\r\n"]).collect::<Vec<_>>().concat();
        let host = if lines.to_ascii_lowercase().contains("host:") { "" } else { "Host: in.example\r\n" };
        self.send(format!("{method} {target} HTTP/1.1\r\n{host}{lines}\r\n"));
        self.try_answer(method == "HEAD").unwrap_or_else(|e| panic!("{method} {target}: {e}"))
    }

    pub fn get(&mut self, target: &str) -> Message {
        self.ask("GET", target, &[])
    }

    /// What comes to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        // a reset is an end, too
        let _ = self.read.read_to_end(&mut all);
        all
    }
}

/// One request on a connection of its own.
pub fn get(to: SocketAddr, target: &str) -> Message {
    Client::connect(to).get(target)
}

/// A server whose paths say what it does:
/// `/status/N`, `/sleep/MS`, `/slowbody/MS` (ten bytes, each so late), `/bytes/N`, `/chunked/N` (with a trailer), `/cut`, `/cut-chunks` (break off
/// in the body), `/bad-chunk`, `/silent` (closes without an answer), `/garbage`, `/refuse` (answers 417 without reading the body), `/never-asks`
/// (waits for the body whatever is expected), `/upgrade` (101, then echoes bytes),
/// `/close` (an answer that ends with the connection). Any other path is answered with what was asked, as JSON.
pub fn origin(name: &'static str) -> Server {
    Server::start(SocketAddr::from(([0, 0, 0, 0], ports::free())), move |stream, _| {
        let _ = stream.set_nodelay(true);
        // whoever breaks off is no failure of this server
        let _ = serve(name, stream);
    })
}

fn serve(name: &str, mut stream: TcpStream) -> io::Result<()> {
    let mut read = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = head(&mut read)?;
        let target = request.first.split(' ').nth(1).unwrap_or_default().to_owned();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        if path == "/refuse" {
            stream.write_all(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            return Ok(());
        }
        if request.header("expect").is_some() && path != "/never-asks" {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        body(&mut read, &mut request, false)?;
        let number = |prefix: &str| path.strip_prefix(prefix).and_then(|n| n.parse::<usize>().ok());
        if path == "/upgrade" {
            let protocol = request.header("upgrade").unwrap_or_default();
            write!(stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n")?;
            io::copy(&mut read, &mut stream)?;
            return stream.shutdown(Shutdown::Write);
        } else if path == "/silent" {
            return Ok(());
        } else if path == "/garbage" {
            return stream.write_all(b"not http at all\r\n\r\n");
        } else if path == "/close" {
            return stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end");
        } else if path == "/cut" {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        } else if path == "/cut-chunks" {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        } else if path == "/bad-chunk" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nno size\r\n")?;
        } else if let Some(bytes) = number("/bytes/") {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
            stream.write_all(&pattern(bytes))?;
        } else if let Some(bytes) = number("/chunked/") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n")?;
            for chunk in pattern(bytes).chunks(1000) {
                write!(stream, "{:x}\r\n", chunk.len())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\nx-sum: 7\r\n\r\n")?;
        } else if let Some(ms) = number("/slowbody/") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")?;
            for _ in 0..10 {
                rest(ms);
                stream.write_all(b"s")?;
            }
        } else if let Some(status) = number("/status/") {
            let length = if matches!(status, 204 | 304) { "" } else { "Content-Length: 0\r\n" };
            write!(stream, "HTTP/1.1 {status} Told\r\nX-Up: {name}\r\n{length}\r\n")?;
        } else {
            rest(number("/sleep/").unwrap_or_default());
            told(name, &mut stream, &request, &target)?;
        }
    }
}

/// A server takes its time: this is the one place where a test's server is slow on purpose.
fn rest(ms: usize) {
    let end = std::time::Instant::now() + Duration::from_millis(ms as u64);
    while let Some(left) = end.checked_duration_since(std::time::Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

fn told(name: &str, stream: &mut TcpStream, request: &Message, target: &str) -> io::Result<()> {
    let lines: Vec<String> = request.headers.iter().map(|(n, v)| format!("{}: {v}", n.to_ascii_lowercase())).collect();
    let is_pattern = request.body == pattern(request.body.len());
    let body = json!({
        "method": request.first.split(' ').next(), "target": target, "lines": lines, "length": request.body.len(),
        "is_pattern": is_pattern, "trailers": request.trailers, "up": name,
        "text": String::from_utf8_lossy(&request.body[..request.body.len().min(1000)]),
    })
    .to_string();
    let head = request.first.starts_with("HEAD ");
    write!(stream, "HTTP/1.1 200 OK\r\nX-Up: {name}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len())?;
    if head { Ok(()) } else { stream.write_all(body.as_bytes()) }
}
