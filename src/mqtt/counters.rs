//! The broker's metric handles, looked up once: the hot path only adds.

use metrics::{Counter, Gauge, counter, gauge};

use super::{
    packet::{QoS, Version},
    reason::ReasonCode,
    transport::Transport,
};
use crate::metrics::names;

#[derive(Debug, Clone)]
pub(crate) struct Counters {
    connections: [Gauge; 2],
    connects: [Counter; 2],
    received: [Counter; 3],
    delivered: [Counter; 3],
    pub(crate) bytes_received: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) dropped_queue_full: Counter,
    pub(crate) dropped_overflow: Counter,
    pub(crate) dropped_oldest: Counter,
    pub(crate) dropped_expired: Counter,
    pub(crate) dropped_too_large: Counter,
    pub(crate) dropped_not_authorized: Counter,
    pub(crate) dropped_retained_full: Counter,
    pub(crate) dropped_unavailable: Counter,
    pub(crate) subscriptions: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) retained_messages: Gauge,
    pub(crate) retained_bytes: Gauge,
}

fn by_version(version: Version) -> usize {
    match version {
        Version::V4 => 0,
        Version::V5 => 1,
    }
}

impl Default for Counters {
    fn default() -> Self {
        let versions = [Version::V4, Version::V5].map(Version::label);
        let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].map(QoS::label);
        let dropped = |reason: &'static str| counter!(names::MQTT_DROPPED, "reason" => reason);
        Self {
            connections: versions.map(|v| gauge!(names::MQTT_CONNECTIONS, "version" => v)),
            connects: versions.map(|v| counter!(names::MQTT_CONNECTS, "version" => v)),
            received: levels.map(|qos| counter!(names::MQTT_RECEIVED, "qos" => qos)),
            delivered: levels.map(|qos| counter!(names::MQTT_DELIVERED, "qos" => qos)),
            bytes_received: counter!(names::MQTT_BYTES_RECEIVED),
            bytes_sent: counter!(names::MQTT_BYTES_SENT),
            dropped_queue_full: dropped("queue_full"),
            dropped_overflow: dropped("slow_subscriber"),
            dropped_oldest: dropped("oldest_of_absent"),
            dropped_expired: dropped("expired"),
            dropped_too_large: dropped("packet_too_large"),
            dropped_not_authorized: dropped("not_authorized"),
            dropped_retained_full: dropped("retained_full"),
            dropped_unavailable: dropped("unavailable"),
            subscriptions: gauge!(names::MQTT_SUBSCRIPTIONS),
            sessions: gauge!(names::MQTT_SESSIONS),
            retained_messages: gauge!(names::MQTT_RETAINED_MESSAGES),
            retained_bytes: gauge!(names::MQTT_RETAINED_BYTES),
        }
    }
}

impl Counters {
    pub(crate) fn connected(&self, version: Version) {
        let at = by_version(version);
        self.connects.get(at).inspect(|counter| counter.increment(1));
        self.connections.get(at).inspect(|gauge| gauge.increment(1.0));
    }

    pub(crate) fn disconnected(&self, version: Version, reason: ReasonCode) {
        self.connections.get(by_version(version)).inspect(|gauge| gauge.decrement(1.0));
        counter!(names::MQTT_DISCONNECTS, "reason" => reason.label()).increment(1);
    }

    /// A CONNECT that was not accepted, or that never came.
    pub(crate) fn refused(&self, reason: ReasonCode) {
        counter!(names::MQTT_REFUSED, "reason" => reason.label()).increment(1);
    }

    /// A TLS or WebSocket handshake that did not end well.
    pub(crate) fn handshake_failed(&self, transport: Transport) {
        counter!(names::MQTT_HANDSHAKES_FAILED, "transport" => transport.label()).increment(1);
    }

    /// A connection that was closed as soon as it was accepted.
    pub(crate) fn turned_away(&self, reason: &'static str) {
        counter!(names::MQTT_TURNED_AWAY, "reason" => reason).increment(1);
    }

    pub(crate) fn received(&self, qos: QoS) {
        self.received.get(qos as usize).inspect(|counter| counter.increment(1));
    }

    pub(crate) fn delivered(&self, qos: QoS) {
        self.delivered.get(qos as usize).inspect(|counter| counter.increment(1));
    }
}
