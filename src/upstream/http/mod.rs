//! HTTP towards nodes: connections that are kept for the next request, and the bodies that go up them. Knows no routes and makes
//! no answers.

mod body;
mod dial;
mod error;
mod h1;
mod h2;
mod kind;
mod link;
mod pool;

pub use body::{Bound, Crossed, Meter, Outgoing, Torn, Unread};
pub use dial::{Lease, Requests};
pub use error::{Error, Malformed};
pub use h1::{Broken, H1, Upgraded};
pub use h2::{H2, Shared};
pub use link::Link;
pub use pool::Pool;
