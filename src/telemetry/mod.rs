//! What the process tells about itself: metrics, logs, one record per session. Hands out handles; knows no routes.

pub mod access;
mod control;
mod families;
mod line;
pub mod log;
mod own;
mod process;
mod queue;
mod series;
mod sink;
pub mod stamp;

pub use access::{AccessConf, AccessLog};
pub use families::{LimitFigures, Metrics};
pub use line::{AccessFormat, HttpRecord, Record};
pub use log::{LogError, LogFormat, LogLevel};
pub use series::{LimitSeries, ListenerSeries, RouteSeries};
