//! Facts of the running process that one wing writes and the other reads: small handles, no logic.

pub mod applied;
pub mod fleet;
pub mod limits;
pub mod listeners;
pub mod nodes;
pub mod sessions;
