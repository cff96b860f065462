//! What the cluster stores, typed and valid by construction. Plain data with serde; no runtime, no sockets, no defaults of policy.

mod limit;
mod listener;
mod resource;
mod setting;
mod stream_route;
mod upstream;

pub use limit::{By, KeySource, Limit, Pace, RouteLimit};
pub use listener::{Listener, ProxyProtocol, ProxyVersion};
pub use resource::{Origin, Resource, Stored};
pub use setting::Global;
pub use stream_route::{StreamRoute, UpstreamRef};
pub use upstream::{Host, Node, Timeouts, Upstream};
