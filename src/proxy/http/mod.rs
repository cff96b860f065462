//! HTTP: requests that come in on a connection, each led to a node and answered. Knows nothing of the store or of Admin.

mod exchange;
pub mod framing;
mod head;
mod reply;
mod serve;

pub use serve::{Front, serve};
