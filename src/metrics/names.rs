//! Every metric's name, with its help text. Prefix `brooklet_`, base units.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

macro_rules! metrics {
    ($($name:ident = $text:literal, $help:literal, $describe:ident;)*) => {
        $(pub const $name: &str = $text;)*

        /// Registers the help texts with the recorder.
        pub(super) fn describe() {
            $($describe($text, $help);)*
        }
    };
}

fn counter(name: &'static str, help: &'static str) {
    describe_counter!(name, help);
}

fn gauge(name: &'static str, help: &'static str) {
    describe_gauge!(name, help);
}

fn seconds(name: &'static str, help: &'static str) {
    describe_histogram!(name, Unit::Seconds, help);
}

fn sizes(name: &'static str, help: &'static str) {
    describe_histogram!(name, Unit::Count, help);
}

metrics! {
    BUILD_INFO = "brooklet_build_info", "Always 1; the version is a label.", gauge;
    TASK_PANICS = "brooklet_task_panics_total", "Tasks that panicked; each ended alone.", counter;
    MQTT_CONNECTIONS = "brooklet_mqtt_connections", "Clients connected, by protocol version.", gauge;
    MQTT_CONNECTS = "brooklet_mqtt_connects_total", "Accepted CONNECTs, by protocol version.", counter;
    MQTT_REFUSED = "brooklet_mqtt_connects_refused_total", "Connections that did not get past CONNECT, by reason.", counter;
    MQTT_HANDSHAKES_FAILED = "brooklet_mqtt_handshakes_failed_total", "TLS and WebSocket handshakes that failed or took too long, by transport of the listener.", counter;
    MQTT_TURNED_AWAY = "brooklet_mqtt_connections_turned_away_total", "Connections closed when they were accepted, by reason.", counter;
    MQTT_DISCONNECTS = "brooklet_mqtt_disconnects_total", "Connections ended, by reason.", counter;
    MQTT_SOCKETS = "brooklet_mqtt_sockets_opened_total", "Connections opened to MQTT listeners, whatever came of them.", counter;
    MQTT_PACKETS_RECEIVED = "brooklet_mqtt_packets_received_total", "MQTT packets of all kinds received after CONNECT.", counter;
    MQTT_PACKETS_SENT = "brooklet_mqtt_packets_sent_total", "MQTT packets of all kinds sent.", counter;
    MQTT_PAYLOAD_RECEIVED = "brooklet_mqtt_payload_received_bytes_total", "Payloads of PUBLISH packets received.", counter;
    MQTT_PAYLOAD_SENT = "brooklet_mqtt_payload_sent_bytes_total", "Payloads of PUBLISH packets sent.", counter;
    MQTT_SESSIONS_EXPIRED = "brooklet_mqtt_sessions_expired_total", "Sessions that ended because their client stayed away.", counter;
    MQTT_RECEIVED = "brooklet_mqtt_messages_received_total", "PUBLISH packets received, by QoS.", counter;
    MQTT_DELIVERED = "brooklet_mqtt_messages_delivered_total", "PUBLISH packets sent, by QoS; redeliveries included.", counter;
    MQTT_DROPPED = "brooklet_mqtt_messages_dropped_total", "Messages that did not reach a receiver, by reason.", counter;
    MQTT_BYTES_RECEIVED = "brooklet_mqtt_received_bytes_total", "Bytes read from MQTT sockets.", counter;
    MQTT_BYTES_SENT = "brooklet_mqtt_sent_bytes_total", "Bytes written to MQTT sockets.", counter;
    MQTT_SUBSCRIPTIONS = "brooklet_mqtt_subscriptions", "Subscriptions of all sessions.", gauge;
    MQTT_SESSIONS = "brooklet_mqtt_sessions", "Sessions, those of absent clients included.", gauge;
    MQTT_RETAINED_MESSAGES = "brooklet_mqtt_retained_messages", "Retained messages.", gauge;
    MQTT_RETAINED_BYTES = "brooklet_mqtt_retained_bytes", "Topics, properties and payloads of retained messages.", gauge;
    MQTT_QUEUED_MESSAGES = "brooklet_mqtt_queued_messages", "Messages that wait in stored sessions; counted once a minute.", gauge;
    MQTT_QUEUED_BYTES = "brooklet_mqtt_queued_bytes", "What all sessions' queues hold.", gauge;
    ACCESS_FAILURES = "brooklet_access_failures_total", "Logins over MQTT and HTTP with a wrong user name, password or certificate.", counter;
    ACCESS_BANS = "brooklet_access_bans_total", "Pairs of address and user name that were refused for a while from then on.", counter;
    ACCESS_THROTTLED = "brooklet_access_throttled_total", "Logins over MQTT and HTTP refused unchecked, by reason: failures before, or too many connects.", counter;
    INGEST_MESSAGES = "brooklet_ingest_messages_total", "Messages on ingest topics, by route and outcome.", counter;
    INGEST_READINGS = "brooklet_ingest_readings_total", "Readings, by outcome and, for refused ones, reason.", counter;
    INGEST_REPAIRS = "brooklet_ingest_repairs_total", "Payloads with small damage that was mended, by kind.", counter;
    INGEST_QUEUE = "brooklet_ingest_queue_messages", "Messages that wait to be stored.", gauge;
    INGEST_BATCH = "brooklet_ingest_batch_messages", "Messages in a transaction.", sizes;
    INGEST_ACKNOWLEDGE = "brooklet_ingest_acknowledge_seconds", "From a message's receipt to its acknowledgement.", seconds;
    STORE_COMMIT = "brooklet_store_commit_seconds", "From a batch's begin to its commit.", seconds;
    STORE_ERRORS = "brooklet_store_errors_total", "Failed transactions, by kind.", counter;
    STORE_RECENT = "brooklet_store_recent_readings", "Stored readings that are in memory, too, and not packed into chunks yet (SQLite).", gauge;
    STORE_PACKED = "brooklet_store_packed_readings_total", "Readings packed into chunks (SQLite).", counter;
    STORE_FREE_BYTES = "brooklet_store_free_bytes", "Bytes that are free on the disk that the SQLite file is on.", gauge;
    STORE_USED_BYTES = "brooklet_store_used_bytes", "Bytes that the database has in use, pages that deletions have freed left out.", gauge;
    ROLLUP_HOURS = "brooklet_rollup_hours_total", "Statistics by hour made, the first time and again (PostgreSQL, MariaDB).", counter;
    ROLLUP_STALE = "brooklet_rollup_stale_hours", "Hours whose statistics are to be made again, as of the last look: readings came late, or went.", gauge;
    ROLLUP_WAITING = "brooklet_rollup_waiting", "Sensors and stale hours that the present look has still to do (PostgreSQL, MariaDB).", gauge;
    RETENTION_DROPPED = "brooklet_retention_dropped_readings_total", "Raw readings dropped because of their age, or for want of room.", counter;
    RETENTION_LAST_RUN = "brooklet_retention_last_run_timestamp_seconds", "When what is too old was last looked for, to the end, since 1970.", gauge;
    STREAM_CLIENTS = "brooklet_stream_clients", "WebSocket and Server-Sent Events clients connected, by transport.", gauge;
    STREAM_SENT = "brooklet_stream_events_sent_total", "Events sent to stream clients, by transport.", counter;
    STREAM_MISSED = "brooklet_stream_events_missed_total", "Events that stream clients missed because they did not keep up; each is told in a gap.", counter;
    STREAM_RESUMED = "brooklet_stream_events_resumed_total", "Readings and changes of alarms sent from the store to stream clients that came back.", counter;
    STREAM_REFUSED = "brooklet_stream_clients_refused_total", "Stream clients turned away, by reason.", counter;
    STREAM_CUT = "brooklet_stream_clients_cut_total", "Stream connections ended by Brooklet, by reason.", counter;
    QUARANTINED = "brooklet_quarantined_messages_total", "Messages put in quarantine.", counter;
    QUARANTINE_DROPPED = "brooklet_quarantine_dropped_total", "Oldest quarantined messages dropped for want of room.", counter;
    QUARANTINE_ENTRIES = "brooklet_quarantine_entries", "Messages in quarantine.", gauge;
    QUARANTINE_BYTES = "brooklet_quarantine_bytes", "Payloads in quarantine.", gauge;
    BACKUP_LAST_SUCCESS = "brooklet_backup_last_success_timestamp_seconds", "When the newest backup was made, in seconds since 1970.", gauge;
    BACKUP_FAILURES = "brooklet_backup_failures_total", "Backups that could not be made.", counter;
    DEVICES = "brooklet_devices", "Registered devices, by state.", gauge;
    PRESENCE_CHANGES = "brooklet_presence_changes_total", "Devices that came online or went offline.", counter;
    ALARMS_ACTIVE = "brooklet_alarms_active", "Active alarms, by severity.", gauge;
    ALARM_EVENTS = "brooklet_alarm_events_total", "What happened to alarms, by kind: raised, escalated, cleared, acknowledged and so on.", counter;
    ALARM_EVALUATION_SECONDS = "brooklet_alarm_evaluation_seconds", "Judging one batch by the alarm rules, inside its transaction.", seconds;
    NOTIFICATIONS = "brooklet_notifications_total", "Notices of alarms, by channel and outcome: sent, failed (to be tried again), dead, silenced, cancelled.", counter;
    NOTIFICATION_SECONDS = "brooklet_notification_send_seconds", "One try of a message to a notification target, by channel.", seconds;
    OUTBOX_AGE = "brooklet_notification_outbox_oldest_age_seconds", "Age of the oldest notice that waits to be sent.", gauge;
    OUTBOX_WAITING = "brooklet_notification_outbox_waiting", "Notices that wait to be sent.", gauge;
    HTTP_REQUESTS = "brooklet_http_requests_total", "HTTP requests, by operation and status.", counter;
    HTTP_REFUSED = "brooklet_http_requests_refused_total", "HTTP requests refused unread, by reason: rate (429) or busy (503).", counter;
    HTTP_CONNECTIONS = "brooklet_http_connections", "HTTP connections, TLS handshakes included.", gauge;
    HTTP_TURNED_AWAY = "brooklet_http_connections_turned_away_total", "HTTP connections closed when they were accepted, by reason.", counter;
    HTTP_HANDSHAKES_FAILED = "brooklet_http_handshakes_failed_total", "TLS handshakes of HTTP listeners that failed or took too long.", counter;
    HTTP_SECONDS = "brooklet_http_request_seconds", "From a request's header to its response, by operation.", seconds;
}
