//! What the process tells about itself: metrics, logs, one record per session. Hands out handles; knows no routes.

mod control;
mod families;
mod series;

pub use families::Metrics;
pub use series::{ListenerSeries, RouteSeries};
