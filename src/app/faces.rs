//! The three HTTP faces of the process: metrics and health, the control API, the Admin API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::secret_file;
use crate::admin::{self, AdminParts, ControlParts, MetricsParts};
use crate::base::drain::Watch;
use crate::base::task;
use crate::conf::{self, Conf, Provider};
use crate::control::ingest::Ingest;
use crate::control::status::StatusHandle;
use crate::live::applied::Applied;
use crate::live::fleet::Fleet;
use crate::live::limits::Limits;
use crate::live::listeners::Ports;
use crate::live::nodes::Nodes;
use crate::live::sessions::Sessions;
use crate::schema::Schemas;
use crate::snapshot::cell::Cell;
use crate::store::Store;
use crate::telemetry::{LogLevel, Metrics};

/// With etcd there is no file of a store to lie beside: the generated key lies in the folder where that would be.
const ETCD_KEY: &str = "data/etcd";

/// What the faces show and change.
pub(super) struct Faces {
    pub(super) metrics: Metrics,
    pub(super) ports: Ports,
    pub(super) sessions: Sessions,
    pub(super) nodes: Nodes,
    pub(super) limits: Limits,
    pub(super) applied: Applied,
    pub(super) fleet: Fleet,
    pub(super) watch: Watch,
    pub(super) store: Arc<dyn Store>,
    pub(super) ingest: Arc<Ingest>,
    pub(super) schemas: Arc<Schemas>,
    pub(super) status: StatusHandle,
    pub(super) cell: Cell,
    pub(super) level: LogLevel,
}

impl Faces {
    /// Opens those that the configuration asks for. Answers with the file of the generated Admin key, if there is one.
    pub(super) async fn open(self, conf: &Conf) -> anyhow::Result<Option<PathBuf>> {
        if let Some(addr) = conf.metrics_listen {
            let parts = MetricsParts {
                metrics: self.metrics.clone(),
                ports: self.ports.clone(),
                nodes: self.nodes.clone(),
                limits: self.limits.clone(),
                applied: self.applied.clone(),
                drain: self.watch.clone(),
            };
            task::spawn(admin::serve_metrics(bind(addr, "telemetry.metrics_listen").await?, Arc::new(parts)));
        }
        if let Some(addr) = conf.control_listen {
            let parts = ControlParts {
                status: self.status.clone(),
                ports: self.ports.clone(),
                sessions: self.sessions.clone(),
                nodes: self.nodes.clone(),
                limits: self.limits.clone(),
                applied: self.applied.clone(),
                fleet: self.fleet.clone(),
                schemas: self.schemas.clone(),
                log: self.level.clone(),
                store: self.store.clone(),
                cell: self.cell.clone(),
            };
            let listener = bind(addr, "telemetry.control_listen").await?;
            task::spawn(admin::serve_control(listener, Arc::new(parts), self.watch.clone()));
        }
        let Some(admin) = &conf.admin else { return Ok(None) };
        let beside = match &conf.provider {
            Provider::Embedded { path } => path.as_path(),
            Provider::Etcd(_) => Path::new(ETCD_KEY),
        };
        let key_file = admin.keys.iter().any(|k| k.key.is_none()).then(|| beside.with_file_name("admin.key"));
        let parts = AdminParts {
            store: self.store,
            prefix: conf.prefix.clone(),
            ingest: self.ingest,
            schemas: self.schemas,
            keys: keys(admin, key_file.as_ref())?,
            allow: admin.allow.clone(),
            stream_enabled: conf.proxy_mode.stream(),
            reserved: conf.listeners.iter().map(|l| l.id.clone()).collect(),
            applied: self.applied,
            metrics: self.metrics,
            fleet: self.fleet,
        };
        let listener = bind(admin.listen, "deployment.admin.admin_listen").await?;
        task::spawn(admin::serve_admin(listener, Arc::new(parts), self.watch));
        Ok(key_file)
    }
}

async fn bind(addr: SocketAddr, key: &'static str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| format!("{key}: bind {addr}"))
}

fn keys(conf: &conf::AdminConf, file: Option<&PathBuf>) -> anyhow::Result<admin::Keys> {
    let generated = file.map(|f| secret_file::load_or_create(f, "Admin key", "remove it and a new one is made")).transpose()?;
    let key = |k: &conf::AdminKey| {
        let secret = k.key.clone().or_else(|| generated.clone())?;
        let role = match k.role {
            conf::Role::Admin => admin::Role::Admin,
            conf::Role::Viewer => admin::Role::Viewer,
        };
        Some(admin::AdminKey { name: k.name.clone(), secret, role })
    };
    Ok(admin::Keys { required: conf.key_required, list: conf.keys.iter().filter_map(key).collect() })
}
