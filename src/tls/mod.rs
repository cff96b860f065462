//! TLS: the ClientHello, certificates by name, handshakes, records, and streams of plaintext. Knows no routes, and relays nothing.

mod alpn;
pub mod buffers;
mod channel;
pub mod check;
mod client;
#[cfg(test)]
pub(crate) mod fixture;
mod handshake;
pub mod hello;
mod index;
pub mod inspect;
mod provider;
mod server;
mod stream;
mod wire;
mod words;

pub use alpn::Alpn;
pub use channel::{Broken, Channel, WAITING, room};
pub use client::{BadClient, Client, Profile};
pub use handshake::{Failed, accept, connect, gather, refuse};
pub use index::{Index, Rank};
pub use provider::provider;
pub use rustls::AlertDescription;
pub use server::{BadIdentity, Identities, Identity};
pub use stream::{Parts, Stream};
pub use wire::Wire;
pub use words::Kind;
