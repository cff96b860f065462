//! The whole wiring on one page: every part is made here, in floor order, and handed what it needs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::time::timeout;

use super::banner::Banner;
use super::drain::{self, Stop};
use super::faces::Faces;
use super::instance::{self, Telling};
use super::{LAST_LINES, keyring, limits, runtime};
use crate::base::drain::{Phase, Trigger, Watch};
use crate::base::id::{Key, Kind};
use crate::base::task::{self, PanicHook};
use crate::conf::{self, Conf, Provider};
use crate::control::ingest::Ingest;
use crate::control::ingest::secrets::Secrets;
use crate::control::reconcile::{Reconciler, ReconcilerParts};
use crate::control::status::StatusHandle;
use crate::limit;
use crate::listen::{Budget, Context, ListenSet, SetParts, WorkerHandle, worker};
use crate::live::applied::{Applied, applied};
use crate::live::listeners::Ports;
use crate::live::nodes::Nodes;
use crate::live::sessions::Sessions;
use crate::net::limits::raise_descriptors;
use crate::proxy::http;
use crate::schema::Schemas;
use crate::snapshot::cell::Cell;
use crate::snapshot::{Registries, Snapshot};
use crate::store::{Embedded, Etcd, EtcdOptions, EtcdTls, Store};
use crate::telemetry::{AccessConf, AccessFormat, AccessLog, LogFormat, LogLevel, Metrics, log};
use crate::tls;
use crate::upstream;

/// How long the start waits for the first configuration before it tells what there is.
const FIRST_APPLY: Duration = Duration::from_secs(5);
/// How long the status may take to be taken back, where the sessions did not take longer.
const LAST_STATUS: Duration = Duration::from_secs(1);
/// How long the last good set may take to be written.
const LAST_SET: Duration = Duration::from_secs(2);

/// A gateway that was built and serves.
pub(super) struct Gateway {
    trigger: Trigger,
    watch: Watch,
    stop: Stop,
    listening: tokio::task::JoinHandle<()>,
    telling: tokio::task::JoinHandle<()>,
    sessions: Sessions,
    access: AccessLog,
    store: Arc<dyn Store>,
    applied: Applied,
    ports: Ports,
    drain_timeout: Duration,
    /// A worker ends with its last handle, and its sessions with it.
    workers: Vec<WorkerHandle>,
    banner: Banner,
}

/// Makes every part and starts it.
#[expect(clippy::too_many_lines, reason = "the whole wiring is to be seen on one page")]
pub(super) async fn build(conf: Conf) -> anyhow::Result<Gateway> {
    let mut stop = Stop::new()?;
    let metrics = Metrics::new().context("metrics")?;
    let level = start_log(&conf, &metrics)?;
    let instance = instance::name(&conf);
    let descriptors = raise_descriptors();
    let (trigger, watch) = crate::base::drain::drain();

    // ground and materials
    metrics.set_build_info(env!("CARGO_PKG_VERSION"), SystemTime::now());
    let access = start_access_log(&conf, &instance, &metrics)?;
    stop.reopens(access.clone());
    let schemas = Arc::new(Schemas::compile()?);
    let panics: PanicHook = {
        let metrics = metrics.clone();
        Arc::new(move |task| metrics.task_panicked(task))
    };
    let (ports, sessions, nodes) = (Ports::default(), Sessions::default(), Nodes::default());
    let (applied_writer, applied) = applied();

    // store
    let store = open_store(&conf.provider, &conf.prefix, &metrics).await?;

    // workshops
    let (upstreams, resolver) = upstream::Registry::new();
    task::spawn(resolver.run());
    task::supervise("upstream_pools", panics.clone(), {
        let upstreams = upstreams.clone();
        move || upstreams.clone().sweep()
    });
    shown(&nodes, &upstreams);

    // the hall
    let (limits, identities) = (limit::Registry::default(), tls::Identities::default());
    let registries = Registries { metrics: metrics.clone(), upstreams, limits, identities };
    let cell = Cell::new(Snapshot::empty(&registries));
    let (counting, limits) = limits::shown(&cell, &registries.limits);

    // west wing
    let workers = runtime::worker_count(conf.workers);
    let context = Arc::new(Context {
        cell: cell.clone(),
        sessions: sessions.clone(),
        access: access.clone(),
        budget: Budget::new(descriptors),
        http: Arc::new(http::Shared { cell: cell.clone(), access: access.clone(), unrouted: metrics.route(Kind::Route, None) }),
        unrouted: metrics.route(Kind::StreamRoute, None),
        fallback_sni: conf.fallback_sni.clone(),
        metrics: metrics.clone(),
    });
    let handles = (0..workers).map(|index| start_worker(index, &context)).collect::<anyhow::Result<Vec<_>>>()?;
    runtime::yield_to_workers();
    let mut set = ListenSet::new(SetParts {
        cell: cell.clone(),
        ports: ports.clone(),
        applied: applied_writer,
        sessions: sessions.clone(),
        workers: handles.clone(),
        metrics: metrics.clone(),
        drain_timeout: conf.drain_timeout,
        drain: watch.clone(),
    });
    let listening = task::spawn(async move { set.run().await });

    // east wing
    let ingest = Arc::new(Ingest::new(schemas.clone()).with(Secrets::new(keyring::open(&conf)?)));
    let status = StatusHandle::new();
    let reconciler = ReconcilerParts {
        store: store.clone(),
        prefix: conf.prefix.clone(),
        ingest: ingest.clone(),
        static_objects: static_objects(&conf),
        registries,
        cell: cell.clone(),
        status: status.clone(),
        metrics: metrics.clone(),
    };
    task::supervise("reconcile", panics.clone(), move || Reconciler::new(reconciler.clone()).run());
    let (fleet, telling) = Telling {
        store: instance::store(&conf).await?,
        name: instance.clone(),
        status: status.clone(),
        ports: ports.clone(),
        applied: applied.clone(),
        metrics: metrics.clone(),
        drain: watch.clone(),
        panics: panics.clone(),
    }
    .start(&conf);
    limits::keep(counting, fleet.clone(), panics);
    let faces = Faces {
        metrics,
        ports: ports.clone(),
        sessions: sessions.clone(),
        nodes,
        limits,
        applied: applied.clone(),
        fleet,
        watch: watch.clone(),
        store: store.clone(),
        ingest,
        schemas,
        cell,
        status,
        level,
    };
    let admin_key = faces.open(&conf).await?;
    let banner = Banner {
        instance,
        store: store_name(&conf.provider),
        revision: None,
        workers,
        ports: Vec::new(),
        admin: conf.admin.as_ref().map(|a| a.listen),
        admin_key,
        metrics: conf.metrics_listen,
        control: conf.control_listen,
    };
    let drain_timeout = conf.drain_timeout;
    Ok(Gateway {
        trigger,
        watch,
        stop,
        listening,
        telling,
        sessions,
        access,
        store,
        applied,
        ports,
        drain_timeout,
        workers: handles,
        banner,
    })
}

impl Gateway {
    /// Serves until a signal, then drains.
    pub(super) async fn serve(mut self) -> anyhow::Result<()> {
        let mut applied = self.applied.clone();
        tokio::select! {
            // however it ends: the banner tells what there is
            _ = timeout(FIRST_APPLY, applied.reached(0)) => self.greet(),
            signal = self.stop.asked() => return self.end(signal).await,
        }
        let signal = self.stop.asked().await;
        self.end(signal).await
    }

    fn greet(&mut self) {
        self.banner.revision = self.applied.revision();
        self.banner.ports = self.ports.list();
        log::print(&self.banner.to_string());
    }

    async fn end(mut self, signal: &'static str) -> anyhow::Result<()> {
        tracing::info!(signal, sessions = self.sessions.count(), timeout = ?self.drain_timeout, "draining");
        self.trigger.advance(Phase::Draining);
        // the ports are closed when this returns
        let _ = self.listening.await;
        drain::drain(&self.sessions, self.drain_timeout, &mut self.stop).await;
        // the others should not wait for one that is gone; if the store does not answer, they find out by themselves
        let _ = timeout(LAST_STATUS, self.telling).await;
        if timeout(LAST_SET, self.store.settle()).await.is_err() {
            tracing::warn!("the last good set is not written in time: the next start without the store may serve an older one");
        }
        drop(self.workers);
        self.trigger.advance(Phase::Ending);
        debug_assert_eq!(self.watch.phase(), Phase::Ending);
        if !self.access.flush(LAST_LINES) {
            tracing::warn!("the access log's sink does not take its last lines");
        }
        tracing::info!(sessions = self.sessions.count(), "ended");
        Ok(())
    }
}

/// Leaves the way to ask for nodes where the faces of the process find it.
fn shown(nodes: &Nodes, upstreams: &upstream::Registry) {
    let upstreams = upstreams.clone();
    nodes.provide(Arc::new(move || upstreams.inspect()));
}

fn start_worker(index: usize, context: &Arc<Context>) -> anyhow::Result<WorkerHandle> {
    let (handle, worker) = worker(context.clone());
    runtime::start(index, worker).context("a data worker")?;
    Ok(handle)
}

pub(super) async fn open_store(provider: &Provider, prefix: &str, metrics: &Metrics) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match provider {
        Provider::Embedded { path } => Arc::new(Embedded::open(path, metrics.clone()).await?),
        Provider::Etcd(etcd) => {
            let etcd = etcd.clone();
            let tls = etcd.tls.map(|conf::EtcdTlsConf { identity, ca, sni, unverified }| EtcdTls { identity, ca, sni, unverified });
            let options = EtcdOptions {
                hosts: etcd.hosts,
                timeout: etcd.timeout,
                user: etcd.user,
                tls,
                prefix: prefix.to_owned(),
                last_good: etcd.last_good,
            };
            Arc::new(Etcd::new(&options, metrics.clone()).await?)
        }
    })
}

fn store_name(provider: &Provider) -> String {
    match provider {
        Provider::Embedded { path } => format!("embedded, {}", path.display()),
        Provider::Etcd(conf) => format!("etcd, {}", conf.hosts.join(" ")),
    }
}

fn static_objects(conf: &Conf) -> Vec<(Key, serde_json::Value)> {
    conf.listeners.iter().map(|l| (Key::new(Kind::Listener, l.id.clone()), l.value.clone())).collect()
}

fn start_log(conf: &Conf, metrics: &Metrics) -> anyhow::Result<LogLevel> {
    let format = match conf.log.format {
        conf::LogFormat::Text => LogFormat::Text,
        conf::LogFormat::Json => LogFormat::Json,
    };
    let level = log::init(&conf.log.level.to_string(), format, metrics)?;
    for notice in &conf.notices {
        tracing::warn!(%notice, "configuration");
    }
    Ok(level)
}

fn start_access_log(conf: &Conf, instance: &str, metrics: &Metrics) -> anyhow::Result<AccessLog> {
    if !conf.access_log.enabled {
        return Ok(AccessLog::disabled());
    }
    let format = match conf.access_log.format {
        conf::AccessFormat::Json => AccessFormat::Json,
        conf::AccessFormat::Logfmt => AccessFormat::Logfmt,
    };
    let access = AccessConf { format, path: conf.access_log.path.clone(), sample: conf.access_log.sample, instance: instance.into() };
    AccessLog::start(&access, metrics).with_context(|| {
        let path = access.path.as_deref().map(|path| path.display().to_string());
        format!("telemetry.access_log.path: {}", path.unwrap_or_default())
    })
}
