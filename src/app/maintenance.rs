//! What is done every so often: presence, sessions, metrics, the line with totals.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use metrics::{counter, gauge};
use serde_json::json;

use super::tasks::Tasks;
use crate::{
    access::{Access, Gatekeeper},
    alarm::engine::Order,
    clock::Clock,
    ingest::{Committer, Tap},
    live::Hub,
    metrics::{Exporter, names},
    mqtt::{Broker, Publisher, QoS, ReasonCode, SystemTopics},
    registry::Registry,
    store::Store,
    telemetry::Timestamp,
};

const EVERY_SECOND: Duration = Duration::from_secs(1);
const EVERY_MINUTE: Duration = Duration::from_secs(60);
/// Samples wait this long to be put into their buckets, at most.
const UPKEEP: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Maintenance {
    pub(super) access: Arc<Access>,
    pub(super) gatekeeper: Arc<Gatekeeper>,
    pub(super) audit_entries_max: i64,
    pub(super) live: Arc<Hub>,
    pub(super) registry: Arc<Registry>,
    pub(super) broker: Arc<Broker>,
    pub(super) publisher: Publisher,
    pub(super) committer: Arc<Committer>,
    pub(super) tap: Arc<Tap>,
    pub(super) store: Store,
    pub(super) exporter: Exporter,
    pub(super) clock: Clock,
}

impl Maintenance {
    pub(super) fn start(
        self,
        tasks: &mut Tasks,
        summary_interval: Duration,
        sys_interval: Duration,
    ) {
        self.publish_all_presence();
        let presence = self.clone();
        tasks.every("presence", EVERY_SECOND, move || {
            presence.tell_presence();
            std::future::ready(())
        });
        let (tap, clock) = (self.tap.clone(), self.clock.clone());
        tasks.every("pulse", EVERY_SECOND, move || {
            tap.meters().beat(Timestamp::from_micros(clock.unix_micros()));
            std::future::ready(())
        });
        let sessions = self.broker.clone();
        tasks.every("sessions", EVERY_SECOND, move || {
            let broker = sessions.clone();
            async move { broker.sweep().await }
        });
        let queues = self.broker.clone();
        tasks.every("queues", EVERY_MINUTE, move || {
            queues.drop_old();
            std::future::ready(())
        });
        let access = self.clone();
        tasks.every("access", EVERY_MINUTE, move || {
            let maintenance = access.clone();
            async move { maintenance.keep_access().await }
        });
        let gauges = self.clone();
        tasks.every("metrics", UPKEEP, move || {
            let maintenance = gauges.clone();
            async move { maintenance.measure().await }
        });
        if !sys_interval.is_zero() {
            let (own, mut topics) = (self.clone(), SystemTopics::default());
            topics.tell(&own.broker, &own.publisher, own.clock.monotonic());
            tasks.every("system topics", sys_interval, move || {
                topics.tell(&own.broker, &own.publisher, own.clock.monotonic());
                std::future::ready(())
            });
        }
        if !summary_interval.is_zero() {
            tasks.every("summary", summary_interval, move || {
                self.log_summary();
                std::future::ready(())
            });
        }
    }

    /// Ends what has expired, and cuts who connected with it.
    async fn keep_access(&self) {
        if let Err(error) = self.access.upkeep(self.audit_entries_max).await {
            tracing::warn!(%error, "sessions, last uses and the audit log wait for the next minute");
        }
        for client in self.access.connections.where_not(|who| self.gatekeeper.still_admits(who)) {
            self.broker.disconnect(&client, ReasonCode::NOT_AUTHORIZED);
        }
    }

    /// Says who came and went: in the log, in the metrics, retained on the device's own topic.
    fn tell_presence(&self) {
        self.forget_presence();
        let now = Timestamp::from_micros(self.clock.unix_micros());
        let changes = self.registry.take_presence_changes(now);
        if !changes.is_empty() {
            self.committer.flush_reports();
        }
        for change in changes.into_iter().filter(|change| !change.device.is_leaving()) {
            let (device, state) =
                (&change.device.key, if change.online { "online" } else { "offline" });
            tracing::info!(%device, state, at = %change.at, "presence changed");
            counter!(names::PRESENCE_CHANGES, "state" => state).increment(1);
            self.publish_presence(device.as_str(), change.online, change.at);
            self.live.publish().presence(device, change.online, change.at);
            let (device, online, at) = (change.device, change.online, change.at);
            self.committer.order(Order::Presence { device, online, at });
        }
    }

    /// Of a deleted device nothing stays retained.
    fn forget_presence(&self) {
        for device in self.registry.take_removed() {
            let topic = format!("devices/{device}/presence");
            let nothing = Bytes::new();
            if let Err(error) = self.publisher.publish(&topic, nothing, QoS::AtLeastOnce, true) {
                tracing::debug!(%error, topic, "presence could not be taken back");
            }
        }
    }

    /// Retains every device's presence as the registry has it, where something else is retained.
    pub(super) fn publish_all_presence(&self) {
        for device in self.registry.all() {
            let device = device.snapshot();
            let at = device.last_seen.unwrap_or(device.first_seen);
            self.publish_presence(device.key.as_str(), device.online, at);
        }
    }

    fn publish_presence(&self, device: &str, online: bool, at: Timestamp) {
        let body = json!({"device": device, "online": online, "at": at.to_string()});
        let topic = format!("devices/{device}/presence");
        let payload = Bytes::from(body.to_string());
        if self.publisher.retained(&topic).as_ref() == Some(&payload) {
            return;
        }
        if let Err(error) = self.publisher.publish(&topic, payload, QoS::AtLeastOnce, true) {
            tracing::debug!(%error, topic, "presence could not be published");
        }
    }

    async fn measure(&self) {
        self.exporter.upkeep();
        let devices = self.registry.count();
        let offline = devices.total - devices.online;
        for (state, count) in [
            ("online", devices.online),
            ("offline", offline),
            ("pending", devices.pending),
            ("blocked", devices.blocked),
        ] {
            gauge!(names::DEVICES, "state" => state).set(count as f64);
        }
        if let Some(readings) = self.store.recent_readings() {
            gauge!(names::STORE_RECENT).set(readings as f64);
        }
        gauge!(names::INGEST_QUEUE).set(self.tap.queued() as f64);
        match self.store.quarantine_size().await {
            Ok((entries, bytes)) => {
                gauge!(names::QUARANTINE_ENTRIES).set(entries as f64);
                gauge!(names::QUARANTINE_BYTES).set(bytes as f64);
            }
            Err(error) => {
                counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
                tracing::warn!(%error, "the quarantine could not be measured");
            }
        }
    }

    fn log_summary(&self) {
        let totals = self.tap.meters().totals();
        let devices = self.registry.count();
        let share = match totals.messages {
            0 => 100.0,
            messages => totals.accepted as f64 / messages as f64 * 100.0,
        };
        tracing::info!(
            uptime_seconds = self.clock.monotonic().as_secs(),
            messages = totals.messages,
            accepted = totals.accepted,
            refused = totals.refused,
            accepted_percent = format!("{share:.2}"),
            readings = totals.readings,
            connections = self.broker.connections(),
            devices = devices.total,
            devices_online = devices.online,
            "totals since the start"
        );
    }
}
