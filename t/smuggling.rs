//! Requests that two servers could read in two ways, sent through the gateway to nginx, hyper and Python: what a node saw is what
//! the gateway says that it forwarded, and nothing that hides in another request arrives.

mod corpus;
mod http2;
mod nodes;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use sluice::proxy::http::framing::Framing;

use crate::support::conf::Conf;
use crate::support::gateway::Gateway;
use crate::support::{client, poll, ports};
use corpus::Case;
use nodes::Node;

/// Connections at a time.
const AT_ONCE: usize = 16;
/// A connection that is kept open says nothing for so long after its last answer.
const QUIET: Duration = Duration::from_millis(1500);

/// What the gateway answered on one connection.
struct Answered {
    statuses: Vec<u16>,
    /// Answers that a node made.
    by_node: usize,
}

/// Sends the bytes and reads until the gateway closes or is quiet.
fn converse(to: SocketAddr, bytes: &[u8]) -> Answered {
    let mut stream = client::connect(to);
    stream.set_read_timeout(Some(QUIET)).unwrap();
    // the gateway may close before all is sent
    let _ = stream.write_all(bytes);
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..n]);
    }
    let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
    let statuses = text.split("http/1.").skip(1).filter_map(|answer| answer.get(2..5)?.parse().ok()).filter(|s| *s != 100).collect();
    Answered { statuses, by_node: text.matches("x-node:").count() }
}

/// The case that a request as a node tells of it belongs to.
fn number(seen: &str) -> Option<usize> {
    let target = seen.split(' ').nth(1)?;
    target.split('/').find_map(|part| part.parse().ok())
}

fn drive(gateway: &Gateway, listener: SocketAddr, node: &Node, cases: &[Case]) {
    gateway.put_live("routes", "r", &json!({"upstream": {"type": "roundrobin", "nodes": {node.addr.to_string(): 1}}}));
    poll::soon("the route leads to the node", || {
        converse(listener, b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").by_node == 1
    });
    let answered: Vec<Answered> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|n| {
                let mine = cases.iter().enumerate().skip(n).step_by(AT_ONCE);
                scope.spawn(move || mine.map(|(at, case)| (at, converse(listener, &case.bytes))).collect::<Vec<_>>())
            })
            .collect();
        let all: BTreeMap<usize, Answered> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        all.into_values().collect()
    });
    let by_node: usize = answered.iter().map(|answered| answered.by_node).sum();
    let seen = || node.seen().into_iter().filter(|seen| !seen.contains("/ready")).collect::<Vec<_>>();
    poll::soon("the node has told of all that it answered", || seen().len() >= by_node);
    let mut of: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for seen in seen() {
        let number = number(&seen).unwrap_or_else(|| panic!("{} saw {seen:?}, which nobody sent", node.name));
        of.entry(number).or_default().push(seen.replace("http://a/", "/"));
    }
    for (at, (case, answered)) in cases.iter().zip(&answered).enumerate() {
        let seen = of.remove(&at).unwrap_or_default();
        let shown = format!("{} case {at} {:?}: {:?}", node.name, String::from_utf8_lossy(&case.bytes), answered.statuses);
        assert_eq!(seen, case.may, "{shown}");
        assert_eq!(seen.len(), answered.by_node, "{shown}");
        let refusals = &answered.statuses[answered.by_node.min(answered.statuses.len())..];
        assert!(refusals.len() <= 1 && refusals.iter().all(|status| (400..=505).contains(status)), "{shown}");
    }
    assert!(of.is_empty(), "{} saw {of:?}", node.name);
}

#[test]
fn no_request_is_seen_differently_by_the_gateway_and_by_a_node() {
    let cases = corpus::all();
    assert!(cases.len() >= 200, "{}", cases.len());
    let distinct: std::collections::BTreeSet<&[u8]> = cases.iter().map(|case| &case.bytes[..]).collect();
    assert_eq!(distinct.len(), cases.len());
    let gateway = Gateway::start(Conf::new());
    let listener = ports::free_addr();
    gateway.admin().must_put("listeners", "web", &json!({"protocol": "http", "addr": listener.to_string()}));
    let dir = tempfile::tempdir().unwrap();
    for node in [Node::hyper(), Node::nginx(dir.path()), Node::python(dir.path())] {
        drive(&gateway, listener, &node, &cases);
    }
}

#[test]
fn the_watcher_lets_no_head_of_the_corpus_through_that_may_not_arrive() {
    for (at, case) in corpus::all().iter().enumerate() {
        let mut framing = Framing::new();
        let _ = framing.saw(&case.bytes);
        let fine = std::iter::from_fn(|| framing.verdict().filter(Result::is_ok)).count();
        let is_refused_in_its_body = framing.fault().is_some() && framing.mend().is_none();
        assert_eq!(fine, case.may.len() + usize::from(is_refused_in_its_body), "case {at} {:?}", String::from_utf8_lossy(&case.bytes));
    }
}
