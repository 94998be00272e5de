//! What is moved: every table of which the content is people's and devices', parents before children. Pure.
//!
//! What an engine keeps for itself is not: `seaql_migrations`, `writer_mark`, how readings are stored.
//! A test compares this with the schema; who adds a table or a column adds it here.

use crate::store::engine::Kind;

/// Readings are told as such, however an engine keeps them.
pub(super) const READING: &str = "reading";
pub(super) const SERIES: &str = "reading_series";
pub(super) const STALE: &str = "reading_stale";
/// Hourly and daily statistics, whose sums may be beyond all numbers.
pub(super) const ROLL_UPS: [&str; 2] = ["reading_hour", "reading_day"];

/// Tables that belong to an engine's own housekeeping, or are kept in another form elsewhere.
pub(super) const OWN: [&str; 9] = [
    "seaql_migrations",
    "sqlite_sequence",
    "writer_mark",
    "reading_late",
    "reading_journal",
    "reading_erasure",
    "reading_chunk",
    "reading_conversion",
    super::mark::UNFINISHED,
];

/// A table's columns by kind, each a list of names with spaces between.
#[derive(Debug)]
pub(in crate::store) struct Table {
    pub(super) name: &'static str,
    /// Rows are read in the order of these columns.
    pub(super) key: &'static str,
    ints: &'static str,
    reals: &'static str,
    bools: &'static str,
    texts: &'static str,
    bytes: &'static str,
    /// The engine numbers its rows: `id`.
    pub(super) counts: bool,
    /// Rows that say anything.
    pub(super) filter: &'static str,
}

const NONE: Table = Table {
    name: "",
    key: "",
    ints: "",
    reals: "",
    bools: "",
    texts: "",
    bytes: "",
    counts: false,
    filter: "",
};

impl Table {
    pub(super) fn columns(&self) -> Vec<(&'static str, Kind)> {
        let kinds = [
            (self.ints, Kind::Int),
            (self.reals, Kind::Real),
            (self.bools, Kind::Bool),
            (self.texts, Kind::Text),
            (self.bytes, Kind::Bytes),
        ];
        let of = |(names, kind): (&'static str, Kind)| {
            names.split_ascii_whitespace().map(move |name| (name, kind))
        };
        kinds.into_iter().flat_map(of).collect()
    }
}

pub(super) fn named(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

pub(super) static TABLES: [Table; 36] = [
    Table {
        name: "device",
        key: "id",
        ints: "id uptime_seconds first_seen last_seen last_heartbeat version retired_at",
        reals: "latitude longitude",
        bools: "online",
        texts: "key name kind gateway status firmware ip labels last_report approval",
        counts: true,
        ..NONE
    },
    Table {
        name: "sensor",
        key: "id",
        ints: "id device_id created_at retired_at version",
        reals: "min max resolution",
        bools: "active",
        texts: "name display_name type unit location",
        counts: true,
        ..NONE
    },
    Table {
        name: "device_hold",
        key: "id",
        ints: "id device_id received_at",
        texts: "source topic",
        bytes: "payload",
        counts: true,
        ..NONE
    },
    Table {
        name: "device_access",
        key: "device_id",
        ints: "device_id",
        texts: "mqtt_allow",
        ..NONE
    },
    Table {
        name: "device_credential",
        key: "id",
        ints: "id device_id created_at expires_at used_at",
        texts: "kind subject created_by",
        bytes: "secret_hash",
        counts: true,
        ..NONE
    },
    Table {
        name: "user",
        key: "id",
        ints: "id created_at updated_at version",
        bools: "active",
        texts: "name email role password_hash mqtt_allow",
        counts: true,
        ..NONE
    },
    Table {
        name: "user_session",
        key: "id",
        ints: "id user_id created_at used_at expires_at",
        texts: "user_agent address",
        bytes: "selector_hash token_hash",
        counts: true,
        ..NONE
    },
    Table {
        name: "api_key",
        key: "id",
        ints: "id created_at expires_at used_at version",
        texts: "name prefix scopes device created_by",
        bytes: "key_hash",
        counts: true,
        ..NONE
    },
    Table {
        name: "audit",
        key: "id",
        ints: "id at",
        texts: "actor_kind actor action resource detail address request_id",
        counts: true,
        ..NONE
    },
    Table {
        name: "alarm_rule",
        key: "id",
        ints: "id version created_at updated_at",
        bools: "enabled provisioned",
        texts: "name body",
        counts: true,
        ..NONE
    },
    Table {
        name: "alarm_rule_version",
        key: "rule_id, version",
        ints: "rule_id version created_at",
        texts: "body author",
        ..NONE
    },
    Table {
        name: "alarm",
        key: "id",
        ints: "id rule_id rule_version sensor_id severity highest_severity shelved_until \
            raised_at cleared_at changed_at arrival acknowledged_at event_time \
            occurrences last_notified_at",
        reals: "value peak",
        bools: "active acknowledged latched suppressed out_of_service closed notified",
        texts: "rule_name device sensor acknowledged_by note levels message labels",
        ..NONE
    },
    Table {
        name: "alarm_event",
        key: "id",
        ints: "id alarm_id at arrival severity event_time",
        reals: "value",
        texts: "kind actor note",
        counts: true,
        ..NONE
    },
    Table {
        name: "notification",
        key: "id",
        ints: "id alarm_id event_id attempts not_before created_at sent_at",
        texts: "key target channel kind group_key body state error",
        counts: true,
        ..NONE
    },
    Table {
        name: "notification_target",
        key: "id",
        ints: "id version created_at updated_at",
        bools: "provisioned enabled",
        texts: "name channel body",
        counts: true,
        ..NONE
    },
    Table {
        name: "silence",
        key: "id",
        ints: "id starts_at ends_at created_at",
        texts: "body",
        counts: true,
        ..NONE
    },
    Table {
        name: "broker_run",
        key: "id",
        ints: "id started_at alive_until",
        counts: true,
        ..NONE
    },
    Table { name: "unjudged", key: "first_received", ints: "first_received last_received", ..NONE },
    Table {
        name: "job",
        key: "id",
        ints: "id created_at started_at finished_at done total",
        texts: "kind subject state parameters checkpoint result error",
        counts: true,
        ..NONE
    },
    Table {
        name: "http_answer",
        key: "key",
        ints: "status created_at",
        texts: "headers",
        bytes: "key request body",
        ..NONE
    },
    Table {
        name: "quarantine",
        key: "id",
        ints: "id received_at attempts",
        texts: "source topic client_id device reason detail",
        bytes: "payload",
        counts: true,
        ..NONE
    },
    Table {
        name: "mqtt_inbound",
        key: "client_id, packet_id",
        ints: "packet_id stored_at",
        texts: "client_id",
        bytes: "payload_hash",
        ..NONE
    },
    Table {
        name: "mqtt_session",
        key: "id",
        ints: "id expiry expires_at sent_to",
        texts: "client_id user_name",
        ..NONE
    },
    Table {
        name: "mqtt_subscription",
        key: "session_id, filter",
        ints: "session_id options identifier",
        bools: "replays",
        texts: "filter replayed_to",
        ..NONE
    },
    Table {
        name: "mqtt_message",
        key: "id",
        ints: "id qos received_at expires_at",
        bools: "retain is_utf8",
        texts: "topic",
        bytes: "payload properties",
        ..NONE
    },
    Table {
        name: "mqtt_queue",
        key: "session_id, position",
        ints: "session_id position message_id packet_id qos stage",
        bools: "retain",
        texts: "identifiers share",
        ..NONE
    },
    Table {
        name: "mqtt_unreleased",
        key: "session_id, packet_id",
        ints: "session_id packet_id",
        ..NONE
    },
    Table {
        name: "mqtt_retained",
        key: "topic",
        ints: "qos received_at expires_at",
        bools: "retain is_utf8",
        texts: "topic",
        bytes: "payload properties",
        ..NONE
    },
    Table {
        name: "mqtt_will",
        key: "id",
        ints: "id session_id qos delay message_expiry due_at",
        bools: "retain is_utf8",
        texts: "client_id user_name topic",
        bytes: "payload properties",
        ..NONE
    },
    Table {
        name: "reading",
        key: "sensor_id, event_time",
        ints: "sensor_id event_time received_at quality",
        reals: "value",
        ..NONE
    },
    Table {
        name: "reading_claimed_time",
        key: "sensor_id, event_time",
        ints: "sensor_id event_time claimed",
        ..NONE
    },
    Table {
        name: "reading_hour",
        key: "sensor_id, hour",
        ints: "sensor_id hour count valued first_at last_at quality",
        reals: "min max sum m2 first last",
        bytes: "sketch",
        ..NONE
    },
    Table {
        name: "reading_day",
        key: "sensor_id, day",
        ints: "sensor_id day count valued first_at last_at quality",
        reals: "min max sum m2 first last",
        bytes: "sketch",
        ..NONE
    },
    Table {
        name: "reading_series",
        key: "sensor_id",
        ints: "sensor_id rolled_upto raw_from hours_from",
        filter: "rolled_upto IS NOT NULL OR raw_from IS NOT NULL OR hours_from IS NOT NULL",
        ..NONE
    },
    Table {
        name: "reading_minute",
        key: "sensor_id, first_time",
        ints: "sensor_id first_time last_time",
        bytes: "data",
        ..NONE
    },
    Table { name: "reading_stale", key: "sensor_id, hour", ints: "sensor_id hour", ..NONE },
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::store::{Store, StoreSettings};

    fn kind(declared: &str) -> Kind {
        let declared = declared.to_ascii_lowercase();
        let has = |word| declared.contains(word);
        match () {
            () if has("bool") => Kind::Bool,
            () if has("int") => Kind::Int,
            () if has("double") || has("real") => Kind::Real,
            () if has("blob") => Kind::Bytes,
            () => Kind::Text,
        }
    }

    /// Columns that are found again from what is moved, or are an engine's own.
    const FOUND: [(&str, &str); 6] = [
        ("reading_series", "moved_seq"),
        ("reading_series", "newest_time"),
        ("reading_series", "newest_received"),
        ("reading_series", "newest_value"),
        ("reading_series", "newest_quality"),
        ("reading_minute", "id"),
    ];

    #[tokio::test]
    async fn every_table_and_column_is_moved_or_known_not_to_be() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("brooklet.db");
        Store::open(&StoreSettings::new(path.clone())).await.unwrap().close().await;
        let connection = Connection::open(path).unwrap();
        let mut statement =
            connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
        let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let names: BTreeSet<String> = names.map(Result::unwrap).collect();
        for name in names.iter().filter(|name| !OWN.contains(&name.as_str())) {
            let table = named(name).unwrap_or_else(|| panic!("{name} is not moved"));
            let mut statement =
                connection.prepare(&format!("PRAGMA table_info({name:?})")).unwrap();
            let columns = statement.query_map([], |row| {
                Ok((row.get::<_, String>(1)?, kind(&row.get::<_, String>(2)?)))
            });
            let mut there: BTreeMap<String, Kind> = columns.unwrap().map(Result::unwrap).collect();
            there.retain(|column, _| !FOUND.contains(&(name.as_str(), column.as_str())));
            let moved = table.columns().into_iter().map(|(name, kind)| (name.to_owned(), kind));
            assert_eq!(moved.collect::<BTreeMap<_, _>>().len(), table.columns().len());
            let moved = table.columns().into_iter().map(|(name, kind)| (name.to_owned(), kind));
            for (moved, there) in moved.collect::<BTreeMap<_, _>>().iter().zip(&there) {
                assert_eq!(moved, there, "{name}");
            }
            assert_eq!(table.columns().len(), there.len(), "{name}");
            let sql = "SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_master WHERE name = ?1";
            let counts: bool = connection.query_row(sql, [name], |row| row.get(0)).unwrap();
            assert_eq!(table.counts, counts, "{name}");
        }
        let names = |table: &Table| names.contains(table.name);
        let elsewhere: Vec<_> = TABLES.iter().filter(|t| !names(t)).map(|t| t.name).collect();
        assert_eq!(elsewhere, [READING, STALE]);
    }
}
