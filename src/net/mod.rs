//! Bytes and sockets. No protocol above L4, no routes, no policy.

pub mod limits;
pub mod pipe;
pub mod relay;
pub mod sock;
