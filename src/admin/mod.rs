//! The HTTP faces for people and tools: Admin API, control API, metrics and health. Runs on the control runtime; never touches a
//! session's bytes, and learns of the data plane only through `live`.

mod auth;
mod certificates;
mod control;
mod envelope;
#[cfg(test)]
mod fake;
mod gate;
mod health;
mod instances;
mod limits;
mod metrics;
mod openapi;
mod places;
mod query;
#[cfg(test)]
mod races;
mod refs;
mod resource;
mod schemas;
mod server;
mod throttle;
mod validate;
mod wait;

pub use auth::{AdminKey, Keys, Role};
pub use control::{ControlParts, serve_control};
pub use gate::{AdminParts, serve_admin};
pub use metrics::{MetricsParts, serve_metrics};
