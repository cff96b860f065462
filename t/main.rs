//! The integration tests: one binary, one module per area.

mod store_contract;
mod store_embedded;
