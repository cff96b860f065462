//! Bytes and sockets. No protocol above L4 but the header that hands a connection on; no routes, no policy.

#[cfg(test)]
pub(crate) mod heap;
pub mod limits;
pub mod pipe;
pub mod presence;
pub mod proxy_header;
pub mod relay;
pub mod rewind;
pub mod sock;
pub mod through;
pub mod udp;
