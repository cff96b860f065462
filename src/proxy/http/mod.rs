//! HTTP: requests that come in on a connection, each led to a node and answered. Knows nothing of the store or of Admin.

mod account;
mod asked;
mod exchange;
pub mod framing;
mod patience;
mod reply;
mod rescue;
mod serve;
mod toll;
mod tunnel;
mod waiting;

pub use serve::{Front, Shared, serve};
