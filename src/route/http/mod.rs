//! Matching of HTTP requests: what is seen of them, the tables of hosts and paths, and what else a route asks for.

mod affix;
mod cased;
pub mod cookie;
pub mod form;
mod line;
pub mod path;
mod paths;
pub mod request;
pub mod rule;
pub mod table;
#[cfg(test)]
mod tests;
