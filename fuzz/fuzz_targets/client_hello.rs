//! Any bytes where a ClientHello is awaited: `cargo +nightly fuzz run client_hello`. What must hold is in `t/tls_hello/harness.rs`,
//! which the tests run with seeds too.

#![no_main]

#[path = "../../t/tls_hello/harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::check(data));
