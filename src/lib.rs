//! Sluice: a gateway that is reconfigured while it runs.
//!
//! The rooms, in floor order; a room imports only from floors below it (`docs/ARCHITECTURE.md`, enforced by `t/layers.rs`).

// ground
pub mod base;

// materials: each knows only the ground
pub mod conf;
pub mod live;
pub mod model;
pub mod net;
pub mod schema;
pub mod telemetry;

// workshops: from the model to fast immutable things
pub mod import;
pub mod limit;
pub mod route;
pub mod store;
pub mod tls;
pub mod upstream;

// the hall: the immutable compiled view
pub mod snapshot;

// west wing: reads the hall
pub mod listen;
pub mod proxy;

// east wing: writes the hall
pub mod admin;
pub mod control;

// roof
pub mod app;
pub mod cli;
