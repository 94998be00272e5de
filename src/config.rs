//! The configuration: built-in defaults (the shipped `broker.toml`), a file, the environment.
//!
//! Every mistake is one sentence that says where it is and what would be right. Read once, at start.

mod layers;
mod quantity;
mod settings;

pub use layers::{ConfigError, DEFAULTS, load};
pub use quantity::{Bytes, Period};
pub use settings::{
    Anonymous, ApiKey, Database, DeviceKind, Devices, Dispatch, Form, Http, Ingest, Kind, Log,
    LogFormat, Mqtt, Quarantine, Route, Settings, Time, Unknown,
};
