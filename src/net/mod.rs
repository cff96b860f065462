//! Bytes and sockets. No protocol above L4 but the header that hands a connection on; no routes, no policy.

pub mod limits;
pub mod pipe;
pub mod proxy_header;
pub mod relay;
pub mod sock;
pub mod wire;
