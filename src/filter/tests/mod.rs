//! Every row of the transform tables, on real heads and byte for byte. What a row changes is shown as the difference from the same
//! message through a route without transforms.

mod answers;
mod refused;
mod requests;

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version, request, response};
use serde_json::Value;

use super::{Facts, Transforms};
use crate::model::TransformSpec;

/// The elements of a JSON list.
fn specs(list: &Value) -> Vec<TransformSpec> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let spec = |element: &Value| element.as_object().unwrap().iter().map(|(key, value)| (key.clone(), text(value))).collect();
    list.as_array().unwrap().iter().map(spec).collect()
}

fn compiled(list: &Value) -> Transforms {
    Transforms::compile(&specs(list)).unwrap_or_else(|e| panic!("{list}: {e:?}"))
}

/// What the tests' client and node are.
fn facts() -> Facts<'static> {
    Facts {
        client: SocketAddr::from(([127, 0, 0, 1], 40_000)),
        local: SocketAddr::from(([127, 0, 0, 1], 5001)),
        secure: false,
        version: Version::HTTP_11,
        host: "in.example:5001",
        node_authority: "127.0.0.1:9001",
        original_host: false,
        client_certificate: None,
    }
}

fn headers(lines: &[&str]) -> HeaderMap {
    let line = |line: &&str| {
        let (name, value) = line.split_once(": ").or_else(|| line.split_once(':')).unwrap();
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    lines.iter().map(line).collect()
}

fn shown(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))).collect()
}

/// A head of `METHOD target` and header lines.
fn request(first: &str, lines: &[&str]) -> request::Parts {
    let (method, target) = first.split_once(' ').unwrap();
    let mut parts = Request::builder().method(method).uri(target).body(()).unwrap().into_parts().0;
    parts.headers = headers(lines);
    parts
}

fn response(status: u16, lines: &[&str]) -> response::Parts {
    let mut parts = Response::builder().status(status).body(()).unwrap().into_parts().0;
    parts.headers = headers(lines);
    parts
}

/// What a node gets: `METHOD target`, then its headers.
fn sent(transforms: &Transforms, mut head: request::Parts, facts: &Facts<'_>) -> Vec<String> {
    transforms.request(&mut head, facts).unwrap();
    assert!(head.uri.authority().is_none() || head.method == "CONNECT", "{}", head.uri);
    let mut lines = vec![format!("{} {}", head.method, head.uri)];
    lines.extend(shown(&head.headers));
    lines
}

/// Lines that went (`-`) and came (`+`).
fn difference(before: Vec<String>, after: Vec<String>) -> Vec<String> {
    let mut gone = before;
    let mut come = Vec::new();
    for line in after {
        match gone.iter().position(|known| *known == line) {
            Some(at) => drop(gone.remove(at)),
            None => come.push(format!("+{line}")),
        }
    }
    let mut all: Vec<String> = gone.into_iter().map(|line| format!("-{line}")).collect();
    all.sort();
    come.sort();
    all.extend(come);
    all
}
