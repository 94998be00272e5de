//! Brooklet: an MQTT broker that checks, stores and serves what devices publish, and whose
//! acknowledgement means *stored*. `docs/ARCHITECTURE.md` maps the rooms.
#![forbid(unsafe_code)]

pub mod telemetry;
