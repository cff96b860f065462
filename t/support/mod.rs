//! What the end-to-end tests share: a running gateway, a small HTTP client, upstreams with a temper, and waiting without guessing.

pub mod authority;
pub mod client;
pub mod conf;
pub mod curl;
pub mod datagram;
pub mod etcd;
pub mod gateway;
pub mod h1;
pub mod h2;
pub mod http;
pub mod load;
pub mod metrics;
pub mod namespace;
pub mod poll;
pub mod ports;
pub mod python;
pub mod store;
pub mod tls;
pub mod upstream;
pub mod valve;

pub use conf::Conf;
pub use etcd::Etcd;
pub use gateway::Gateway;
pub use load::Load;
pub use poll::{soon, until};
