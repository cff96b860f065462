//! HTTP/1.1 through a running gateway: which route a request goes to, what a node gets, what the client gets back, and how it ends.

mod edits;
mod forwarding;
mod life;
mod limits;
mod matching;
mod sizes;
mod statements;
mod statuses;
mod transforms;
mod upgrade;

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::h1::{Client, Message, get};
use crate::support::upstream::Server;
use crate::support::{Conf, Gateway, ports};

/// A gateway with an HTTP listener.
struct Web {
    gateway: Gateway,
    at: SocketAddr,
}

impl Web {
    fn start() -> Self {
        Self::with(Conf::new())
    }

    fn with(conf: Conf) -> Self {
        let at = ports::free_addr();
        Self { gateway: Gateway::start(conf.http(format!("{{ip: 127.0.0.1, port: {}}}", at.port()))), at }
    }

    /// A gateway whose one route leads all requests to an origin.
    fn to(origin: &Server) -> Self {
        let web = Self::start();
        web.route("r", &json!({"upstream": to(&[origin])}));
        web
    }

    fn route(&self, id: &str, route: &Value) {
        self.gateway.put_live("routes", id, route);
    }

    /// Replaces all routes by these, each with its upstream.
    fn routes(&self, all: &[(&str, Value)]) {
        let admin = self.gateway.admin();
        for old in admin.get("/routes").json()["list"].as_array().unwrap() {
            admin.must_delete("routes", old["value"]["id"].as_str().unwrap());
        }
        for (id, route) in all {
            self.route(id, route);
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.at)
    }

    /// [`curl`], of this gateway.
    fn curl(&self, path: &str, more: &[&str]) -> Head {
        curl(&format!("http://{}{path}", self.at), more)
    }

    fn get(&self, target: &str) -> Message {
        get(self.at, target)
    }
}

/// An answer's head, as curl got it.
struct Head {
    status: u16,
    lines: Vec<(String, String)>,
}

impl Head {
    fn line(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.line(name).map(|value| value.parse().unwrap_or_else(|e| panic!("{name}: {value}: {e}")))
    }
}

/// A request by curl, with these arguments more. It has to call the transfer a success.
fn curl(url: &str, more: &[&str]) -> Head {
    let mut command = Command::new("curl");
    let done = command.args(["-sS", "-D", "-", "-o", "/dev/null", "--max-time", "30"]).args(more).arg(url).output().unwrap();
    assert!(done.status.success(), "{url} {more:?}: {}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    // the last head: one of 100 may stand before it
    let head = text.split("\r\n\r\n").filter(|head| !head.is_empty()).last().unwrap();
    let status = head.split(' ').nth(1).unwrap().trim().parse().unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect();
    Head { status, lines }
}

/// An upstream of these origins.
fn to(origins: &[&Server]) -> Value {
    json!({"nodes": origins.iter().map(|origin| (origin.node(), json!(1))).collect::<serde_json::Map<_, _>>()})
}
