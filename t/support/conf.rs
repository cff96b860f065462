//! The configuration file of a test's gateway, as YAML text.

use std::fmt::Write as _;
use std::path::Path;

use super::ports;

/// The key that the Admin API of test gateways takes.
pub const KEY: &str = "test-key-of-the-administrator-01";
/// The key that may only read.
pub const VIEWER: &str = "test-key-of-the-viewer-000000002";

/// A configuration in the making. Ports that are not given are free ones.
#[derive(Clone, Debug)]
pub struct Conf {
    /// The top key: `gateway`, or `apisix` as in the seed.
    pub top: &'static str,
    /// Entries of `stream_proxy.tcp`, as YAML scalars.
    pub tcp: Vec<String>,
    /// Entries of `node_listen`.
    pub http: Vec<String>,
    /// Entries of `ssl.listen`.
    pub https: Vec<String>,
    /// Entries of `stream_proxy.udp`.
    pub udp: Vec<String>,
    /// What stands under `proxy_protocol`, in braces.
    pub proxy_protocol: Option<String>,
    pub admin_ip: String,
    pub admin_port: u16,
    pub metrics_port: u16,
    pub control_port: u16,
    pub admin_key: String,
    pub drain_timeout: Option<String>,
    pub workers: Option<usize>,
    /// The members of an etcd cluster, which then is the store, and what else is said of it.
    pub etcd: Vec<String>,
    pub etcd_login: Option<(String, String)>,
    /// The prefix of all keys there, if it is not the usual one.
    pub prefix: Option<String>,
    /// Where the last good set of that cluster is kept, if not in the gateway's own folder.
    pub last_good: Option<std::path::PathBuf>,
    pub instance: Option<String>,
    /// `data_encryption.keyring`, as YAML.
    pub keyring: Option<String>,
    pub fallback_sni: Option<String>,
    /// Where the store lives, if not in the gateway's own folder.
    pub store: Option<std::path::PathBuf>,
}

impl Conf {
    pub fn new() -> Self {
        Self {
            top: "gateway",
            tcp: Vec::new(),
            http: Vec::new(),
            https: Vec::new(),
            udp: Vec::new(),
            proxy_protocol: None,
            admin_ip: "127.0.0.1".into(),
            admin_port: ports::free(),
            metrics_port: ports::free(),
            control_port: ports::free(),
            admin_key: KEY.into(),
            drain_timeout: None,
            workers: None,
            store: None,
            etcd: Vec::new(),
            etcd_login: None,
            prefix: None,
            last_good: None,
            instance: None,
            keyring: None,
            fallback_sni: None,
        }
    }

    /// Adds a TCP listener: an entry as it stands in the YAML list.
    pub fn tcp(mut self, entry: impl std::fmt::Display) -> Self {
        self.tcp.push(entry.to_string());
        self
    }

    /// Adds a UDP listener.
    pub fn udp(mut self, entry: impl std::fmt::Display) -> Self {
        self.udp.push(entry.to_string());
        self
    }

    /// Adds an HTTP listener: an entry as it stands in the YAML list.
    pub fn http(mut self, entry: impl std::fmt::Display) -> Self {
        self.http.push(entry.to_string());
        self
    }

    /// Adds an HTTPS listener: an entry as it stands in the YAML list.
    pub fn https(mut self, entry: impl std::fmt::Display) -> Self {
        self.https.push(entry.to_string());
        self
    }

    /// The store is this etcd, and the gateway has a name of its own in the fleet.
    pub fn etcd(mut self, members: &[String], instance: &str) -> Self {
        (self.etcd, self.instance) = (members.to_vec(), Some(instance.into()));
        self
    }

    /// What private keys are sealed with, as YAML: one entry, or a list.
    pub fn keyring(mut self, yaml: &str) -> Self {
        self.keyring = Some(yaml.into());
        self
    }

    /// The name for clients that give none by TLS.
    pub fn fallback_sni(mut self, name: &str) -> Self {
        self.fallback_sni = Some(name.into());
        self
    }

    /// The switches of the PROXY protocol, as a YAML map in braces.
    pub fn proxy_protocol(mut self, switches: &str) -> Self {
        self.proxy_protocol = Some(switches.into());
        self
    }

    /// So many data workers.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    pub fn drain_timeout(mut self, text: &str) -> Self {
        self.drain_timeout = Some(text.into());
        self
    }

    /// The file's text for a gateway whose own folder is `dir`.
    pub fn text(&self, dir: &Path) -> String {
        let mode = if self.http.is_empty() && self.https.is_empty() { "stream" } else { "http&stream" };
        let mut out = format!("{}:\n  proxy_mode: {mode}\n", self.top);
        if !self.http.is_empty() {
            writeln!(out, "  node_listen: [{}]", self.http.join(", ")).unwrap();
        }
        if let Some(workers) = self.workers {
            writeln!(out, "  workers: {workers}").unwrap();
        }
        if let Some(time) = &self.drain_timeout {
            writeln!(out, "  drain_timeout: {time}").unwrap();
        }
        if let Some(keyring) = &self.keyring {
            writeln!(out, "  data_encryption:\n    keyring: {keyring}").unwrap();
        }
        if self.fallback_sni.is_some() || !self.https.is_empty() {
            out.push_str("  ssl:\n");
        }
        if let Some(name) = &self.fallback_sni {
            writeln!(out, "    fallback_sni: {name}").unwrap();
        }
        if !self.https.is_empty() {
            writeln!(out, "    listen: [{}]", self.https.join(", ")).unwrap();
        }
        if let Some(switches) = &self.proxy_protocol {
            writeln!(out, "  proxy_protocol: {switches}").unwrap();
        }
        out.push_str("  stream_proxy:\n");
        for (transport, entries) in [("tcp", &self.tcp), ("udp", &self.udp)].iter().filter(|(_, entries)| !entries.is_empty()) {
            writeln!(out, "    {transport}:").unwrap();
            for entry in *entries {
                writeln!(out, "      - {entry}").unwrap();
            }
        }
        let store = self.provider(dir);
        write!(
            out,
            "deployment:
{store}
  admin:
    allow_admin:
      - 127.0.0.0/8
    admin_listen:
      ip: {admin_ip}
      port: {admin}
    admin_key:
      - name: admin
        key: {key}
        role: admin
      - name: viewer
        key: {VIEWER}
        role: viewer
telemetry:
  metrics_listen: 127.0.0.1:{metrics}
  control_listen: 127.0.0.1:{control}
  log:
    level: info
    format: json
  access_log:
    enabled: true
    format: json
    path: {access}
    sample: 1
",
            store = store,
            admin_ip = self.admin_ip,
            admin = self.admin_port,
            key = self.admin_key,
            metrics = self.metrics_port,
            control = self.control_port,
            access = dir.join("access.log").display(),
        )
        .unwrap();
        out
    }
}

impl Conf {
    fn provider(&self, dir: &Path) -> String {
        let mut out = String::new();
        if let Some(instance) = &self.instance {
            writeln!(out, "  instance_id: {instance}").unwrap();
        }
        if self.etcd.is_empty() {
            let store = self.store.clone().unwrap_or_else(|| dir.join("store.redb"));
            write!(out, "  config_provider: embedded\n  embedded:\n    path: {}", store.display()).unwrap();
            return out;
        }
        write!(out, "  config_provider: etcd\n  etcd:\n    timeout: 2\n    host:").unwrap();
        for member in &self.etcd {
            write!(out, "\n      - {member}").unwrap();
        }
        if let Some(prefix) = &self.prefix {
            write!(out, "\n    prefix: {prefix}").unwrap();
        }
        if let Some(path) = &self.last_good {
            write!(out, "\n    last_good: {}", path.display()).unwrap();
        }
        if let Some((user, password)) = &self.etcd_login {
            write!(out, "\n    user: {user}\n    password: {password}").unwrap();
        }
        out
    }
}

impl Default for Conf {
    fn default() -> Self {
        Self::new()
    }
}
