//! A session from its route to its end. Knows nothing of the store or of Admin.

mod announce;
pub mod http;
pub mod idle;
pub mod tcp;
