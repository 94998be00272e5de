//! The product from the outside: real sockets, real HTTP, real files, the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that fails is to panic; it stands outside the rooms"
)]

mod access;
mod alarm_api;
mod alarm_ends;
mod alarms;
mod architecture;
mod backtest;
mod backup;
mod broker;
mod certificates;
mod chart;
mod command_line;
mod conformance;
mod console;
mod crash;
mod crash_sessions;
mod credentials;
mod dashboard;
mod devices;
mod export_command;
mod harness;
mod http;
mod http_abuse;
mod http_front;
mod http_limits;
mod http_queries;
mod http_tls;
mod idempotency;
mod ingest;
mod interop;
mod jobs;
mod moving;
mod notification_api;
mod notify;
mod openapi;
mod overview;
mod people;
mod percentiles;
mod raw_http;
mod resources;
mod retention;
mod room;
mod series;
mod servers;
mod sessions;
mod sources;
mod store_failure;
mod stream_alarms;
mod stream_clients;
mod stream_limits;
mod streams;
mod transports;
mod upgrade;
mod web_socket;
mod wire;
