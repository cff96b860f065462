//! Bytes and sockets. No protocol above L4 but the header that hands a connection on; no routes, no policy.

pub mod limits;
pub mod pipe;
pub mod presence;
pub mod proxy_header;
pub mod relay;
pub mod rewind;
pub mod sock;
pub mod udp;
