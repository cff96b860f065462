//! (room under construction)

pub mod ingest;
