//! SeaORM entities of the Brooklet store: derives only, no logic.
//!
//! Times are UTC microseconds since 1970-01-01T00:00:00Z.

pub mod alarm;
pub mod alarm_event;
pub mod alarm_rule;
pub mod alarm_rule_version;
pub mod api_key;
pub mod audit;
pub mod broker_run;
pub mod device;
pub mod device_access;
pub mod device_credential;
pub mod device_hold;
pub mod http_answer;
pub mod job;
pub mod mqtt_message;
pub mod mqtt_queue;
pub mod mqtt_retained;
pub mod mqtt_session;
pub mod mqtt_subscription;
pub mod mqtt_unreleased;
pub mod mqtt_will;
pub mod notification;
pub mod notification_target;
pub mod quarantine;
pub mod reading;
pub mod reading_claimed_time;
pub mod sensor;
pub mod silence;
pub mod user;
pub mod user_session;
