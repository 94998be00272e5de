macro_rules! n { ($($a:ident $b:literal),* $(,)?) => { $(pub const $a: &str = $b;)* } }
n! {
 MQTT_CONNECTIONS "brooklet_mqtt_connections", MQTT_CONNECTS "brooklet_mqtt_connects_total",
 MQTT_DISCONNECTS "brooklet_mqtt_disconnects_total", MQTT_REFUSED "brooklet_mqtt_connects_refused_total",
 MQTT_RECEIVED "brooklet_mqtt_messages_received_total", MQTT_DELIVERED "brooklet_mqtt_messages_delivered_total",
 MQTT_DROPPED "brooklet_mqtt_messages_dropped_total", MQTT_BYTES_RECEIVED "brooklet_mqtt_received_bytes_total",
 MQTT_BYTES_SENT "brooklet_mqtt_sent_bytes_total", MQTT_SUBSCRIPTIONS "brooklet_mqtt_subscriptions",
 MQTT_SESSIONS "brooklet_mqtt_sessions", MQTT_RETAINED_MESSAGES "brooklet_mqtt_retained_messages",
 MQTT_RETAINED_BYTES "brooklet_mqtt_retained_bytes", TASK_PANICS "brooklet_task_panics_total",
}
