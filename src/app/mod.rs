//! The roof: builds everything in floor order, runs it, and ends it. No logic of its own beyond wiring and lifetime.

mod admin_key;
mod banner;
mod build;
mod drain;
mod runtime;

use anyhow::Context as _;

use crate::conf::Conf;

/// Runs the gateway until it is told to stop (SIGTERM or SIGINT). Returns after the drain; an error is a failed start.
pub fn run(conf: Conf) -> anyhow::Result<()> {
    let control = runtime::control().context("the control runtime")?;
    control.block_on(async {
        let gateway = build::build(conf).await?;
        gateway.serve().await
    })
}
