//! Pure matching: which route a session or a request takes. Knows no sockets, no clocks, no snapshots.

mod fold;
pub mod http;
pub mod l4;
pub mod statement;
