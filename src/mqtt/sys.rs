//! `$SYS/broker/…`: what the broker tells of itself, under the topics that mosquitto has made usual.

use std::time::Duration;

use bytes::Bytes;

use super::{
    broker::{Broker, Publisher},
    counters::Totals,
    packet::QoS,
};

const VERSION: &str = concat!("brooklet version ", env!("CARGO_PKG_VERSION"));
/// Loads are told as averages over these many minutes.
const MINUTES: [(u32, &str); 3] = [(1, "1min"), (5, "5min"), (15, "15min")];

/// What is told each time, and what was told before.
#[derive(Debug, Default)]
pub struct SystemTopics {
    told: Totals,
    told_at: Option<Duration>,
    clients_max: usize,
    /// Per minute, for each total and each of [`MINUTES`].
    loads: [[f64; 3]; LOADS],
}

const LOADS: usize = 9;

impl SystemTopics {
    /// Publishes everything, retained. `now` is on the clock's monotonic scale, which began with the
    /// process.
    pub fn tell(&mut self, broker: &Broker, publisher: &Publisher, now: Duration) {
        let totals = broker.counters.totals();
        let elapsed = now.saturating_sub(self.told_at.unwrap_or_default()).as_secs_f64();
        self.follow_loads(&totals, elapsed);
        (self.told, self.told_at) = (totals, Some(now));
        let say = |topic: &str, value: String| {
            let topic = format!("$SYS/broker/{topic}");
            if let Err(error) = publisher.publish(&topic, Bytes::from(value), QoS::AtMostOnce, true)
            {
                tracing::debug!(%error, topic, "not published");
            }
        };
        say("version", VERSION.to_owned());
        say("uptime", format!("{} seconds", now.as_secs()));
        self.tell_clients(broker, &totals, &say);
        tell_messages(broker, &totals, &say);
        let names = LOAD_NAMES.iter().zip(&self.loads);
        for (name, averages) in names {
            for ((_, span), average) in MINUTES.iter().zip(averages) {
                say(&format!("load/{name}/{span}"), format!("{average:.2}"));
            }
        }
    }

    fn tell_clients(&mut self, broker: &Broker, totals: &Totals, say: &impl Fn(&str, String)) {
        let connected = usize::try_from(totals.connected).unwrap_or(0);
        let sessions = broker.sessions().max(connected);
        self.clients_max = self.clients_max.max(connected);
        say("clients/connected", connected.to_string());
        say("clients/active", connected.to_string());
        say("clients/disconnected", (sessions - connected).to_string());
        say("clients/inactive", (sessions - connected).to_string());
        say("clients/total", sessions.to_string());
        say("clients/maximum", self.clients_max.to_string());
        say("clients/expired", totals.sessions_expired.to_string());
    }

    /// Exponentially weighted averages per minute.
    fn follow_loads(&mut self, totals: &Totals, elapsed: f64) {
        if elapsed <= 0.0 {
            return;
        }
        let (fresh, told) = (totals.loads(), self.told.loads());
        for ((averages, fresh), told) in self.loads.iter_mut().zip(fresh).zip(told) {
            let per_minute = fresh.saturating_sub(told) as f64 * 60.0 / elapsed;
            for (average, (minutes, _)) in averages.iter_mut().zip(MINUTES) {
                let weight = (-elapsed / (60.0 * f64::from(minutes))).exp();
                *average = per_minute + weight * (*average - per_minute);
            }
        }
    }
}

/// In the order of [`Totals::loads`].
const LOAD_NAMES: [&str; LOADS] = [
    "messages/received",
    "messages/sent",
    "publish/received",
    "publish/sent",
    "publish/dropped",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];

fn tell_messages(broker: &Broker, totals: &Totals, say: &impl Fn(&str, String)) {
    let (retained, retained_bytes) = broker.router.retained();
    for (topic, value) in [
        ("messages/received", totals.packets_received),
        ("messages/sent", totals.packets_sent),
        ("publish/messages/received", totals.publish_received),
        ("publish/messages/sent", totals.publish_sent),
        ("publish/messages/dropped", totals.publish_dropped),
        ("publish/bytes/received", totals.payload_received),
        ("publish/bytes/sent", totals.payload_sent),
        ("bytes/received", totals.bytes_received),
        ("bytes/sent", totals.bytes_sent),
        ("retained messages/count", retained as u64),
        ("store/messages/count", retained as u64),
        ("store/messages/bytes", (retained_bytes + broker.router.budget.used()) as u64),
        ("subscriptions/count", broker.router.subscription_count() as u64),
    ] {
        say(topic, value.to_string());
    }
}
