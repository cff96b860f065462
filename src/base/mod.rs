//! Words that every room speaks: ids, addresses, ranges, durations, reasons, lifetimes. Knows nothing of ours above it.

pub mod addr;
pub mod cidr;
pub mod drain;
pub mod duration;
pub mod id;
pub mod meter;
pub mod nearest;
pub mod reason;
pub mod seal;
pub mod secret;
pub mod sni;
pub mod task;
pub mod violation;
