//! One line per ended session or request: what it says, and how. Writes to no file.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::stamp::rfc3339;
use crate::base::addr::Protocol;
use crate::base::id::Id;
use crate::base::reason::Reason;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object; what does not apply is `null`.
    #[default]
    Json,
    /// `key=value` pairs; what does not apply is empty.
    Logfmt,
}

impl AccessFormat {
    /// Appends the line of a record, its end included.
    pub(super) fn write(self, out: &mut Vec<u8>, record: &Record, instance: &str) {
        match self {
            Self::Json => json(out, record, instance),
            Self::Logfmt => logfmt(out, record, instance),
        }
    }
}

/// What is told of an ended session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it ended, by the wall clock.
    pub ts: SystemTime,
    /// Its number in this process.
    pub session_id: u64,
    /// The route that it matched.
    pub route: Option<Id>,
    /// The listener that accepted it.
    pub listener: Id,
    /// What it spoke.
    pub proto: Protocol,
    /// The client: the peer, or whom a trusted peer speaks for.
    pub client: SocketAddr,
    /// The peer, where it is not the client.
    pub peer_addr: Option<SocketAddr>,
    /// The address that the client connected to.
    pub local_addr: SocketAddr,
    /// The name that the client asked for by TLS.
    pub sni: Option<Box<str>>,
    /// The version of TLS that the client speaks, where TLS ends here.
    pub tls_version: Option<&'static str>,
    /// Its cipher suite.
    pub tls_cipher: Option<&'static str>,
    /// The upstream: its id, or `stream_routes/<id>` for one written into a route.
    pub upstream: Option<Arc<str>>,
    /// The node that it was connected to, or the last that was tried.
    pub endpoint: Option<Arc<str>>,
    /// Connects that were tried after the first.
    pub retries: u32,
    /// How long the connect that succeeded took.
    pub connect: Option<Duration>,
    /// How long the session lasted, from its acceptance.
    pub duration: Duration,
    /// Bytes from the client to the upstream.
    pub rx_bytes: u64,
    /// Bytes from the upstream to the client.
    pub tx_bytes: u64,
    /// Datagrams from the client to the upstream and back; of UDP only.
    pub datagrams: Option<[u64; 2]>,
    /// Why it ended; the side follows from it.
    pub reason: Reason,
    /// The revision of the configuration that it was routed by.
    pub config_revision: u64,
    /// Of a request: what was asked and answered. The other fields are the request's own then, its session that of its connection.
    pub http: Option<Box<HttpRecord>>,
}

/// What is told of an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRecord {
    /// The method.
    pub method: Box<str>,
    /// `Host` or `:authority`.
    pub host: Box<str>,
    /// The path as sent, without the query: that may hold secrets.
    pub path: Box<str>,
    /// The version that the client spoke, as `HTTP/1.1`.
    pub version: &'static str,
    /// The status; 0 if there was no answer.
    pub status: u16,
    /// The `User-Agent`.
    pub user_agent: Option<Box<str>>,
}

/// A field's value.
enum Field<'a> {
    None,
    Number(u64),
    Millis(Duration),
    Text(std::borrow::Cow<'a, str>),
}

impl<'a> From<&'a str> for Field<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<Option<&'a str>> for Field<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::None, Self::from)
    }
}

/// Every field of a line, in its order: the one list for all formats.
fn fields<'a>(record: &'a Record, instance: &'a str) -> [(&'static str, Field<'a>); 25] {
    let datagrams = |at: usize| record.datagrams.and_then(|d| d.get(at).copied()).map_or(Field::None, Field::Number);
    [
        ("ts", Field::Text(rfc3339(record.ts).into())),
        ("session_id", Field::Number(record.session_id)),
        ("instance", instance.into()),
        ("route", record.route.as_ref().map(Id::as_str).into()),
        ("listener", record.listener.as_str().into()),
        ("proto", record.proto.as_str().into()),
        ("client_ip", Field::Text(record.client.ip().to_string().into())),
        ("client_port", Field::Number(record.client.port().into())),
        ("peer_addr", record.peer_addr.map_or(Field::None, |peer| Field::Text(peer.to_string().into()))),
        ("local_addr", Field::Text(record.local_addr.to_string().into())),
        ("sni", record.sni.as_deref().into()),
        ("tls_version", record.tls_version.into()),
        ("tls_cipher", record.tls_cipher.into()),
        ("upstream", record.upstream.as_deref().into()),
        ("endpoint", record.endpoint.as_deref().into()),
        ("retries", Field::Number(record.retries.into())),
        ("connect_ms", record.connect.map_or(Field::None, Field::Millis)),
        ("duration_ms", Field::Millis(record.duration)),
        ("rx_bytes", Field::Number(record.rx_bytes)),
        ("tx_bytes", Field::Number(record.tx_bytes)),
        ("rx_datagrams", datagrams(0)),
        ("tx_datagrams", datagrams(1)),
        ("reason", record.reason.as_str().into()),
        ("side", record.reason.side().as_str().into()),
        ("config_revision", Field::Number(record.config_revision)),
    ]
}

/// The further fields of the line of a request, in their order.
fn http_fields(record: &Record) -> impl Iterator<Item = (&'static str, Field<'_>)> {
    record.http.as_deref().into_iter().flat_map(|http| {
        [
            ("method", Field::from(&*http.method)),
            ("host", (&*http.host).into()),
            ("path", (&*http.path).into()),
            ("http_version", http.version.into()),
            ("status", Field::Number(http.status.into())),
            ("user_agent", http.user_agent.as_deref().into()),
        ]
    })
}

/// Milliseconds with three decimals: a connect on one machine takes less than one.
fn millis(time: Duration) -> String {
    format!("{}.{:03}", time.as_millis(), time.subsec_micros() % 1000)
}

fn json(out: &mut Vec<u8>, record: &Record, instance: &str) {
    let mut before = '{';
    for (name, field) in fields(record, instance).into_iter().chain(http_fields(record)) {
        // writing into a vector cannot fail
        let _ = write!(out, "{before}\"{name}\":");
        before = ',';
        let _ = match field {
            Field::None => out.write_all(b"null"),
            Field::Number(n) => write!(out, "{n}"),
            Field::Millis(time) => out.write_all(millis(time).as_bytes()),
            Field::Text(text) => serde_json::to_writer(&mut *out, &text).map_err(io::Error::from),
        };
    }
    out.extend_from_slice(b"}\n");
}

fn logfmt(out: &mut Vec<u8>, record: &Record, instance: &str) {
    let mut before = "";
    for (name, field) in fields(record, instance).into_iter().chain(http_fields(record)) {
        let _ = write!(out, "{before}{name}=");
        before = " ";
        let _ = match field {
            Field::None => Ok(()),
            Field::Number(n) => write!(out, "{n}"),
            Field::Millis(time) => out.write_all(millis(time).as_bytes()),
            Field::Text(text) if plain(&text) => out.write_all(text.as_bytes()),
            Field::Text(text) => serde_json::to_writer(&mut *out, &text).map_err(io::Error::from),
        };
    }
    out.push(b'\n');
}

/// Whether logfmt needs no quotes around it.
fn plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'=' | b'\\'))
}

#[cfg(test)]
pub(super) mod fixture {
    use super::*;

    /// What is told of some session.
    pub(in crate::telemetry) fn record(session_id: u64) -> Record {
        Record {
            ts: SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567_890_123),
            session_id,
            route: Some(Id::parse("r1").unwrap()),
            listener: Id::parse("conf-tcp-0").unwrap(),
            proto: Protocol::Tcp,
            client: "[::1]:40000".parse().unwrap(),
            peer_addr: None,
            local_addr: "127.0.0.1:9100".parse().unwrap(),
            sni: Some("a.test.com".into()),
            tls_version: Some("TLSv1.3"),
            tls_cipher: None,
            upstream: Some("u1".into()),
            endpoint: Some("127.0.0.1:1995".into()),
            retries: 1,
            connect: Some(Duration::from_micros(1250)),
            duration: Duration::from_millis(30),
            rx_bytes: 3,
            tx_bytes: 12,
            datagrams: None,
            reason: Reason::UpstreamReset,
            config_revision: 17,
            http: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::record;
    use super::*;

    #[test]
    fn a_request_tells_what_was_asked_and_answered_beside_what_every_session_tells() {
        let http = HttpRecord {
            method: "GET".into(),
            host: "a.com".into(),
            path: "/x".into(),
            version: "HTTP/1.1",
            status: 204,
            user_agent: None,
        };
        let record = Record { http: Some(Box::new(http)), ..record(3) };
        let mut line = Vec::new();
        json(&mut line, &record, "edge-1");
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let told = (&line["method"], &line["host"], &line["path"], &line["http_version"], &line["status"], &line["user_agent"]);
        let none = serde_json::Value::Null;
        assert_eq!(told, (&"GET".into(), &"a.com".into(), &"/x".into(), &"HTTP/1.1".into(), &204.into(), &none));
        assert_eq!(line["session_id"], record.session_id);
    }

    #[test]
    fn a_json_line_has_every_field() {
        let mut out = Vec::new();
        json(&mut out, &record(7), "gw-1");
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            line,
            serde_json::json!({
                "ts": "2009-02-13T23:31:30.123Z", "session_id": 7, "instance": "gw-1", "route": "r1", "listener": "conf-tcp-0",
                "proto": "tcp", "client_ip": "::1", "client_port": 40000, "peer_addr": null, "local_addr": "127.0.0.1:9100",
                "sni": "a.test.com", "tls_version": "TLSv1.3", "tls_cipher": null,
                "upstream": "u1", "endpoint": "127.0.0.1:1995", "retries": 1, "connect_ms": 1.25, "duration_ms": 30.0, "rx_bytes": 3,
                "tx_bytes": 12, "rx_datagrams": null, "tx_datagrams": null, "reason": "upstream_reset", "side": "upstream", "config_revision": 17
            })
        );
        assert_eq!(out.iter().position(|b| *b == b'\n'), Some(out.len() - 1));
    }

    #[test]
    fn a_session_that_matched_nothing_says_so_in_both_formats() {
        let nothing = Record { route: None, upstream: None, endpoint: None, connect: None, reason: Reason::NoRoute, ..record(1) };
        let (mut a, mut b) = (Vec::new(), Vec::new());
        json(&mut a, &nothing, "a");
        logfmt(&mut b, &nothing, "two words");
        let line: serde_json::Value = serde_json::from_slice(&a).unwrap();
        assert!(line["route"].is_null() && line["connect_ms"].is_null());
        let line = String::from_utf8(b).unwrap();
        assert!(line.contains(" route= ") && line.contains(" instance=\"two words\" "), "{line}");
        assert!(line.ends_with(" reason=no_route side=gateway config_revision=17\n"), "{line}");
    }
}
