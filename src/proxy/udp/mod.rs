//! UDP: sessions of datagrams. What is decided lives in [`flow`] and its parts, which touch no socket and no clock; what is done, in
//! [`shell`].

pub mod flow;
mod index;
mod line;
pub mod places;
pub mod shell;
pub mod sources;
mod toll;
mod wheel;

/// A number of datagrams or bytes as it is counted.
#[expect(clippy::as_conversions, reason = "a usize fits into 64 bits")]
const fn count(number: usize) -> u64 {
    number as u64
}
