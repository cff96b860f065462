//! The roof: builds everything in floor order, runs it, and ends it. No logic of its own beyond wiring and lifetime.

mod banner;
mod build;
mod drain;
mod faces;
mod instance;
mod keyring;
mod limits;
mod runtime;
mod secret_file;

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::base::id::{Key, Kind};
use crate::conf::Conf;
use crate::control::ingest::{Ingest, Verdict};
use crate::schema::Schemas;
use crate::telemetry::log;

/// How long the last lines of a log may take to be written.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How long a thread that reads or writes, or waits for the resolver, may go on behind that.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Runs the gateway until it is told to stop (SIGTERM or SIGINT). Returns after the drain; an error is a failed start.
pub fn run(conf: Conf) -> anyhow::Result<()> {
    let control = runtime::control().context("the control runtime")?;
    let ended = control.block_on(async { build::build(conf).await?.serve().await });
    // an error is printed behind what led to it
    log::flush(LAST_LINES);
    // a resolver that does not answer keeps its thread for minutes
    control.shutdown_timeout(LAST_THREADS);
    ended
}

/// What would be refused of the file's own listeners, a line for each.
pub fn refusals(conf: &Conf) -> Vec<String> {
    let ingest = match Schemas::compile() {
        Ok(schemas) => Ingest::new(schemas.into()),
        Err(error) => return vec![error.to_string()],
    };
    let refused = |listener: &crate::conf::StaticListener| {
        let key = Key::new(Kind::Listener, listener.id.clone());
        match ingest.read_value(&key, &listener.value, 0) {
            Verdict::Accepted(_) => None,
            Verdict::Rejected(rejected) => {
                let reasons: Vec<String> = rejected.violations.iter().map(ToString::to_string).collect();
                Some(format!("{key}: {} ({})", reasons.join("; "), listener.value))
            }
        }
    };
    conf.listeners.iter().filter_map(refused).collect()
}

/// The text for a store of a private key: PEM, or text that another key of the keyring sealed.
pub fn seal(conf: &Conf, text: &str) -> anyhow::Result<String> {
    keyring::seal(conf, text)
}

/// The JSON Schema of a kind.
pub fn schema(kind: Kind) -> anyhow::Result<Value> {
    Ok(Schemas::compile()?.document(kind).clone())
}
