//! The control side: what the store says becomes accepted objects, and those become the snapshot. Touches no socket.

#[cfg(test)]
mod fixture;
pub mod ingest;
pub mod ledger;
mod outcome;
mod pace;
pub mod publish;
pub mod reconcile;
pub mod status;
mod strangers;
