//! Brooklet: an MQTT broker that checks, stores and serves what devices publish, and whose
//! acknowledgement means *stored*. `docs/ARCHITECTURE.md` maps the rooms.
#![forbid(unsafe_code)]

pub mod clock;
pub mod ingest;
pub mod metrics;
pub mod mqtt;
pub mod registry;
pub mod routes;
pub mod store;
pub mod telemetry;
