//! Brooklet: an MQTT broker that checks, stores and serves what devices publish, and whose
//! acknowledgement means *stored*. `docs/ARCHITECTURE.md` maps the rooms.
#![forbid(unsafe_code)]

pub mod access;
pub mod alarm;
pub mod api;
pub mod app;
pub mod chart;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dashboard;
pub mod ingest;
pub mod jobs;
pub mod live;
pub mod metrics;
pub mod mqtt;
pub mod origin;
pub mod registry;
pub mod routes;
pub mod store;
pub mod telemetry;
pub mod tls;
