//! A session from its route to its end. Knows nothing of the store or of Admin.

mod announce;
mod crypt;
pub mod http;
pub mod idle;
pub mod record;
pub mod tcp;
pub mod udp;
