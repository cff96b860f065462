//! HTTP/1.1 through a running gateway: which route a request goes to, what a node gets, what the client gets back, and how it ends.

mod edits;
mod forwarding;
mod life;
mod limits;
mod matching;
mod statements;
mod statuses;
mod transforms;
mod upgrade;

use std::net::SocketAddr;

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

    fn get(&self, target: &str) -> Message {
        get(self.at, target)
    }
}

/// An upstream of these origins.
fn to(origins: &[&Server]) -> Value {
    json!({"nodes": origins.iter().map(|origin| (origin.node(), json!(1))).collect::<serde_json::Map<_, _>>()})
}
