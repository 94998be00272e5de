//! Brooklet: an MQTT broker that checks, stores and serves what devices publish, and whose
//! acknowledgement means *stored*. `docs/ARCHITECTURE.md` maps the rooms.
#![forbid(unsafe_code)]

pub mod clock;
pub mod metrics;
pub mod mqtt;
pub mod store;
pub mod telemetry;
