//! The control API, `/v1/…`: what this process has been told, what it made of it, what it is doing. Its only writes end a session
//! or change the level of the log.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::envelope::Answer;
use super::limits;
use super::query::Query;
use super::server::{self, Head, Site};
use super::{certificates, instances};
use crate::base::addr::Port;
use crate::base::cidr::Cidr;
use crate::base::drain;
use crate::base::id::{Id, Kind};
use crate::base::meter::Direction;
use crate::base::reason::Reason;
use crate::base::violation::Stage;
use crate::control::status::{ObjectStatus, StatusHandle};
use crate::live::applied::Applied;
use crate::live::fleet::Fleet;
use crate::live::limits::Limits;
use crate::live::listeners::{PortState, PortStatus, Ports};
use crate::live::nodes::{NodeStatus, Nodes};
use crate::live::sessions::{Session, Sessions};
use crate::model::Origin;
use crate::schema::Schemas;
use crate::snapshot::cell::Cell;
use crate::store::{Standing, Store};
use crate::telemetry::LogLevel;
use crate::telemetry::stamp::rfc3339;

/// Sessions that are listed when nobody says how many.
const SESSIONS: usize = 1000;

/// What the control API tells of.
#[derive(Clone)]
pub struct ControlParts {
    /// The objects.
    pub status: StatusHandle,
    /// The ports.
    pub ports: Ports,
    /// The sessions.
    pub sessions: Sessions,
    /// The nodes.
    pub nodes: Nodes,
    /// The limits.
    pub limits: Limits,
    /// The applied revision.
    pub applied: Applied,
    /// The gateways that share the store.
    pub fleet: Fleet,
    /// The schemas.
    pub schemas: Arc<Schemas>,
    /// The log, to change its level.
    pub log: LogLevel,
    /// The store, to let held deletes pass.
    pub store: Arc<dyn Store>,
    /// What serves, for its certificates.
    pub cell: Cell,
}

impl std::fmt::Debug for ControlParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlParts")
    }
}

/// Serves the control API until the process ends.
pub async fn serve_control(listener: TcpListener, parts: Arc<ControlParts>, drain: drain::Watch) {
    server::serve(listener, Arc::new(Control(parts)), drain).await;
}

struct Control(Arc<ControlParts>);

#[async_trait]
impl Site for Control {
    const BODY: usize = 4096;

    async fn answer(&self, head: &Head, body: Bytes) -> Answer {
        let parts = &*self.0;
        let segments = head.segments();
        let Some(("v1", asked)) = segments.split_first().map(|(first, rest)| (*first, rest)) else { return Answer::not_found() };
        let result = match (&head.method, asked) {
            (&Method::GET, ["config"]) => Ok(config(parts, &head.query)),
            (&Method::GET, ["config", kind, id]) => one(parts, kind, id),
            (&Method::GET, ["rejections"]) => Ok(rejections(parts)),
            (&Method::GET, ["listeners"]) => Ok(listeners(parts)),
            (&Method::GET, ["certificates"]) => Ok(certificates::list(parts)),
            (&Method::GET, ["upstreams"]) => Ok(upstreams(&parts.nodes.list())),
            (&Method::GET, ["limits"]) => Ok(limits::list(&parts.limits)),
            (&Method::GET, ["limits", route]) => limits::of_route(&parts.limits, None, route, &head.query),
            (&Method::GET, ["limits", kind @ ("routes" | "stream_routes"), route]) => {
                limits::of_route(&parts.limits, Kind::from_dir(kind), route, &head.query)
            }
            (&Method::GET, ["sessions"]) => sessions(parts, &head.query),
            (&Method::DELETE, ["sessions", id]) => end(parts, id),
            (&Method::GET, ["store"]) => Ok(store(&parts.store.standing())),
            (&Method::GET, ["instances"]) => Ok(instances::list(&parts.fleet)),
            (&Method::GET, ["schema"]) => Ok(schema(parts)),
            (&Method::GET, ["log-level"]) => Ok(Answer::ok(&json!({ "level": parts.log.get() }))),
            (&Method::PUT, ["log-level"]) => log_level(&parts.log, &body),
            (&Method::POST, ["accept"]) => {
                parts.store.accept();
                tracing::warn!("an operator lets the held deletes pass");
                Ok(Answer::ok(&json!({ "accepted": true })))
            }
            (method, asked) => Err(refused(method, asked)),
        };
        result.unwrap_or_else(|refusal| refusal)
    }
}

/// 405 for a path that knows other verbs, 404 for one that is none.
fn refused(method: &Method, asked: &[&str]) -> Answer {
    let allowed = match asked {
        [
            "config" | "rejections" | "listeners" | "certificates" | "upstreams" | "limits" | "sessions" | "store" | "instances" | "schema",
        ]
        | ["config", _, _]
        | ["limits", _]
        | ["limits", "routes" | "stream_routes", _] => "GET",
        ["sessions", _] => "DELETE",
        ["log-level"] => "GET, PUT",
        ["accept"] => "POST",
        _ => return Answer::not_found(),
    };
    Answer::not_allowed(format!("not supported `{method}` method, only {allowed}"), allowed)
}

/// One object; what it was written as only where it is asked for.
fn object(status: &ObjectStatus, with_value: bool) -> Value {
    let origin = match status.origin {
        Origin::Conf => "conf",
        Origin::Store => "store",
    };
    let mut shown = json!({
        "key": status.key,
        "kind": status.kind.map(Kind::dir),
        "origin": origin,
        "state": status.state.as_str(),
        "reason": status.reason,
        "stage": status.stage.map(Stage::as_str),
        "violations": status.violations,
        "warnings": *status.warnings,
        "revision": status.revision,
        "serving_revision": status.serving_revision,
        "applied_at": status.applied_at.map(rfc3339),
    });
    if let (true, Some(map)) = (with_value, shown.as_object_mut()) {
        map.insert("value".into(), (*status.value).clone());
    }
    shown
}

fn objects(parts: &ControlParts, found: &[ObjectStatus], with_values: bool) -> Answer {
    Answer::ok(&json!({
        "revision": parts.status.revision(),
        "applied": parts.applied.revision(),
        "total": found.len(),
        "objects": found.iter().map(|status| object(status, with_values)).collect::<Vec<_>>(),
    }))
}

fn config(parts: &ControlParts, query: &Query) -> Answer {
    objects(parts, &parts.status.objects(), query.is_true("values"))
}

fn rejections(parts: &ControlParts) -> Answer {
    objects(parts, &parts.status.rejections(), true)
}

fn one(parts: &ControlParts, kind: &str, id: &str) -> Result<Answer, Answer> {
    let found = parts.status.get(&format!("{kind}/{id}"));
    found.map(|status| Answer::ok(&object(&status, true))).ok_or_else(Answer::no_key)
}

fn listeners(parts: &ControlParts) -> Answer {
    let mut counts = HashMap::<(Id, Port), usize>::new();
    for session in parts.sessions.list() {
        *counts.entry((session.listener.clone(), session.port)).or_default() += 1;
    }
    let show = |port: &PortStatus| listener(port, counts.get(&(port.listener.clone(), port.port)).copied().unwrap_or_default());
    let shown: Vec<Value> = parts.ports.list().iter().map(show).collect();
    Answer::ok(&json!({ "total": shown.len(), "listeners": shown }))
}

fn listener(port: &PortStatus, sessions: usize) -> Value {
    let (errno, message) = match &port.state {
        PortState::Failed { errno, message } => (Some(*errno), Some(message.clone())),
        PortState::Conflict { winner } => (None, Some(format!("listener {winner} has the address"))),
        PortState::Active | PortState::Draining => (None, None),
    };
    json!({
        "listener": port.listener,
        "protocol": port.protocol,
        "address": port.port.addr,
        "state": port.state.as_str(),
        "errno": errno,
        "message": message,
        "required": port.required,
        "sessions": sessions,
    })
}

fn upstreams(nodes: &[NodeStatus]) -> Answer {
    let mut grouped = Map::<String, Value>::new();
    for node in nodes {
        let shown = json!({
            "node": node.node,
            "addresses": node.addresses,
            "weight": node.weight,
            "priority": node.priority,
            "in_flight": node.in_flight,
            "dns_error": node.dns_error,
        });
        if let Value::Array(list) = grouped.entry(node.upstream.clone()).or_insert_with(|| json!([])) {
            list.push(shown);
        }
    }
    let shown: Vec<Value> = grouped.into_iter().map(|(upstream, nodes)| json!({ "upstream": upstream, "nodes": nodes })).collect();
    Answer::ok(&json!({ "total": shown.len(), "upstreams": shown }))
}

/// `?route=`, `?client=` (an address or a block), `?limit=`; the total is the number before the limit.
fn sessions(parts: &ControlParts, query: &Query) -> Result<Answer, Answer> {
    let client =
        query.get("client").map(str::parse::<Cidr>).transpose().map_err(|e| Answer::bad(format!("invalid argument client: {e}")))?;
    let limit = query.get("limit").map(str::parse::<usize>).transpose();
    let limit = limit.map_err(|_| Answer::bad("invalid argument limit: should be a number"))?.unwrap_or(SESSIONS);
    let route = query.get("route");
    let mut found = parts.sessions.list();
    found.retain(|session| {
        route.is_none_or(|route| session.route().map_or("", Id::as_str) == route)
            && client.is_none_or(|client| client.contains(session.client().0.ip()))
    });
    let shown: Vec<Value> = found.iter().take(limit).map(|each| session(each)).collect();
    Ok(Answer::ok(&json!({ "total": found.len(), "sessions": shown })))
}

fn session(session: &Session) -> Value {
    json!({
        "id": session.id,
        "listener": session.listener,
        "protocol": session.protocol,
        "client": session.client().0,
        "local": session.local.0,
        "sni": session.sni(),
        "tls_version": session.tls().map(|tls| tls.version),
        "tls_cipher": session.tls().map(|tls| tls.cipher),
        "route": session.route(),
        "node": session.node(),
        "started": rfc3339(session.started),
        "rx_bytes": session.bytes(Direction::In),
        "tx_bytes": session.bytes(Direction::Out),
        "ending": session.asked_to_end().map(Reason::as_str),
    })
}

fn end(parts: &ControlParts, id: &str) -> Result<Answer, Answer> {
    let found = id.parse().ok().and_then(|id| parts.sessions.get(id));
    let session = found.ok_or_else(|| Answer::error(hyper::StatusCode::NOT_FOUND, format!("there is no session {id}")))?;
    session.end(Reason::AdminKilled);
    tracing::info!(session = session.id, client = %session.client(), "session ended by an operator");
    Ok(Answer::ok(&json!({ "ended": session.id })))
}

fn store(standing: &Standing) -> Answer {
    let last_good = standing.last_good.as_ref();
    Answer::ok(&json!({
        "up": standing.up,
        "stale": standing.is_stale(),
        "held": standing.held,
        "last_good": last_good.map(|set| json!({ "revision": set.revision, "saved_at": rfc3339(set.saved_at) })),
    }))
}

fn schema(parts: &ControlParts) -> Answer {
    let all = Kind::ALL.into_iter().map(|kind| (kind.singular().to_owned(), parts.schemas.document(kind).clone()));
    Answer::ok(&Value::Object(all.collect()))
}

/// A level as it is, as a JSON string, or as `{"level": …}`.
fn log_level(log: &LogLevel, body: &[u8]) -> Result<Answer, Answer> {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let named = json.as_ref().and_then(|value| value.get("level").unwrap_or(value).as_str());
    let text = String::from_utf8_lossy(body);
    log.set(named.unwrap_or(&text)).map_err(|error| Answer::bad(error.to_string()))?;
    tracing::info!(level = log.get(), "log level changed by an operator");
    Ok(Answer::ok(&json!({ "level": log.get() })))
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;
    use crate::base::addr::{Local, Protocol, Remote, Transport};
    use crate::base::violation::Violation;
    use crate::control::status::ObjectState;
    use crate::live::applied::{AppliedWriter, applied};
    use crate::live::sessions::{Arrival, Registered};
    use crate::telemetry::LogFormat;
    use crate::telemetry::log::subscriber;
    use std::time::{Duration, SystemTime};

    struct World {
        parts: ControlParts,
        applied: AppliedWriter,
        // a level can be changed as long as its log is there
        _log: Box<dyn tracing::Subscriber + Send + Sync>,
    }

    fn world() -> World {
        let (log, level) = subscriber("info", LogFormat::Text, std::io::sink).unwrap();
        let (writer, applied) = applied();
        let parts = ControlParts {
            status: StatusHandle::default(),
            ports: Ports::default(),
            sessions: Sessions::default(),
            nodes: Nodes::default(),
            limits: Limits::default(),
            applied,
            fleet: crate::live::fleet::fleet("a").1,
            schemas: Arc::new(Schemas::compile().unwrap()),
            log: level,
            store: Arc::new(crate::store::Memory::new()),
            cell: Cell::new(crate::snapshot::Snapshot::empty(&crate::snapshot::fixture::registries())),
        };
        World { parts, applied: writer, _log: Box::new(log) }
    }

    impl World {
        async fn ask(&self, method: &str, uri: &str, body: &str) -> (u16, Value) {
            fake::ask(&Control(Arc::new(self.parts.clone())), method, uri, &[], body).await.parts()
        }

        fn arrive(&self, client: &str) -> Registered {
            self.parts.sessions.register(Arrival {
                listener: Id::parse("a").unwrap(),
                port: port().port,
                protocol: Protocol::Tcp,
                peer: Remote(client.parse().unwrap()),
                local: Local("127.0.0.1:9100".parse().unwrap()),
                started: SystemTime::UNIX_EPOCH,
            })
        }
    }

    fn port() -> PortStatus {
        let port = Port { transport: Transport::Tcp, addr: "127.0.0.1:9100".parse().unwrap() };
        PortStatus { listener: Id::parse("a").unwrap(), protocol: Protocol::Tcp, port, state: PortState::Active, required: true }
    }

    #[tokio::test]
    async fn the_configuration_shows_what_was_seen_and_what_is_applied() {
        let world = world();
        world.applied.set(4);
        let (status, body) = world.ask("GET", "/v1/config", "").await;
        assert_eq!((status, &body["applied"], &body["objects"]), (200, &json!(4), &json!([])));
        assert!(body["revision"].is_u64());
        assert_eq!(world.ask("GET", "/v1/config/upstreams/1", "").await, (404, json!({ "message": "Key not found" })));
        assert_eq!(world.ask("GET", "/v1/rejections", "").await.1["total"], 0);
    }

    #[test]
    fn an_object_shows_its_state_and_its_value_only_on_demand() {
        let status = ObjectStatus {
            key: "upstreams/1".into(),
            kind: Some(Kind::Upstream),
            origin: Origin::Store,
            state: ObjectState::Active,
            reason: Some("r".into()),
            violations: vec![Violation::new("/nodes", "type", "wrong")],
            stage: Some(Stage::Schema),
            revision: 8,
            serving_revision: Some(7),
            applied_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
            warnings: Arc::default(),
            value: Arc::new(json!({ "id": "1" })),
        };
        let mut shown = json!({
            "key": "upstreams/1", "kind": "upstreams", "origin": "store", "state": "active", "reason": "r", "stage": "schema",
            "violations": [{ "path": "/nodes", "rule": "type", "message": "wrong" }], "warnings": [], "revision": 8, "serving_revision": 7,
            "applied_at": "1970-01-01T00:00:01.000Z"
        });
        assert_eq!(object(&status, false), shown);
        shown["value"] = json!({ "id": "1" });
        assert_eq!(object(&status, true), shown);
    }

    #[tokio::test]
    async fn ports_show_their_state_and_their_sessions() {
        let world = world();
        world.parts.ports.set(port());
        let other = Id::parse("b").unwrap();
        let failed = PortState::Failed { errno: 98, message: "address in use".into() };
        world.parts.ports.set(PortStatus { listener: other, state: failed, required: false, ..port() });
        let _session = world.arrive("127.0.0.1:40000");
        let (_, body) = world.ask("GET", "/v1/listeners", "").await;
        let active = json!({
            "listener": "a", "protocol": "tcp", "address": "127.0.0.1:9100", "state": "active", "errno": null, "message": null,
            "required": true, "sessions": 1
        });
        assert_eq!(body["listeners"][0], active);
        let failed = &body["listeners"][1];
        assert_eq!((&failed["errno"], &failed["message"], &failed["sessions"]), (&json!(98), &json!("address in use"), &json!(0)));
    }

    #[tokio::test]
    async fn nodes_are_grouped_by_upstream() {
        let world = world();
        let node = |upstream: &str, node: &str| NodeStatus {
            upstream: upstream.into(),
            node: node.into(),
            addresses: vec!["127.0.0.1:80".parse().unwrap()],
            weight: 2,
            priority: -1,
            in_flight: 3,
            dns_error: None,
        };
        let nodes = vec![node("u1", "a:80"), node("u1", "b:80"), node("stream_routes/1", "c:80")];
        world.parts.nodes.provide(Arc::new(move || nodes.clone()));
        let (_, body) = world.ask("GET", "/v1/upstreams", "").await;
        let first = json!({
            "node": "a:80", "addresses": ["127.0.0.1:80"], "weight": 2, "priority": -1, "in_flight": 3, "dns_error": null
        });
        assert_eq!((&body["upstreams"][0]["upstream"], &body["upstreams"][0]["nodes"][0]), (&json!("u1"), &first));
        assert_eq!((&body["total"], body["upstreams"][0]["nodes"].as_array().unwrap().len()), (&json!(2), 2));
    }

    #[tokio::test]
    async fn sessions_are_found_by_route_and_client_and_cut_at_a_limit() {
        let world = world();
        let a = world.arrive("127.0.0.1:40000");
        a.set_route(Id::parse("r1").unwrap());
        a.add_bytes(Direction::In, 3);
        let _b = world.arrive("10.0.0.7:40000");
        for (query, ids, total) in [
            ("", vec![1, 2], 2),
            ("?route=r1", vec![1], 1),
            ("?route=", vec![2], 1),
            ("?client=10.0.0.0/8", vec![2], 1),
            ("?client=127.0.0.1&route=r1", vec![1], 1),
            ("?limit=1", vec![1], 2),
        ] {
            let (_, body) = world.ask("GET", &format!("/v1/sessions{query}"), "").await;
            let found: Vec<u64> = body["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_u64().unwrap()).collect();
            assert_eq!((found, &body["total"]), (ids, &json!(total)), "{query}");
        }
        let (_, body) = world.ask("GET", "/v1/sessions?limit=1", "").await;
        let shown = json!({
            "id": 1, "listener": "a", "protocol": "tcp", "client": "127.0.0.1:40000", "local": "127.0.0.1:9100", "sni": null, "tls_version": null,
            "tls_cipher": null, "route": "r1", "node": null, "started": "1970-01-01T00:00:00.000Z", "rx_bytes": 3, "tx_bytes": 0, "ending": null
        });
        assert_eq!(body["sessions"][0], shown);
        for bad in ["?client=x", "?limit=x"] {
            assert_eq!(world.ask("GET", &format!("/v1/sessions{bad}"), "").await.0, 400, "{bad}");
        }
    }

    #[tokio::test]
    async fn an_operator_ends_a_session() {
        let world = world();
        let session = world.arrive("127.0.0.1:40000");
        assert_eq!(world.ask("DELETE", "/v1/sessions/1", "").await, (200, json!({ "ended": 1 })));
        assert_eq!(session.asked_to_end(), Some(Reason::AdminKilled));
        assert_eq!(world.ask("DELETE", "/v1/sessions/2", "").await, (404, json!({ "error_msg": "there is no session 2" })));
        assert_eq!(world.ask("DELETE", "/v1/sessions/x", "").await.0, 404);
    }

    #[tokio::test]
    async fn the_level_of_the_log_is_changed_in_any_spelling() {
        let world = world();
        for (body, level) in [("debug", "debug"), ("\"warn\"", "warn"), (r#"{"level":"error"}"#, "error"), (" info\n", "info")] {
            assert_eq!(world.ask("PUT", "/v1/log-level", body).await, (200, json!({ "level": level })), "{body}");
        }
        for bad in ["", "loud", "{}", "17"] {
            assert_eq!(world.ask("PUT", "/v1/log-level", bad).await.0, 400, "{bad}");
        }
        assert_eq!(world.ask("GET", "/v1/log-level", "").await, (200, json!({ "level": "info" })));
    }

    #[tokio::test]
    async fn schemas_are_shown_and_wrong_paths_and_verbs_are_answered_in_json() {
        let world = world();
        let (_, body) = world.ask("GET", "/v1/schema", "").await;
        assert!(Kind::ALL.into_iter().all(|kind| body[kind.singular()].is_object()));
        for (method, uri, status) in [
            ("GET", "/", 404),
            ("GET", "/v1", 404),
            ("GET", "/v2/config", 404),
            ("GET", "/v1/config/upstreams", 404),
            ("POST", "/v1/config", 405),
            ("POST", "/v1/instances", 405),
            ("GET", "/v1/sessions/1", 405),
            ("DELETE", "/v1/log-level", 405),
            ("GET", "/v1/accept", 405),
        ] {
            let (told, body) = world.ask(method, uri, "").await;
            assert!(told == status && body["error_msg"].is_string(), "{method} {uri}: {told} {body}");
        }
    }
}
