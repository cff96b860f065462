//! How many may pass: four policies, counted for all or for each key, here or in the whole fleet. Decides; what happens to those who
//! may not pass is the business of others.

mod bucket;
mod key;
mod keyed;
mod limiter;
mod policy;
mod queue;
mod registry;
mod share;
#[cfg(test)]
mod timelines;
mod waiting;

pub use bucket::{Refused, Standing};
pub use key::LimitKey;
pub use limiter::{Decision, Hold, Limiter, Permit};
pub use registry::{Registry, status};
pub use waiting::Waiting;
