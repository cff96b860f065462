//! `conf/config.yaml` in two stages: what was typed (`tree`, `env`, `typed`, `file`), then what it means (`stream`, `http`, `check`).
//! Opens no sockets and no stores; the one file that it reads is the configuration.

mod check;
mod env;
mod error;
mod file;
mod foreign;
mod http;
mod stream;
mod tree;
mod typed;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

pub use error::{ConfError, Place};

use crate::base::cidr::Cidr;
use crate::base::id::Id;
use crate::base::nearest::nearest;
use crate::base::secret::Secret;
use error::Fault;

/// Where `run` and `check` look unless they are told otherwise.
pub const DEFAULT_PATH: &str = "conf/config.yaml";

/// What the configuration file means, defaults filled in.
#[derive(Clone, Debug)]
pub struct Conf {
    /// Which kinds of traffic are served.
    pub proxy_mode: ProxyMode,
    /// The file's own listeners, as read-only resources: those whose part the mode has.
    pub listeners: Vec<StaticListener>,
    /// The name for clients that give none by TLS: in lower case, without a trailing dot.
    pub fallback_sni: Option<Arc<str>>,
    /// Data workers; `None`: one per core.
    pub workers: Option<usize>,
    /// How long sessions may go on once the process ends.
    pub drain_timeout: Duration,
    /// Where resources are stored.
    pub provider: Provider,
    /// The prefix of all keys in the store, without a `/` at its end.
    pub prefix: String,
    /// What private keys are sealed with: the first seals, all open. Each a key, or `$env://NAME` or `$file:///path` of one.
    pub keyring: Vec<Secret<String>>,
    /// The Admin API; `None`: switched off.
    pub admin: Option<AdminConf>,
    /// Metrics and health; `None`: switched off.
    pub metrics_listen: Option<SocketAddr>,
    /// The control API; `None`: switched off.
    pub control_listen: Option<SocketAddr>,
    /// The process's log.
    pub log: LogConf,
    /// One record per session.
    pub access_log: AccessLogConf,
    /// The name of this instance, if the file gives one.
    pub instance_id: Option<Id>,
    /// What the operator should know at the start: keys that this build reads but does not serve, and risky choices.
    pub notices: Vec<String>,
}

/// Which kinds of traffic are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ProxyMode {
    /// HTTP only: stream listeners are off, and the Admin API refuses stream routes.
    #[serde(rename = "http")]
    Http,
    /// TCP and UDP only: the HTTP listeners of the file are off.
    #[serde(rename = "stream")]
    Stream,
    /// Both.
    #[default]
    #[serde(rename = "http&stream")]
    Both,
}

impl ProxyMode {
    /// Whether TCP and UDP are served.
    pub const fn stream(self) -> bool {
        matches!(self, Self::Stream | Self::Both)
    }

    /// Whether the file's HTTP listeners are opened.
    pub const fn http(self) -> bool {
        matches!(self, Self::Http | Self::Both)
    }
}

/// A listener that the file defines: a resource of kind `listeners` that nobody can change at run time.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticListener {
    /// `conf-tcp-<n>`, `conf-udp-<n>` or `conf-http-<n>`, by its position in the list.
    pub id: Id,
    /// A listener resource; not validated here.
    pub value: serde_json::Value,
}

/// Where resources are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// In a file of this process.
    Embedded {
        /// The file.
        path: PathBuf,
    },
    /// In an etcd cluster.
    Etcd(EtcdConf),
}

/// An etcd cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdConf {
    /// Its members, `http://host:port` or all `https`; at least one.
    pub hosts: Vec<String>,
    /// How long one member may take for one answer.
    pub timeout: Duration,
    /// Name and password.
    pub user: Option<(String, Secret<String>)>,
    /// TLS beyond the system's authorities.
    pub tls: Option<EtcdTlsConf>,
    /// Where the last good set is kept for a start without the cluster; `None`: nowhere.
    pub last_good: Option<PathBuf>,
}

/// TLS to etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdTlsConf {
    /// PEM files of our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A PEM file of authorities; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// The name that the servers' certificates must have; `None`: the host's.
    pub sni: Option<String>,
    /// Any certificate of a server is taken.
    pub unverified: bool,
}

/// The Admin API.
#[derive(Clone, Debug)]
pub struct AdminConf {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may connect; never empty.
    pub allow: Vec<Cidr>,
    /// The keys; at least one.
    pub keys: Vec<AdminKey>,
    /// False: no key is asked for.
    pub key_required: bool,
}

/// One key of the Admin API.
#[derive(Clone, Debug)]
pub struct AdminKey {
    /// Who it stands for, in logs.
    pub name: String,
    /// The key; `None`: one has to be generated.
    pub key: Option<Secret<String>>,
    /// What it allows.
    pub role: Role,
}

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reading and writing.
    Admin,
    /// Reading.
    Viewer,
}

/// The process's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConf {
    /// The least level that is written.
    pub level: tracing::level_filters::LevelFilter,
    /// How lines look.
    pub format: LogFormat,
}

/// How lines of the process's log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// One record per session.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogConf {
    /// Whether records are written.
    pub enabled: bool,
    /// How they look.
    pub format: AccessFormat,
    /// The file; `None`: standard output.
    pub path: Option<PathBuf>,
    /// The share of sessions that is recorded, 0 to 1.
    pub sample: f64,
}

/// How access records look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// `key=value` pairs.
    Logfmt,
}

/// Reads a configuration file. `env` looks environment variables up.
///
/// # Errors
/// The file cannot be read, is not YAML, has an unknown key or a value without a meaning; the first such thing is told.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Conf, ConfError> {
    let source = std::fs::read_to_string(path)
        .map_err(|error| ConfError::new(path, "", Fault::new(Place::Nowhere, format!("cannot be read: {error}"))))?;
    parse(path, &source, env)
}

/// The same for a text; `path` is only for error messages.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, source: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Conf, ConfError> {
    let read = || {
        let mut root = tree::parse(source)?;
        env::substitute(&mut root, env)?;
        same_top_key(&mut root)?;
        check::meaning(typed::read::<file::File>(&root, env)?)
    };
    read().map_err(|fault| ConfError::new(path, source, fault))
}

/// [`load`] with the environment of this process. A variable that looks like an override and is none is an error.
///
/// # Errors
/// As [`load`].
pub fn load_from_process(path: &Path) -> Result<Conf, ConfError> {
    let asked = RefCell::new(BTreeSet::new());
    let conf = load(path, &|name| {
        asked.borrow_mut().insert(name.to_owned());
        std::env::var(name).ok()
    })?;
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    match stray(names, &asked.borrow()) {
        Some(fault) => Err(ConfError::new(path, "", fault)),
        None => Ok(conf),
    }
}

/// The first variable that is named like the override of a key that there is not.
fn stray(names: impl Iterator<Item = String>, asked: &BTreeSet<String>) -> Option<Fault> {
    let override_like = |name: &String| name.starts_with(env::PREFIX) && name.contains("__");
    let name = names.filter(override_like).find(|name| !asked.contains(name))?;
    let near = nearest(&name, asked.iter().map(String::as_str)).map(|near| format!(" (did you mean {near}?)"));
    Some(Fault::new(Place::Variable(name), format!("stands for no key{}", near.unwrap_or_default())))
}

/// APISIX's name of the top key is read as ours.
fn same_top_key(root: &mut tree::Node) -> Result<(), Fault> {
    let tree::Body::Map(entries) = &mut root.body else { return Ok(()) };
    let ours = entries.iter().any(|(name, _)| name.text == "gateway");
    let Some((name, _)) = entries.iter_mut().find(|(name, _)| name.text == "apisix") else { return Ok(()) };
    if ours {
        return Err(Fault::new(name.place.clone(), "`apisix` and `gateway` are the same key; keep one of them"));
    }
    "gateway".clone_into(&mut name.text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_overrides_nothing_is_told_with_the_nearest_one() {
        let asked = BTreeSet::from(["SLUICE_GATEWAY__WORKERS".to_owned()]);
        let names = ["PATH", "SLUICE_HOME", "SLUICE_GATEWAY__WORKERS", "SLUICE_GATEWAY__WORKER"];
        let fault = stray(names.iter().map(|n| (*n).to_owned()), &asked).unwrap();
        assert_eq!(fault.place, Place::Variable("SLUICE_GATEWAY__WORKER".into()));
        assert_eq!(fault.text, "stands for no key (did you mean SLUICE_GATEWAY__WORKERS?)");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(Path::new("nowhere/config.yaml"), &|_| None).unwrap_err();
        assert!(error.to_string().starts_with("nowhere/config.yaml: cannot be read: "), "{error}");
    }

    #[test]
    fn debug_output_never_holds_a_key() {
        let text = "deployment: {admin: {admin_key: [{name: a, key: hunter2, role: admin}]}}";
        let conf = parse(Path::new("c"), text, &|_| None).unwrap();
        assert!(!format!("{conf:?}").contains("hunter2"));
    }
}
