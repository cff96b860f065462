//! Pure matching: which route a session or a request takes. Knows no sockets, no clocks, no snapshots.

pub mod l4;
