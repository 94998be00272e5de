macro_rules! n { ($($a:ident $b:literal),* $(,)?) => { $(pub const $a: &str = $b;)* } }
n! {
 MQTT_CONNECTIONS "brooklet_mqtt_connections", MQTT_CONNECTS "brooklet_mqtt_connects_total",
 MQTT_DISCONNECTS "brooklet_mqtt_disconnects_total", MQTT_REFUSED "brooklet_mqtt_connects_refused_total",
 MQTT_RECEIVED "brooklet_mqtt_messages_received_total", MQTT_DELIVERED "brooklet_mqtt_messages_delivered_total",
 MQTT_DROPPED "brooklet_mqtt_messages_dropped_total", MQTT_BYTES_RECEIVED "brooklet_mqtt_received_bytes_total",
 MQTT_BYTES_SENT "brooklet_mqtt_sent_bytes_total", MQTT_SUBSCRIPTIONS "brooklet_mqtt_subscriptions",
 MQTT_SESSIONS "brooklet_mqtt_sessions", MQTT_RETAINED_MESSAGES "brooklet_mqtt_retained_messages",
 MQTT_RETAINED_BYTES "brooklet_mqtt_retained_bytes", TASK_PANICS "brooklet_task_panics_total",
 INGEST_MESSAGES "brooklet_ingest_messages_total", INGEST_READINGS "brooklet_ingest_readings_total",
 INGEST_QUEUE "brooklet_ingest_queue_messages", INGEST_BATCH "brooklet_ingest_batch_messages",
 INGEST_ACKNOWLEDGE "brooklet_ingest_acknowledge_seconds", INGEST_REPAIRS "brooklet_ingest_repairs_total",
 STORE_COMMIT "brooklet_store_commit_seconds", STORE_ERRORS "brooklet_store_errors_total",
 QUARANTINED "brooklet_quarantine_entries_total", QUARANTINE_DROPPED "brooklet_quarantine_dropped_total",
}
