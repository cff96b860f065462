//! The real curl as a client of HTTP: what it sends is what a user sends, and what it reads is an answer.

use std::io::BufReader;
use std::net::SocketAddr;
use std::process::Command;

use super::h1::{Message, answer};

/// Long enough for anything that a test asks for.
const PATIENCE: &str = "30";

/// One request by curl. The target goes out byte for byte; `Host` is `in.example` unless the lines name one.
pub fn ask(at: SocketAddr, method: &str, target: &str, lines: &[&str], body: Option<&str>) -> Message {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-i", "--http1.1", "--max-time", PATIENCE, "--request-target", target]);
    if method == "HEAD" {
        curl.arg("--head");
    } else {
        curl.args(["-X", method]);
    }
    if !lines.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
        curl.args(["-H", "Host: in.example"]);
    }
    for line in lines {
        curl.args(["-H", line]);
    }
    if let Some(body) = body {
        curl.args(["--data-binary", body]);
    }
    let done = curl.arg(format!("http://{at}/")).output().expect("curl is installed (make setup-test)");
    assert!(done.status.success(), "{curl:?}: {}", String::from_utf8_lossy(&done.stderr));
    answer(&mut BufReader::new(done.stdout.as_slice()), method == "HEAD").unwrap_or_else(|e| panic!("{curl:?}: {e}"))
}
