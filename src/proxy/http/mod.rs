//! HTTP: requests that come in on a connection, each led to a node and answered. Knows nothing of the store or of Admin.

mod account;
mod asked;
mod exchange;
mod flood;
mod forward;
pub mod framing;
mod h2;
mod leave;
mod matching;
mod outward;
mod patience;
mod preface;
mod pump;
mod reply;
mod rescue;
mod secured;
mod serve;
mod toll;
mod tunnel;
mod waiting;
mod websocket;

pub use secured::Secured;
pub use serve::{Front, Shared, Spoken, serve};
