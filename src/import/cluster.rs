//! `Clusters` become upstreams, together with stand-ins for those that are named and not there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::address::{self, Node};
use super::file::{Entry, File, Names, named};
use super::note::Notes;
use super::part::Part;
use super::put::Put as _;

/// Each `LoadBalancingPolicy`, the `type` that does the same, and whether it is written: a type that is not served would keep the
/// whole upstream out.
pub const BALANCERS: [(&str, &str, bool); 5] = [
    ("RoundRobin", "roundrobin", true),
    ("Random", "random", false),
    ("LeastRequests", "least_conn", false),
    ("PowerOfTwoChoices", "p2c", false),
    ("Hash", "chash", false),
];

/// Of `HttpClientConfig`.
const ANY_CERTIFICATE: &str = "DangerousAcceptAnyServerCertificate";

/// Of `HttpRequest`.
const VERSION: [&str; 2] = ["Version", "VersionPolicy"];

const FIELDS: [&str; 6] = ["LoadBalancingPolicy", "Destinations", "HealthCheck", "HttpClientConfig", "HttpRequest", "Metadata"];

/// Who goes to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    L4,
    Http,
}

/// Which clusters are gone to, and from where.
#[derive(Debug)]
pub(super) struct Targets<'f, 'a> {
    clusters: &'f [Entry<'a>],
    http: BTreeSet<String>,
    l4: BTreeSet<String>,
    names: Names,
    /// Names without a cluster, with the ids of what stands for them.
    absent: Vec<(&'a str, String)>,
}

impl<'f, 'a> Targets<'f, 'a> {
    pub(super) fn new(file: &'f File<'a>) -> Self {
        let mut names = Names::default();
        for cluster in &file.clusters {
            names.take(&cluster.id);
        }
        Self { clusters: &file.clusters, http: BTreeSet::new(), l4: BTreeSet::new(), names, absent: Vec::new() }
    }

    /// The id of the upstream that a route goes to.
    pub(super) fn of(&mut self, route: &Part<'a>, from: Use, notes: &mut Notes) -> Option<String> {
        let name = route.text("ClusterId", notes)?;
        let id = match named(self.clusters, name) {
            Some(cluster) => cluster.id.clone(),
            None => self.stand_in(name, &route.at_of("ClusterId"), notes),
        };
        match from {
            Use::Http => self.http.insert(id.clone()),
            Use::L4 => self.l4.insert(id.clone()),
        };
        Some(id)
    }

    fn stand_in(&mut self, name: &'a str, at: &str, notes: &mut Notes) -> String {
        if let Some((_, id)) = self.absent.iter().find(|(other, _)| super::json::same(other, name)) {
            return id.clone();
        }
        let id = self.names.take(name);
        notes.differs(at, format!("there is no such cluster: the upstream {id} without nodes stands for it"));
        self.absent.push((name, id.clone()));
        id
    }

    pub(super) fn upstreams(&self, notes: &mut Notes) -> Vec<Value> {
        let made = self.clusters.iter().map(|cluster| self.upstream(cluster, notes));
        let mut all: Vec<Value> = made.collect();
        all.extend(self.absent.iter().map(|(_, id)| json!({ "id": id, "nodes": [] })));
        all
    }

    fn upstream(&self, cluster: &Entry<'_>, notes: &mut Notes) -> Value {
        let part = &cluster.part;
        part.strangers(&FIELDS, notes);
        let http = self.http.contains(&cluster.id) || !self.l4.contains(&cluster.id);
        let http2 = http && part.get("HttpRequest").is_some_and(|section| is_http2(&section, notes));
        for name in ["HealthCheck", "HttpClientConfig", "HttpRequest"] {
            for (key, field) in part.get(name).map(|section| section.fields()).unwrap_or_default() {
                if key.eq_ignore_ascii_case(ANY_CERTIFICATE) || http2 && VERSION.iter().any(|known| known.eq_ignore_ascii_case(key)) {
                    continue;
                }
                let why = if name == "HealthCheck" { "there are no health checks yet" } else { "there is no such setting of an upstream" };
                notes.lost(&field.at, why);
            }
        }
        let nodes = destinations(part, http, notes);
        let mut upstream = json!({ "id": cluster.id });
        balancer(part, nodes.len(), &mut upstream, notes);
        if http {
            if nodes.iter().any(|d| d.node.https) {
                secure(part, http2, &mut upstream, notes);
            } else if http2 {
                upstream.put("scheme", "h2c");
            }
            of_http(&nodes, &mut upstream, notes);
        }
        upstream.put(
            "nodes",
            nodes.into_iter().map(|d| json!({ "host": d.node.host, "port": d.node.port, "weight": d.weight })).collect::<Vec<_>>(),
        );
        upstream
    }
}

/// A destination that is carried over.
struct Destination<'a> {
    at: String,
    node: Node,
    weight: u32,
    /// What nodes see as `Host`.
    host: Option<&'a str>,
}

fn destinations<'a>(part: &Part<'a>, http: bool, notes: &mut Notes) -> Vec<Destination<'a>> {
    let mut found: Vec<Destination<'a>> = Vec::new();
    for item in part.get("Destinations").map(|list| list.items()).unwrap_or_default() {
        item.strangers(&["Address", "Host", "Weight"], notes);
        let Some(text) = item.text("Address", notes) else { continue };
        let at = item.at_of("Address");
        let node = match address::node(text) {
            Ok(node) => node,
            Err(why) => {
                notes.lost(&at, format!("{text} {why}"));
                continue;
            }
        };
        if http && !node.path.is_empty() {
            notes.lost(
                &at,
                format!("the path {} is not put before those of requests; a transform PathPrefix of the route does that", node.path),
            );
        }
        if found.first().is_some_and(|first| http && first.node.https != node.https) {
            notes.lost(&at, "another scheme than the first destination: left out");
            continue;
        }
        let weight = item.number("Weight", notes).unwrap_or(1);
        found.push(Destination { at, node, weight, host: item.text("Host", notes) });
    }
    found
}

/// Whether `HttpRequest` asks for nothing below HTTP/2.
fn is_http2(section: &Part<'_>, notes: &mut Notes) -> bool {
    let [version, policy] = VERSION.map(|name| section.text(name, notes).map(str::trim));
    let least = ["RequestVersionExact", "RequestVersionOrHigher"];
    matches!(version, Some("2" | "2.0")) && policy.is_some_and(|policy| least.iter().any(|word| word.eq_ignore_ascii_case(policy)))
}

/// With one destination there is nothing to choose.
fn balancer(part: &Part<'_>, nodes: usize, upstream: &mut Value, notes: &mut Notes) {
    let at = part.at_of("LoadBalancingPolicy");
    let word = part.text("LoadBalancingPolicy", notes).map_or("Random", str::trim);
    let known = BALANCERS.iter().find(|(name, _, _)| name.eq_ignore_ascii_case(word));
    match known {
        Some((_, ours, true)) if *ours != "chash" => upstream.put("type", *ours),
        Some((_, "chash", true)) if hash(part, upstream, notes) => {}
        Some(_) if nodes < 2 => {}
        Some(("Random", _, _)) => notes.differs(&at, "nodes are taken in turn, not by chance; the shares are the same"),
        Some((name, ours, _)) => notes.lost(&at, format!("nodes are taken in turn: {name} would be {ours}, which is not served yet")),
        None => notes.lost(&at, format!("{word} is no known policy: VKProxy has no such cluster; here nodes are taken in turn")),
    }
    metadata(part, notes);
}

/// `Hash` by a header or a cookie.
fn hash(part: &Part<'_>, upstream: &mut Value, notes: &mut Notes) -> bool {
    let Some(metadata) = part.get("Metadata") else { return false };
    let (by, key) = (metadata.text("HashBy", notes), metadata.text("Key", notes));
    let by = ["header", "cookie"].into_iter().find(|known| by.is_some_and(|by| by.eq_ignore_ascii_case(known)));
    let (Some(by), Some(key)) = (by, key) else { return false };
    for (name, value) in [("type", "chash"), ("hash_on", by), ("key", key)] {
        upstream.put(name, value);
    }
    true
}

fn metadata(part: &Part<'_>, notes: &mut Notes) {
    for (key, field) in part.get("Metadata").map(|metadata| metadata.fields()).unwrap_or_default() {
        let own = ["HashBy", "Key"].iter().any(|known| known.eq_ignore_ascii_case(key));
        if !own {
            notes.lost(
                &field.at,
                if key.starts_with("SessionAffinity") { "there is no session affinity" } else { "an upstream has no metadata" },
            );
        }
    }
}

/// Certificates of nodes are verified unless the cluster says that any will do.
fn secure(part: &Part<'_>, http2: bool, upstream: &mut Value, notes: &mut Notes) {
    upstream.put("scheme", if http2 { "grpcs" } else { "https" });
    if !part.get("HttpClientConfig").is_some_and(|section| section.flag(ANY_CERTIFICATE, notes)) {
        upstream.put("tls", json!({ "verify": true }));
    }
}

/// `Host` is that of the destination, else its address.
fn of_http(nodes: &[Destination<'_>], upstream: &mut Value, notes: &mut Notes) {
    let named = nodes.first().and_then(|first| first.host);
    if let Some(other) = nodes.iter().find(|d| d.host != named) {
        notes.lost(&other.at, "destinations with different Hosts: each sees its own address as Host");
    } else if let Some(host) = named {
        upstream.put("pass_host", "rewrite");
        upstream.put("upstream_host", host);
        return;
    }
    upstream.put("pass_host", "node");
}
