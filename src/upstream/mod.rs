//! From an upstream's description to a connection: nodes, choice among them, names resolved off the data path, dialling.
//! Knows no routes, no listeners.

mod balance;
mod connect;
pub mod http;
mod node;
mod pick;
mod registry;
mod resolve;
mod target;
mod timer;
mod walk;

pub use balance::Tried;
pub use connect::{Connected, DialError, Dialer};
pub use node::{InFlight, Node};
pub use pick::{Picked, Picker};
pub use registry::Registry;
pub use resolve::Resolver;
pub use target::Target;
pub use timer::Timer;
