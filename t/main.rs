//! The integration tests: one binary, one module per area.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test says what it needs, and a panic is how it fails"
)]

mod apply;
mod bad_input;
mod cases_a;
mod cases_k;
mod cases_l;
mod cases_m;
mod cases_o;
mod cases_p;
mod cases_q;
mod cli;
mod cluster;
mod compose;
mod conf;
mod docs;
mod durability;
mod edits;
mod etcd_faults;
mod http;
mod http2;
mod http2_floods;
mod https;
mod import;
mod instances;
mod last_good;
mod layers;
mod lifecycle;
mod limits;
mod observability;
mod openapi;
mod proxy_protocol;
mod routes;
mod schema;
mod sealed;
mod seed_mysql;
mod seed_vkproxy;
mod slow_http;
mod smuggling;
mod store_contract;
mod store_embedded;
mod store_etcd;
mod support;
mod tcp_relay;
mod tls_cases;
mod tls_clients;
mod tls_hello;
mod tls_hostile;
mod tls_rotation;
mod udp;
mod udp_servers;
mod udp_sim;
mod watch_sim;
