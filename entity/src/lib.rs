//! SeaORM entities of the Brooklet store: derives only, no logic.
//!
//! Times are UTC microseconds since 1970-01-01T00:00:00Z.

pub mod device;
pub mod device_hold;
pub mod mqtt_message;
pub mod mqtt_queue;
pub mod mqtt_retained;
pub mod mqtt_session;
pub mod mqtt_subscription;
pub mod mqtt_unreleased;
pub mod mqtt_will;
pub mod quarantine;
pub mod reading;
pub mod reading_claimed_time;
pub mod sensor;
