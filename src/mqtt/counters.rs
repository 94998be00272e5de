//! What the broker counts, for the metrics and for `$SYS`. The handles are looked up once: the hot path
//! only adds.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use metrics::{Counter, Gauge, counter, gauge};

use super::{
    packet::{QoS, Version},
    reason::ReasonCode,
    transport::Transport,
};
use crate::metrics::names;

/// A metric that can be read back.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    metric: Counter,
    value: Arc<AtomicU64>,
}

impl Tally {
    fn of(metric: Counter) -> Self {
        Self { metric, value: Arc::default() }
    }

    pub(crate) fn increment(&self, by: u64) {
        self.metric.increment(by);
        self.value.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Counters {
    connections: [Gauge; 2],
    connected: Arc<AtomicI64>,
    connects: [Tally; 2],
    received: [Tally; 3],
    delivered: [Tally; 3],
    pub(crate) sockets: Tally,
    pub(crate) packets_received: Tally,
    pub(crate) packets_sent: Tally,
    pub(crate) payload_received: Tally,
    pub(crate) payload_sent: Tally,
    pub(crate) bytes_received: Tally,
    pub(crate) bytes_sent: Tally,
    pub(crate) sessions_expired: Tally,
    pub(crate) dropped: Dropped,
    pub(crate) subscriptions: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) retained_messages: Gauge,
    pub(crate) retained_bytes: Gauge,
    pub(crate) queued_messages: Gauge,
    pub(crate) queued_bytes: Gauge,
}

macro_rules! dropped {
    ($($(#[$doc:meta])* $cause:ident = $label:literal;)*) => {
        /// Messages that did not reach a receiver, by cause.
        #[derive(Debug, Clone)]
        pub(crate) struct Dropped { $($(#[$doc])* pub(crate) $cause: Tally,)* }

        impl Default for Dropped {
            fn default() -> Self {
                Self {
                    $($cause: Tally::of(counter!(names::MQTT_DROPPED, "reason" => $label)),)*
                }
            }
        }

        impl Dropped {
            fn sum(&self) -> u64 {
                [$(&self.$cause),*].map(Tally::value).into_iter().sum()
            }
        }
    };
}

dropped! {
    /// QoS 0, for a client whose queue is full.
    queue_full = "queue_full";
    /// The queues of all clients are full together.
    over_budget = "memory";
    /// Made place for a newer one.
    oldest = "oldest";
    /// Owed by a session that has ended.
    session_ended = "session_ended";
    /// Waited too long for an absent client.
    too_old = "too_old";
    /// By its message expiry interval.
    expired = "expired";
    /// The client takes no packets of that size.
    too_large = "packet_too_large";
    not_authorized = "not_authorized";
    /// Delivered, but not retained.
    retained_full = "retained_full";
    /// The store did not take it.
    unavailable = "unavailable";
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
        let by_qos = |name: &'static str| levels.map(|qos| Tally::of(counter!(name, "qos" => qos)));
        let tally = |name: &'static str| Tally::of(counter!(name));
        Self {
            connections: versions.map(|v| gauge!(names::MQTT_CONNECTIONS, "version" => v)),
            connected: Arc::default(),
            connects: versions.map(|v| Tally::of(counter!(names::MQTT_CONNECTS, "version" => v))),
            received: by_qos(names::MQTT_RECEIVED),
            delivered: by_qos(names::MQTT_DELIVERED),
            sockets: tally(names::MQTT_SOCKETS),
            packets_received: tally(names::MQTT_PACKETS_RECEIVED),
            packets_sent: tally(names::MQTT_PACKETS_SENT),
            payload_received: tally(names::MQTT_PAYLOAD_RECEIVED),
            payload_sent: tally(names::MQTT_PAYLOAD_SENT),
            bytes_received: tally(names::MQTT_BYTES_RECEIVED),
            bytes_sent: tally(names::MQTT_BYTES_SENT),
            sessions_expired: tally(names::MQTT_SESSIONS_EXPIRED),
            dropped: Dropped::default(),
            subscriptions: gauge!(names::MQTT_SUBSCRIPTIONS),
            sessions: gauge!(names::MQTT_SESSIONS),
            retained_messages: gauge!(names::MQTT_RETAINED_MESSAGES),
            retained_bytes: gauge!(names::MQTT_RETAINED_BYTES),
            queued_messages: gauge!(names::MQTT_QUEUED_MESSAGES),
            queued_bytes: gauge!(names::MQTT_QUEUED_BYTES),
        }
    }
}

/// Everything that was counted since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) connected: i64,
    pub(super) sessions_expired: u64,
    pub(super) packets_received: u64,
    pub(super) packets_sent: u64,
    pub(super) publish_received: u64,
    pub(super) publish_sent: u64,
    pub(super) publish_dropped: u64,
    pub(super) payload_received: u64,
    pub(super) payload_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) sockets: u64,
    pub(super) connects: u64,
}

impl Totals {
    /// Those that are also told per minute, in the order of their topics.
    pub(super) fn loads(&self) -> [u64; 9] {
        [
            self.packets_received,
            self.packets_sent,
            self.publish_received,
            self.publish_sent,
            self.publish_dropped,
            self.bytes_received,
            self.bytes_sent,
            self.sockets,
            self.connects,
        ]
    }
}

impl Counters {
    pub(super) fn totals(&self) -> Totals {
        let sum = |tallies: &[Tally]| tallies.iter().map(Tally::value).sum();
        Totals {
            connected: self.connected.load(Ordering::Relaxed),
            sessions_expired: self.sessions_expired.value(),
            packets_received: self.packets_received.value(),
            packets_sent: self.packets_sent.value(),
            publish_received: sum(&self.received),
            publish_sent: sum(&self.delivered),
            publish_dropped: self.dropped.sum(),
            payload_received: self.payload_received.value(),
            payload_sent: self.payload_sent.value(),
            bytes_received: self.bytes_received.value(),
            bytes_sent: self.bytes_sent.value(),
            sockets: self.sockets.value(),
            connects: sum(&self.connects),
        }
    }

    pub(crate) fn connected(&self, version: Version) {
        let at = by_version(version);
        self.connected.fetch_add(1, Ordering::Relaxed);
        self.connects.get(at).inspect(|counter| counter.increment(1));
        self.connections.get(at).inspect(|gauge| gauge.increment(1.0));
    }

    pub(crate) fn disconnected(&self, version: Version, reason: ReasonCode) {
        self.connected.fetch_sub(1, Ordering::Relaxed);
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

    pub(crate) fn received(&self, qos: QoS, payload: usize) {
        self.received.get(qos as usize).inspect(|counter| counter.increment(1));
        self.payload_received.increment(payload as u64);
    }

    pub(crate) fn delivered(&self, qos: QoS, payload: usize) {
        self.delivered.get(qos as usize).inspect(|counter| counter.increment(1));
        self.payload_sent.increment(payload as u64);
    }
}
