//! The configuration: built-in defaults (the shipped `broker.toml`), a file, the environment.
//!
//! Every mistake is one sentence that says where it is and what would be right. Read once, at start.

mod access;
mod database;
mod layers;
mod listeners;
mod origin;
mod quantity;
mod retention;
mod settings;

pub use access::{Access, Action, CertificateUser, Permission, Rule, User};
pub use database::DatabasePlace;
pub use layers::{ConfigError, DEFAULTS, load};
pub use listeners::{Asked, HttpListener, MqttListener, Network, Origin, Transport};
pub use origin::{Origin as SettingOrigin, Origins};
pub use quantity::{Bytes, Period};
pub use retention::{Retention, RetentionRule, Terms};
pub use settings::{
    Alarms, Anonymous, ApiKey, Audit, Database, DeviceKind, Devices, Dispatch, Form, Http, Ingest,
    Kind, Log, LogFormat, Migrate, Mqtt, Notifications, Quarantine, Route, Settings, Streams, Time,
    Unknown,
};
