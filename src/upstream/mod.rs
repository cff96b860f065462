//! From an upstream's description to a connection: nodes, choice among them, names resolved off the data path, dialling.
//! Knows no routes, no listeners.

mod balance;
mod connect;
mod node;
mod pick;
mod registry;
mod resolve;
mod target;

pub use connect::{Connected, DialError, Dialer};
pub use node::{InFlight, Node};
pub use pick::{Picked, Picker};
pub use registry::Registry;
pub use resolve::Resolver;
pub use target::Target;
