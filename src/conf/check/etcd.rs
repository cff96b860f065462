//! What `deployment.etcd` means: where the cluster is, who we are there, which files TLS needs. Reads none of them.

use std::time::Duration;

use crate::conf::error::{Fault, Place};
use crate::conf::file::{Etcd, EtcdTls};
use crate::conf::typed::At;
use crate::conf::{EtcdConf, EtcdTlsConf};

const HOST: &str = "http://127.0.0.1:2379";
const TIMEOUT: Duration = Duration::from_secs(5);
const LAST_GOOD: &str = "data/last-good.etcd";
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);

pub(super) fn meaning(etcd: Etcd, notices: &mut Vec<String>) -> Result<EtcdConf, Fault> {
    let (hosts, secure) = hosts(etcd.host)?;
    let timeout = match etcd.timeout {
        Some(At { place, value }) if value < SHORTEST_TIMEOUT => return Err(fault(place, "timeout", "expected at least 100ms")),
        Some(At { value, .. }) => value,
        None => TIMEOUT,
    };
    let user = match (etcd.user, etcd.password) {
        (Some(user), Some(password)) => Some((user.value, password.value)),
        (Some(user), None) => return Err(fault(user.place, "user", "there is no `password` beside it")),
        (None, Some(password)) => return Err(fault(password.place, "password", "there is no `user` beside it")),
        (None, None) => None,
    };
    if user.is_some() && !secure {
        notices.push("deployment.etcd.password: it crosses the network in clear, since the hosts are http".to_owned());
    }
    let tls = tls(etcd.tls, secure)?;
    if tls.as_ref().is_some_and(|tls| tls.unverified) {
        notices.push("deployment.etcd.tls.verify is false: whoever sits between can read and change everything".to_owned());
    }
    let last_good = etcd.last_good.map_or_else(|| Some(LAST_GOOD.into()), |given| given.0);
    Ok(EtcdConf { hosts, timeout, user, tls, last_good })
}

/// The hosts, and whether they are spoken to through TLS.
fn hosts(given: Option<At<Vec<At<String>>>>) -> Result<(Vec<String>, bool), Fault> {
    let Some(At { place, value: list }) = given else { return Ok((vec![HOST.to_owned()], false)) };
    let mut secure = None;
    let mut hosts: Vec<String> = Vec::new();
    for At { place, value } in list {
        let is_https = scheme(&value).ok_or_else(|| fault(place.clone(), "host", "expected http://host:port or https://host:port"))?;
        if *secure.get_or_insert(is_https) != is_https {
            return Err(fault(place, "host", "all hosts are http or all are https"));
        }
        let host = value.trim_end_matches('/').to_owned();
        if hosts.contains(&host) {
            return Err(fault(place, "host", "it stands here for the second time"));
        }
        hosts.push(host);
    }
    match secure {
        Some(secure) => Ok((hosts, secure)),
        None => Err(fault(place, "host", "expected at least one")),
    }
}

/// Whether it is https; `None`: it is no address of a host.
fn scheme(url: &str) -> Option<bool> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = authority.rsplit_once(':')?;
    let is_host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    match (scheme, is_host && is_port) {
        ("http", true) => Some(false),
        ("https", true) => Some(true),
        _ => None,
    }
}

/// What is said beyond https; `None`: nothing.
fn tls(given: EtcdTls, secure: bool) -> Result<Option<EtcdTlsConf>, Fault> {
    let EtcdTls { cert, key, ca, verify, sni } = given;
    let unverified = verify.as_ref().is_some_and(|verify| !verify.value);
    if let (true, Some(ca)) = (unverified, &ca) {
        return Err(fault(ca.place.clone(), "tls.ca", "`verify` is false: no authority is asked"));
    }
    let paths = [&cert, &key, &ca].map(|path| path.as_ref().map(|path| &path.place));
    let unverified_place = verify.as_ref().filter(|verify| !verify.value).map(|verify| &verify.place);
    let place = paths.into_iter().flatten().chain(sni.as_ref().map(|name| &name.place)).chain(unverified_place).next().cloned();
    match place {
        Some(place) if !secure => return Err(fault(place, "tls", "the hosts are http: write https")),
        Some(_) => {}
        None => return Ok(None),
    }
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert.value, key.value)),
        (None, None) => None,
        (Some(cert), None) => return Err(fault(cert.place, "tls.cert", "there is no `key` beside it")),
        (None, Some(key)) => return Err(fault(key.place, "tls.key", "there is no `cert` beside it")),
    };
    Ok(Some(EtcdTlsConf { identity, ca: ca.map(|ca| ca.value), sni: sni.map(|sni| sni.value), unverified }))
}

fn fault(place: Place, key: &str, text: &str) -> Fault {
    Fault::new(place, format!("`deployment.etcd.{key}`: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_scheme_a_name_and_a_port() {
        for (url, secure) in [("http://127.0.0.1:2379", false), ("https://etcd-0.x:2379/", true), ("https://[::1]:2379", true)] {
            assert_eq!(scheme(url), Some(secure), "{url}");
        }
        for url in [
            "127.0.0.1:2379",
            "etcd",
            "ftp://a:1",
            "http://a",
            "http://:1",
            "http://a:0",
            "http://a:70000",
            "http://a:1/x",
            "http://u:p@a:1",
            "http://[::g]:1",
            "",
        ] {
            assert_eq!(scheme(url), None, "{url}");
        }
    }
}
