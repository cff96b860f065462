//! What `deployment.etcd` means where etcd is the provider.

use std::time::Duration;

use crate::conf::EtcdConf;
use crate::conf::error::{Fault, Place};
use crate::conf::file::{Etcd, EtcdTls};
use crate::conf::typed::At;

const HOST: &str = "http://127.0.0.1:2379";
const TIMEOUT: Duration = Duration::from_secs(5);

/// The cluster; what is missing is etcd's own default.
pub(super) fn meaning(etcd: &Etcd) -> Result<EtcdConf, Fault> {
    let hosts = hosts(etcd.host.as_ref())?;
    let login = match (&etcd.user, &etcd.password) {
        (Some(user), Some(password)) => Some((user.value.clone(), password.clone())),
        (Some(user), None) => return Err(Fault::new(user.place.clone(), "`deployment.etcd.user`: a user needs a `password`")),
        (None, Some(_)) => return Err(Fault::new(Place::Nowhere, "`deployment.etcd.password`: a password needs a `user`")),
        (None, None) => None,
    };
    let EtcdTls { cert, key, ca, verify, sni } = &etcd.tls;
    if let Some(verify) = verify.as_ref().filter(|v| !v.value) {
        let text = "`deployment.etcd.tls.verify`: members are always verified; name their authority in `ca`";
        return Err(Fault::new(verify.place.clone(), text));
    }
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert.value.clone(), key.value.clone())),
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            return Err(Fault::new(one.place.clone(), "`deployment.etcd.tls`: `cert` and `key` need each other"));
        }
    };
    Ok(EtcdConf { hosts, timeout: etcd.timeout.unwrap_or(TIMEOUT), login, identity, ca: ca.clone(), sni: sni.clone() })
}

fn hosts(given: Option<&At<Vec<String>>>) -> Result<Vec<String>, Fault> {
    let Some(At { place, value }) = given else { return Ok(vec![HOST.to_owned()]) };
    let wrong = |text: &str| Err(Fault::new(place.clone(), format!("`deployment.etcd.host`: {text}")));
    let secure = |host: &String| host.starts_with("https://");
    if value.is_empty() {
        return wrong("at least one member");
    }
    if let Some(bad) = value.iter().find(|h| !secure(h) && !h.starts_with("http://")) {
        return wrong(&format!("{bad} begins with neither http:// nor https://"));
    }
    if value.iter().any(secure) && !value.iter().all(secure) {
        return wrong("all members have one scheme, http or https");
    }
    Ok(value.clone())
}
