//! TLS: what certificates and keys are worth, and how sessions are encrypted. Never reads a configuration file or a store.

pub mod check;
pub mod inspect;
