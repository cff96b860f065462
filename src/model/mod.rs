//! What the cluster stores, typed and valid by construction. Plain data with serde; no runtime, no sockets, no defaults of policy.

mod limit;
mod listener;
mod resource;
mod route;
mod setting;
mod ssl;
mod stream_route;
mod upstream;

pub use limit::{By, KeySource, Limit, Pace, RouteLimit};
pub use listener::{HttpVersions, Listener, ProxyProtocol, ProxyVersion};
pub use resource::{Origin, Resource, Stored};
pub use route::{Case, HttpRoute, RouteMatch, TransformSpec};
pub use setting::Global;
pub use ssl::{ClientTrust, KeyPair, Ssl, SslUsage, TlsVersions};
pub use stream_route::{StreamRoute, UpstreamRef};
pub use upstream::{ClientIdentity, Host, Keepalive, Node, PassHost, Scheme, Timeouts, Upstream, UpstreamTls};
