//! The outbox of a real store, and the worker that runs on it.

use std::{sync::Arc, time::Duration};

use brooklet::{
    alarm::{
        notify::{
            Channels, Keeping, Look, Notice, NoticeKind, Notifier, Retry, Routing, RuleRef,
            Silence, Target, Worker, group_key, idempotency_key,
        },
        rule::Severity,
    },
    clock::Clock,
    mqtt::{InboundRate, Limits, Publisher, SharedDispatch, topic::TopicLimits},
    store::{
        NewNotification, NotificationQuery, NotificationRow, NotificationState, Store, StoreError,
        StoreSettings, Writer,
    },
    telemetry::Timestamp,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::PATIENCE;

/// A store with the committer's side of it.
struct Base {
    store: Store,
    /// `None` while a commit has it.
    writer: Option<Writer>,
}

impl Base {
    /// The one before may need a moment to be gone.
    async fn open(folder: &TempDir) -> Self {
        let busy_timeout = Duration::from_secs(5);
        let path = folder.path().join("brooklet.db");
        let settings = StoreSettings { readers: 2, busy_timeout, ..StoreSettings::new(path) };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let store = loop {
            match Store::open(&settings).await {
                Err(StoreError::InUse { .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => break opened.unwrap(),
            }
        };
        let writer = Some(store.writer(busy_timeout).unwrap());
        Self { store, writer }
    }
}

/// What a lane needs, with retries that a test can wait for.
pub(super) struct Post {
    /// `None` while it is opened anew.
    base: Option<Base>,
    folder: TempDir,
    /// Events told so far.
    events: usize,
    pub(super) notifier: Notifier,
    pub(super) channels: Arc<Channels>,
    pub(super) publisher: Publisher,
    pub(super) retry: Retry,
    pub(super) keeping: Keeping,
    clock: Clock,
    running: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Post {
    /// For targets as JSON.
    pub(super) async fn new(targets: &[serde_json::Value]) -> Self {
        let targets = targets.iter().map(target).collect();
        let clock = Clock::system();
        let publisher = Publisher::new(limits(), clock.clone());
        let look = Look { public_url: Some("http://brook.lan".to_owned()), ..Look::default() };
        let retry = Retry {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(200),
            ..Retry::default()
        };
        let folder = TempDir::new().unwrap();
        Self {
            base: Some(Base::open(&folder).await),
            folder,
            events: 0,
            notifier: Notifier::new(Routing { targets, silences: Vec::new() }),
            channels: Arc::new(Channels::new(publisher.clone(), look, clock.clone())),
            publisher,
            retry,
            keeping: Keeping::default(),
            clock,
            running: None,
        }
    }

    pub(super) async fn started(targets: &[serde_json::Value]) -> Self {
        let mut post = Self::new(targets).await;
        post.start();
        post
    }

    pub(super) fn store(&self) -> &Store {
        &self.base.as_ref().unwrap().store
    }

    pub(super) fn start(&mut self) {
        let stop = CancellationToken::new();
        let (store, channels) = (Arc::new(self.store().clone()), self.channels.clone());
        let (notifier, clock) = (self.notifier.clone(), self.clock.clone());
        let worker = Worker::new(store, channels, notifier, (self.retry, self.keeping), clock);
        self.running = Some((tokio::spawn(worker.run(stop.clone())), stop));
    }

    pub(super) async fn stop(&mut self) {
        let (task, stop) = self.running.take().unwrap();
        stop.cancel();
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }

    /// As `kill -9` does: at any point, without a word. What is left is the file.
    pub(super) async fn kill(&mut self) {
        let (task, _) = self.running.take().unwrap();
        task.abort();
        let _ = task.await;
        drop(self.base.take());
        self.base = Some(Base::open(&self.folder).await);
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }

    /// Makes a row for each addressee in one commit, as a transition does; gives their ids.
    pub(super) async fn tell(&mut self, notice: &Notice) -> Vec<i64> {
        self.tell_at(notice, self.now()).await
    }

    pub(super) async fn tell_at(&mut self, notice: &Notice, created_at: Timestamp) -> Vec<i64> {
        let event = format!("event {}", self.events);
        self.events += 1;
        let routing = self.notifier.routing();
        let row = |target: &Arc<Target>| NewNotification {
            key: idempotency_key(&event, &target.name),
            alarm_id: Some(notice.alarm_id),
            event_id: None,
            target: target.name.clone(),
            channel: target.kind().label().to_owned(),
            kind: notice.kind.label().to_owned(),
            group_key: group_key(target, notice),
            body: serde_json::to_string(notice).unwrap(),
            not_before: created_at,
            created_at,
        };
        let rows: Vec<_> = routing.addressees(notice, &[]).map(row).collect();
        let count = u64::try_from(rows.len()).unwrap();
        let mut writer = self.base.as_mut().unwrap().writer.take().unwrap();
        let commit = tokio::task::spawn_blocking(move || {
            let written = writer.transaction(|transaction| {
                rows.iter().try_for_each(|row| {
                    assert!(transaction.enqueue_notification(row)?, "{}", row.key);
                    Ok(())
                })
            });
            written.unwrap();
            writer
        });
        self.base.as_mut().unwrap().writer = Some(commit.await.unwrap());
        self.notifier.wake();
        let newest = NotificationQuery { limit: count, ..NotificationQuery::default() };
        let newest = self.store().notifications(&newest).await.unwrap();
        newest.iter().rev().map(|row| row.id).collect()
    }

    pub(super) async fn row(&self, id: i64) -> NotificationRow {
        let query =
            NotificationQuery { before: Some(id + 1), limit: 1, ..NotificationQuery::default() };
        let mut rows = self.store().notifications(&query).await.unwrap();
        rows.pop().filter(|row| row.id == id).unwrap()
    }

    pub(super) async fn rows(&self, ids: &[i64]) -> Vec<NotificationRow> {
        let query = NotificationQuery { limit: 100_000, ..NotificationQuery::default() };
        let mut rows = self.store().notifications(&query).await.unwrap();
        rows.retain(|row| ids.contains(&row.id));
        rows.reverse();
        rows
    }

    pub(super) async fn until_state(&self, ids: &[i64], state: NotificationState) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let rows = self.rows(ids).await;
            if rows.len() == ids.len() && rows.iter().all(|row| row.state == state) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{rows:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn silence(&self, json: serde_json::Value) {
        let ends_at = self.now().plus_micros(3_600_000_000);
        self.notifier.set_silences(vec![Silence {
            id: 5,
            matcher: serde_json::from_value(json).unwrap(),
            comment: String::new(),
            author: None,
            starts_at: Timestamp::UNIX_EPOCH,
            ends_at,
        }]);
    }
}

pub(super) async fn eventually(is_so: impl Fn() -> bool) -> bool {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        if tokio::time::Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

pub(super) fn target(json: &serde_json::Value) -> Arc<Target> {
    let mut json = json.clone();
    json.as_object_mut().unwrap().entry("rate_per_minute").or_insert(json!(10_000));
    let target: Target = serde_json::from_value(json).unwrap();
    target.check().unwrap();
    Arc::new(target)
}

pub(super) fn notice(alarm_id: i64, kind: NoticeKind) -> Notice {
    let at = Timestamp::from_micros(1_766_125_800_000_000 + alarm_id);
    Notice {
        kind,
        alarm_id,
        rule: RuleRef { name: "Boiler too hot".to_owned(), version: 3 },
        severity: Severity::Critical,
        value: Some(41.2),
        unit: Some("°C".to_owned()),
        limit: Some("> 40".to_owned()),
        cleared_at: (kind == NoticeKind::Cleared).then_some(at),
        message: "It is 41.2 °C, 40 is allowed".to_owned(),
        ..Notice::test("none", at)
    }
}

fn limits() -> Limits {
    Limits {
        connections_max: 10,
        connect_timeout: PATIENCE,
        packet_size_max: 1 << 20,
        receive_maximum: 10,
        inflight_max: 10,
        queued_messages_max: 1000,
        queued_bytes_max: 1 << 20,
        queued_bytes_total_max: 1 << 20,
        queued_age_max: Duration::ZERO,
        inbound_rate: InboundRate::default(),
        sessions_max: 10,
        shared_dispatch: SharedDispatch::RoundRobin,
        session_expiry_max: u32::MAX,
        keep_alive_max: 0,
        topic_alias_max: 10,
        subscriptions_max: 10,
        topics: TopicLimits { levels_max: 16, bytes_max: 256 },
        retained_messages_max: 1000,
        retained_bytes_max: 1 << 20,
        stall_timeout: PATIENCE,
    }
}
