//! What the typed file means: defaults, contradictions, and what this build does not serve. Reads no file and no environment.

mod admin;
mod etcd;
mod later;
mod ports;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::error::{Fault, Place};
use super::file::{Etcd, File, Listen, PathOnly, ProviderName, ProxyProtocol, StreamProxy, Telemetry};
use super::http;
use super::stream::{Claimed, listeners};
use super::typed::At;
use super::{AccessLogConf, Conf, LogConf, Provider, ProxyMode};
use crate::base::addr::Transport;
use crate::base::seal::is_published;
use crate::base::sni::SniPattern;
use ports::Claim;

const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const STORE_PATH: &str = "data/sluice.redb";
const STORE_PREFIX: &str = "/sluice";
const METRICS_PORT: u16 = 9091;
const CONTROL_PORT: u16 = 9092;

/// The meaning of a typed file.
pub(super) fn meaning(file: File) -> Result<Conf, Fault> {
    let mut notices = later::notices(&file);
    let File { gateway, deployment, telemetry } = file;
    let proxy_mode = gateway.proxy_mode.unwrap_or_default();
    let StreamProxy { tcp, udp } = gateway.stream_proxy;
    let tcp = listeners(Transport::Tcp, tcp, &gateway.proxy_protocol)?;
    let udp = listeners(Transport::Udp, udp, &gateway.proxy_protocol)?;
    notices.extend(trusts_nobody(&tcp, &gateway.proxy_protocol));
    let secure = gateway.ssl.listen.filter(|_| gateway.ssl.enable != Some(false));
    let http = http::listeners(gateway.node_listen, secure)?;
    let (tcp, udp) = served(proxy_mode, tcp, udp, &mut notices);
    let http = if proxy_mode.http() { http } else { off(&http, &mut notices) };

    let fallback_sni = gateway.ssl.fallback_sni.map(fallback_sni).transpose()?;
    let prefix = prefix(deployment.etcd.prefix.clone())?;
    let provider = provider(deployment.config_provider, deployment.embedded, deployment.etcd, &mut notices)?;
    if gateway.data_encryption.keyring.first().is_some_and(|first| is_published(first.reveal())) {
        let text = "gateway.data_encryption.keyring: the first key is one that APISIX publishes: everybody can open what it seals";
        notices.push(text.to_owned());
    }
    let mut claims = Vec::new();
    let admin = match gateway.enable_admin {
        Some(false) => None,
        Some(true) | None => Some(admin::meaning(deployment.admin, &mut claims, &mut notices)?),
    };
    let metrics_listen = listen(telemetry.metrics_listen.as_ref(), METRICS_PORT, "telemetry.metrics_listen", &mut claims);
    let control_listen = listen(telemetry.control_listen.as_ref(), CONTROL_PORT, "telemetry.control_listen", &mut claims);
    if let Some(addr) = control_listen.filter(|addr| !addr.ip().is_loopback()) {
        notices.push(format!("telemetry.control_listen: whoever reaches {addr} can read the configuration and end sessions"));
    }
    ports::clash(&claims, &tcp, &http)?;
    let (log, access_log) = logs(telemetry);

    Ok(Conf {
        proxy_mode,
        listeners: tcp.into_iter().chain(udp).chain(http).map(|claimed| claimed.listener).collect(),
        fallback_sni,
        workers: gateway.workers,
        drain_timeout: gateway.drain_timeout.unwrap_or(DRAIN_TIMEOUT),
        provider,
        prefix,
        keyring: gateway.data_encryption.keyring,
        admin,
        metrics_listen,
        control_listen,
        log,
        access_log,
        instance_id: deployment.instance_id,
        notices,
    })
}

/// The listeners that the mode leaves on.
fn served(mode: ProxyMode, tcp: Vec<Claimed>, udp: Vec<Claimed>, notices: &mut Vec<String>) -> (Vec<Claimed>, Vec<Claimed>) {
    if mode.stream() || (tcp.is_empty() && udp.is_empty()) {
        return (tcp, udp);
    }
    notices.push("gateway.stream_proxy: off, since gateway.proxy_mode is http".to_owned());
    (Vec::new(), Vec::new())
}

/// The HTTP listeners of a mode without HTTP: none.
fn off(http: &[Claimed], notices: &mut Vec<String>) -> Vec<Claimed> {
    for key in http.iter().map(|claimed| claimed.key).collect::<BTreeSet<_>>() {
        notices.push(format!("{key}: off, since gateway.proxy_mode is stream"));
    }
    Vec::new()
}

/// A header that every client has to send and that is never believed is seldom what was meant.
fn trusts_nobody(tcp: &[Claimed], pp: &ProxyProtocol) -> Option<String> {
    let accepts = tcp.iter().any(|claimed| claimed.listener.value.get("proxy_protocol").is_some());
    let text = "gateway.proxy_protocol.trusted: absent, so PROXY headers are wanted, and what they say is ignored";
    (accepts && pp.trusted.is_none()).then(|| text.to_owned())
}

fn fallback_sni(At { place, value }: At<String>) -> Result<Arc<str>, Fault> {
    match SniPattern::parse(&value) {
        Ok(SniPattern::Exact(name)) => Ok(name),
        Ok(SniPattern::Wildcard(_) | SniPattern::Any) | Err(_) => {
            Err(Fault::new(place, format!("`gateway.ssl.fallback_sni`: {value:?} is not the name of a server")))
        }
    }
}

fn provider(name: Option<At<ProviderName>>, embedded: PathOnly, etcd: Etcd, notices: &mut Vec<String>) -> Result<Provider, Fault> {
    match name {
        Some(At { value: ProviderName::Embedded, .. }) | None => {
            Ok(Provider::Embedded { path: embedded.path.unwrap_or_else(|| STORE_PATH.into()) })
        }
        Some(At { value: ProviderName::Etcd, .. }) => Ok(Provider::Etcd(etcd::meaning(etcd, notices)?)),
        Some(At { place, value: ProviderName::File }) => Err(Fault::new(place, "this build does not serve config_provider file yet")),
    }
}

fn prefix(given: Option<At<String>>) -> Result<String, Fault> {
    let Some(At { place, value }) = given else { return Ok(STORE_PREFIX.to_owned()) };
    if value.len() > 1 && value.starts_with('/') && !value.ends_with('/') {
        Ok(value)
    } else {
        Err(Fault::new(place, "`deployment.etcd.prefix`: it starts with `/`, does not end with it, and has more than that"))
    }
}

/// An address of ours, and its claim to it.
fn listen(given: Option<&At<Listen>>, port: u16, key: &'static str, claims: &mut Vec<Claim>) -> Option<std::net::SocketAddr> {
    let (addr, place) = match given {
        Some(At { place, value: Listen(addr) }) => ((*addr)?, place.clone()),
        None => (([127, 0, 0, 1], port).into(), Place::Nowhere),
    };
    claims.push(Claim { key, place, addr });
    Some(addr)
}

fn logs(telemetry: Telemetry) -> (LogConf, AccessLogConf) {
    let (log, access) = (telemetry.log, telemetry.access_log);
    let log = LogConf { level: log.level.unwrap_or(LevelFilter::INFO), format: log.format.unwrap_or_default() };
    let access_log = AccessLogConf {
        enabled: access.enabled.unwrap_or(true),
        format: access.format.unwrap_or_default(),
        path: access.path,
        sample: access.sample.unwrap_or(1.0),
    };
    (log, access_log)
}
