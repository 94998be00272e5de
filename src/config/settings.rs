//! Every key, with its type. Meaning, default and bounds are told in `broker.toml`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    access::Access,
    listeners::{HttpListener, MqttListener, Network, Origin},
    quantity::{Bytes, Period},
    retention::Retention,
};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

macro_rules! words {
    ($name:ident { $($(#[$attribute:meta])* $variant:ident,)* }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$attribute])* $variant,)* }
    };
}

section! {
    Settings {
        data_dir: std::path::PathBuf,
        mqtt: Mqtt,
        access: Access,
        http: Http,
        streams: Streams,
        database: Database,
        retention: Retention,
        log: Log,
        time: Time,
        devices: Devices,
        ingest: Ingest,
        quarantine: Quarantine,
        alarms: Alarms,
        notifications: Notifications,
        audit: Audit,
        backup: Backup,
        /// Not a setting: where the others come from.
        #[serde(skip)]
        origins: super::Origins,
    }
}

section! {
    Mqtt {
        listen: Vec<SocketAddr>,
        allow_anonymous: Anonymous,
        max_connections: usize,
        connect_timeout: Period,
        max_packet_size: Bytes,
        receive_maximum: std::num::NonZeroU16,
        max_inflight: std::num::NonZeroU16,
        max_queued_messages: usize,
        max_queued_bytes: Bytes,
        max_queued_bytes_total: Bytes,
        max_queued_age: Period,
        max_sessions: usize,
        max_session_expiry: Period,
        max_keep_alive: Period,
        max_topic_aliases: u16,
        max_subscriptions: usize,
        max_topic_levels: usize,
        max_topic_length: Bytes,
        max_retained_messages: usize,
        max_retained_bytes: Bytes,
        shared_subscriptions: Dispatch,
        max_messages_per_second: u32,
        max_bytes_per_second: Bytes,
        stall_timeout: Period,
        sys_interval: Period,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        listeners: Vec<MqttListener>,
    }
}

section! {
    Http {
        listen: Vec<SocketAddr>,
        allow_anonymous: Anonymous,
        api_keys: Vec<ApiKey>,
        open_docs: bool,
        open_metrics: bool,
        max_body: Bytes,
        max_import: Bytes,
        max_connections: usize,
        max_connections_per_address: usize,
        max_requests: usize,
        max_requests_per_second: u32,
        header_timeout: Period,
        request_timeout: Period,
        trusted_proxies: Vec<Network>,
        allow_origins: Vec<Origin>,
        hsts: Period,
        compression: bool,
        dashboard: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        listeners: Vec<HttpListener>,
    }
}

section! {
    Streams {
        max_clients: usize,
        max_clients_per_address: usize,
        max_queued_events: usize,
        max_resumed_readings: usize,
        max_message: Bytes,
        ping: Period,
        write_timeout: Period,
        allow_origins: Vec<Origin>,
    }
}

section! {
    ApiKey {
        name: String,
        key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
    }
}

section! {
    Database {
        url: String,
        readers: u32,
        busy_timeout: Period,
        readings_in_memory: usize,
        timeout: Period,
        startup_timeout: Period,
        migrate: Migrate,
        require_durability: bool,
        max_size: Bytes,
        min_free_space: Bytes,
    }
}

words! {
    Migrate { Auto, Check, }
}

section! {
    Log { level: String, format: LogFormat, http_access: bool, summary_interval: Period, }
}

section! {
    Time { zone: String, }
}

section! {
    Devices {
        unknown: Unknown,
        max_learned_per_hour: usize,
        offline_grace: Period,
        offline_after: Period,
        max_held_messages: u32,
        max_held_bytes: Bytes,
    }
}

section! {
    Ingest {
        max_queued_messages: usize,
        max_queued_bytes: Bytes,
        max_batch_messages: usize,
        routes: Vec<Route>,
    }
}

section! {
    Route {
        topic: String,
        kind: Kind,
        #[serde(default)]
        form: Form,
        #[serde(default)]
        device_kind: DeviceKind,
    }
}

section! {
    Quarantine { max_entries: u32, max_bytes: Bytes, }
}

section! {
    /// Rules have the form that the API takes; what is wrong with one is told at start.
    Alarms {
        rules: Vec<serde_json::Value>,
        retention: Period,
    }
}

section! {
    Notifications {
        public_url: String,
        retention: Period,
        max_kept: usize,
        /// In the form that the API takes.
        targets: Vec<serde_json::Value>,
    }
}

section! {
    Audit { max_entries: u32, }
}

section! {
    Backup {
        folder: std::path::PathBuf,
        interval: Period,
        keep: u32,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dispatch {
    RoundRobin,
    ByTopic,
}

words! { LogFormat { Human, Json, } }
words! { Unknown { Learn, Pending, Reject, } }
words! { Kind { Data, Status, Heartbeat, } }

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    #[default]
    Auto,
    Rich,
    Flat,
    Batch,
    Single,
    Esp32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    #[default]
    Device,
    Gateway,
}

/// Whether those without credentials are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AnonymousWord", into = "AnonymousWord")]
pub enum Anonymous {
    /// Where every address is a loopback address.
    Loopback,
    Yes,
    No,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"loopback\"")]
enum AnonymousWord {
    Plain(bool),
    Word(String),
}

impl TryFrom<AnonymousWord> for Anonymous {
    type Error = &'static str;

    fn try_from(word: AnonymousWord) -> Result<Self, Self::Error> {
        match word {
            AnonymousWord::Plain(true) => Ok(Self::Yes),
            AnonymousWord::Plain(false) => Ok(Self::No),
            AnonymousWord::Word(word) if word == "loopback" => Ok(Self::Loopback),
            AnonymousWord::Word(_) => Err("expected true, false or \"loopback\""),
        }
    }
}

impl From<Anonymous> for AnonymousWord {
    fn from(anonymous: Anonymous) -> Self {
        match anonymous {
            Anonymous::Loopback => Self::Word("loopback".to_owned()),
            Anonymous::Yes => Self::Plain(true),
            Anonymous::No => Self::Plain(false),
        }
    }
}

pub(super) const MASK: &str = "********";

/// Whether a setting of a notification target's channel is not to be shown.
fn is_secret(key: &str) -> bool {
    matches!(key, "password" | "secret" | "bearer" | "headers")
}

impl Settings {
    /// The same with secrets made unreadable.
    #[must_use]
    pub fn masked(mut self) -> Self {
        self.database.url = self.database.shown_url();
        for key in &mut self.http.api_keys {
            key.key = MASK.to_owned();
        }
        for user in &mut self.access.users {
            user.password = MASK.to_owned();
        }
        for target in &mut self.notifications.targets {
            let channel = target.get_mut("channel").and_then(serde_json::Value::as_object_mut);
            for (_, value) in channel.into_iter().flatten().filter(|(key, _)| is_secret(key)) {
                *value = match value {
                    serde_json::Value::Object(headers) => headers
                        .keys()
                        .map(|name| (name.clone(), MASK.into()))
                        .collect::<serde_json::Map<_, _>>()
                        .into(),
                    _ => MASK.into(),
                };
            }
        }
        self
    }
}

/// Whether every address can be reached from this machine only.
pub(super) fn is_loopback(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().is_loopback())
}
