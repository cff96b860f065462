//! What `deployment.admin` means: where the Admin API listens, whom it lets in, which keys. Never shows a key.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::ports::Claim;
use crate::base::cidr::Cidr;
use crate::base::secret::Secret;
use crate::conf::error::{Fault, Place};
use crate::conf::file::{Admin, AdminListen, KeyEntry};
use crate::conf::typed::At;
use crate::conf::{AdminConf, AdminKey, Role};

const PORT: u16 = 9180;

/// Keys that stand in public documents. They open the Admin API on loopback only.
const WELL_KNOWN: [&str; 2] = ["edd1c9f034335f136f87ad84b625c8f1", "4054f7cf07e344346cd3f287985e76a2"];

pub(super) fn meaning(admin: Admin, claims: &mut Vec<Claim>, notices: &mut Vec<String>) -> Result<AdminConf, Fault> {
    let listen = listen(&admin.admin_listen, claims);
    let keys = keys(admin.admin_key.unwrap_or_default(), listen, notices)?;
    let key_required = admin.admin_key_required.unwrap_or(true);
    if !key_required {
        notices.push(format!("deployment.admin.admin_key_required is false: whoever reaches {listen} can change everything"));
    }
    let allow = match admin.allow_admin {
        Some(list) if list.is_empty() => blocks(&["0.0.0.0/0", "::/0"]),
        Some(list) => list,
        None => blocks(&["127.0.0.0/8", "::1/128"]),
    };
    Ok(AdminConf { listen, allow, keys, key_required })
}

fn blocks(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn listen(given: &AdminListen, claims: &mut Vec<Claim>) -> SocketAddr {
    let ip = given.ip.as_ref().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ip| ip.value.0);
    let port = given.port.as_ref().map_or(PORT, |port| port.value);
    let places = [given.port.as_ref().map(|p| &p.place), given.ip.as_ref().map(|ip| &ip.place)];
    let place = places.into_iter().flatten().next().cloned().unwrap_or(Place::Nowhere);
    let addr = SocketAddr::new(ip, port);
    claims.push(Claim { key: "deployment.admin.admin_listen", place, addr });
    addr
}

fn keys(given: Vec<At<KeyEntry>>, listen: SocketAddr, notices: &mut Vec<String>) -> Result<Vec<AdminKey>, Fault> {
    let mut names = BTreeSet::new();
    let mut keys: Vec<AdminKey> = Vec::new();
    for At { place, value: KeyEntry { name, key, role } } in given {
        let fault = |text: String| Err(Fault::new(place.clone(), format!("`deployment.admin.admin_key`: {text}")).veiled());
        if !names.insert(name.clone()) {
            return fault(format!("two keys are named `{name}`"));
        }
        let key = key.filter(|key| !key.reveal().is_empty());
        if key.is_some() && keys.iter().any(|other| other.key == key) {
            return fault(format!("the key of `{name}` is another one's, too"));
        }
        if well_known(key.as_ref()) {
            if !listen.ip().to_canonical().is_loopback() {
                return fault(format!(
                    "the key of `{name}` stands in public documents: it is taken only while the Admin API listens on loopback, and it \
                     listens on {listen}. Choose another key, or leave it empty and one is generated"
                ));
            }
            notices.push(format!("deployment.admin.admin_key: the key of `{name}` stands in public documents"));
        }
        keys.push(AdminKey { name, key, role });
    }
    if keys.is_empty() {
        keys.push(AdminKey { name: "admin".to_owned(), key: None, role: Role::Admin });
    }
    Ok(keys)
}

fn well_known(key: Option<&Secret<String>>) -> bool {
    key.is_some_and(|key| WELL_KNOWN.contains(&key.reveal().as_str()))
}
