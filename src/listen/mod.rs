//! Ports and the connections that come in through them: the set of listeners, accepting, the stages of a connection. Knows
//! nothing of the store or of Admin.

mod accept;
#[cfg(test)]
mod allocations;
mod budget;
mod conn;
mod dgram;
mod gate;
mod guard;
mod opening;
mod secure;
mod set;
mod toll;
mod worker;

pub use budget::Budget;
pub use set::{ListenSet, SetParts};
pub use worker::{Context, Worker, WorkerHandle, worker};
