//! The committer: one thread, one transaction per batch, answers only after the commit.
//!
//! Commits as soon as the last commit is done, with whatever has queued meanwhile: one message at low
//! load, thousands at high load; no timers. While the store fails nothing is answered: the batch is
//! tried again, the queue fills, connections stop reading. A batch that the store refuses is halved
//! until the message at fault is found, which is quarantined.

use std::{
    collections::{HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use metrics::{counter, histogram};
use parking_lot::Mutex;

use super::{
    alarms::Alarms,
    announce::{ShowAlarm, announce, announce_alarms},
    metrics::Meters,
    queue::{Drained, Queue},
    rejection::{Rejection, RejectionReason},
    stage::{Stage, Staged, StagedMessage},
    submission::{Submission, Task},
    verdict::Verdict,
};
use crate::{
    alarm::engine::{Judged, Order},
    clock::Clock,
    live::Hub,
    metrics::names,
    mqtt::{Change, Completion, Publisher, complete_all},
    registry::{Observation, Registry},
    routes::MessageKind,
    store::{QuarantineLimits, StoreError, Writer, WriterSignals},
    telemetry::Report,
};

/// How long the thread waits for messages before it looks whether it should end.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Between two writes of what devices have said of themselves.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// Devices in one transaction of such a write.
const FLUSH_CHUNK: usize = 500;
/// What the sender of a message is told which the store refuses for what it is.
pub(super) const UNSTORABLE: &str = "the store can not hold this message";
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(20);
pub(super) const RETRY_LAST: Duration = Duration::from_secs(2);

/// Bounds of what ingest keeps, and of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestLimits {
    /// Messages in one transaction.
    pub batch_messages_max: usize,
    /// Messages and bytes that wait for the committer; full: sockets are not read.
    pub queue_messages_max: usize,
    pub queue_bytes_max: usize,
    pub quarantine: QuarantineLimits,
    /// What is kept of one device that waits for approval.
    pub held_messages_max: i64,
    pub held_bytes_max: i64,
}

/// A batch that is on disk.
type Committed = (Staged, Judged);

/// The thread, and what others tell it.
pub struct Committer {
    thread: Mutex<Option<JoinHandle<()>>>,
    queue: Arc<Queue<Task>>,
    orders: Arc<Orders>,
    writer: Arc<WriterSignals>,
}

/// What other tasks leave for the thread to do.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Clients that began anew: what is noted of their messages goes. Bound: those of a second, for
    /// each batch and each idle second takes them all.
    forget: Mutex<Vec<String>>,
    /// The quarantine was changed behind the thread's back.
    recount_quarantine: AtomicBool,
    /// Changed reports are to be written soon, not at the next interval.
    flush_reports: AtomicBool,
    /// Somebody came or went while the queue was full: presence is to be read as it is.
    presence_missed: AtomicBool,
    /// The last transaction failed.
    pub(super) is_failing: AtomicBool,
    /// The stop's deadline has passed: no more retries.
    pub(super) give_up: AtomicBool,
}

pub(super) struct Work {
    pub(super) queue: Arc<Queue<Task>>,
    pub(super) orders: Arc<Orders>,
    pub(super) writer: Writer,
    pub(super) registry: Arc<Registry>,
    pub(super) publisher: Publisher,
    pub(super) live: Arc<Hub>,
    pub(super) show_alarm: ShowAlarm,
    pub(super) limits: IngestLimits,
    pub(super) clock: Clock,
    pub(super) meters: Arc<Meters>,
    /// Clients of whom messages are noted.
    pub(super) noted_clients: HashSet<String>,
    /// What the store was last said to fail of, so that a long failure is one line in the log.
    pub(super) failing_since: Option<Duration>,
    pub(super) alarms: Alarms,
    /// What is to be rehearsed. Bound: those that somebody waits for (`Tap`), and what came with the last
    /// batch.
    pub(super) rehearsals: VecDeque<Box<Submission>>,
}

impl Committer {
    pub(super) fn start(work: Work) -> std::io::Result<Self> {
        let (queue, orders) = (work.queue.clone(), work.orders.clone());
        let writer = work.writer.signals();
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(|| work.run())?;
        Ok(Self { thread: Mutex::new(Some(thread)), queue, orders, writer })
    }

    /// Forgets what is noted of a client's messages.
    pub fn forget_deliveries(&self, client_id: &str) {
        self.orders.forget.lock().push(client_id.to_owned());
    }

    pub fn recount_quarantine(&self) {
        self.orders.recount_quarantine.store(true, Ordering::Relaxed);
    }

    /// Hands the alarm engine something to do. The queue being full, an operator's order is dropped,
    /// which its sender hears by the reply; of who came and went it is noted that there was something;
    /// what follows an edit is taken all the same, and bounded by the edits that the store has taken.
    pub fn order(&self, order: Order) {
        let is_presence = matches!(order, Order::Presence { .. });
        let may_wait = is_presence || order.is_of_operator();
        let task = Task::Order(Box::new(order));
        let weight = task.weight();
        if may_wait {
            let is_full = self.queue.try_push(weight, task).is_err();
            if is_full && is_presence {
                self.orders.presence_missed.store(true, Ordering::Relaxed);
            }
            return;
        }
        // A closed queue is the process's end: the next start reads what was edited.
        let _ = self.queue.push_over(weight, task);
    }

    /// Takes nothing more in; what is in is still committed.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Ends a retry that would go on: what is not stored by then is not acknowledged.
    pub fn give_up(&self) {
        self.orders.give_up.store(true, Ordering::Relaxed);
        self.writer.give_up();
        if let Some(thread) = &*self.thread.lock() {
            thread.thread().unpark();
        }
    }

    /// Waits for the thread's end. Blocks.
    pub fn join(&self) {
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the committer panicked");
        }
    }

    pub fn is_alive(&self) -> bool {
        self.thread.lock().as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Whether the store takes nothing at the moment.
    pub fn is_failing(&self) -> bool {
        self.orders.is_failing.load(Ordering::Relaxed) || self.writer.is_in_doubt()
    }

    /// Writes what devices have said of themselves within a second, not at the next interval.
    pub fn flush_reports(&self) {
        self.orders.flush_reports.store(true, Ordering::Relaxed);
    }
}

impl Work {
    fn run(mut self) {
        let mut batch = Vec::new();
        let mut flushed_at = self.clock.monotonic();
        loop {
            let patience = match self.failing_since {
                _ if !self.rehearsals.is_empty() => Duration::ZERO,
                None => self.alarms.patience(self.now()),
                Some(_) => PATIENCE,
            };
            match self.queue.drain(&mut batch, self.limits.batch_messages_max, patience) {
                Drained::Items => self.handle(std::mem::take(&mut batch)),
                Drained::Nothing => {
                    let _ = self.write_trailing();
                }
                Drained::Closed => {
                    self.rehearsals.clear();
                    let _ = self.write_trailing();
                    self.fire_timers(true);
                    return self.flush();
                }
            }
            self.rehearse_one();
            if self.orders.presence_missed.swap(false, Ordering::Relaxed) {
                self.follow_all_presence();
            }
            self.fire_timers(false);
            let now = self.clock.monotonic();
            let is_ordered = self.orders.flush_reports.swap(false, Ordering::Relaxed);
            if is_ordered || now.saturating_sub(flushed_at) >= FLUSH_INTERVAL {
                flushed_at = now;
                self.flush();
            }
        }
    }

    /// Writes what nobody waits for, while no batch does it. `true`: the store refused it for what it
    /// is, and it is dropped.
    fn write_trailing(&mut self) -> bool {
        let changes = self.publisher.take_changes();
        if changes.is_empty() && self.orders.forget.lock().is_empty() {
            return false;
        }
        match self.try_commit_contained(&[], &changes) {
            Ok((_, judged)) => {
                self.adopt(judged);
                self.note_recovery();
            }
            Err(error) if error.is_poison() => {
                counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
                tracing::error!(%error, changes = changes.len(), "the store refuses sessions' changes");
                return true;
            }
            Err(error) => {
                self.publisher.put_back_changes(changes);
                self.note_failure(&error);
            }
        }
        false
    }

    /// Writes what devices have said of themselves; what can't be written waits for the next time.
    fn flush(&mut self) {
        let reports = self.registry.take_unsaved();
        for chunk in reports.chunks(FLUSH_CHUNK) {
            let written = self.writer.transaction(|transaction| {
                chunk.iter().try_for_each(|report| transaction.save_report(report))
            });
            match written {
                Ok(()) => self.note_recovery(),
                Err(error) => {
                    self.note_failure(&error);
                    self.registry.mark_unsaved(chunk);
                }
            }
        }
    }

    /// Commits a batch; what is only to be rehearsed is put aside, and orders come last.
    fn handle(&mut self, mut batch: Vec<Task>) {
        let is_order = |task: &mut Task| matches!(task, Task::Order(_));
        let orders: Vec<_> = batch.extract_if(.., is_order).collect();
        let is_rehearsal = |task: &mut Task| matches!(task, Task::Rehearsal(_));
        let rehearsals = batch.extract_if(.., is_rehearsal);
        self.rehearsals.extend(rehearsals.filter_map(Task::into_rehearsal));
        if !batch.is_empty() {
            self.commit(batch);
        }
        self.execute(orders.into_iter().filter_map(Task::into_order));
    }

    fn commit(&mut self, batch: Vec<Task>) {
        if self.orders.recount_quarantine.swap(false, Ordering::Relaxed) {
            self.writer.recount_quarantine();
        }
        let started = self.clock.monotonic();
        let mut pause = RETRY_FIRST;
        loop {
            let trailing = self.publisher.take_changes();
            let result = self.try_commit_contained(&batch, &trailing);
            if result.is_err() {
                self.publisher.put_back_changes(trailing);
            }
            match result {
                Ok((mut staged, mut judged)) => {
                    self.take_over(&batch, &mut staged);
                    let news = judged.take_news();
                    self.alarms.engine.adopt(judged);
                    let mut publication = self.live.publish();
                    announce(&mut publication, &batch, &mut staged.messages);
                    announce_alarms(&mut publication, &news, self.show_alarm);
                    drop(publication);
                    self.note_recovery();
                    let took = self.clock.monotonic().saturating_sub(started);
                    self.meters.batch(batch.len(), took, self.queue.len());
                    return self.answer(batch, staged.messages);
                }
                Err(error) if error.is_poison() => return self.bisect(batch, &error),
                Err(error) => {
                    self.note_failure(&error);
                    if self.has_given_up() {
                        tracing::error!(messages = batch.len(), "given up: these are not stored");
                        return;
                    }
                    thread::park_timeout(pause);
                    pause = (pause * 2).min(RETRY_LAST);
                }
            }
        }
    }

    /// A panic over a message costs that message, not ingest: it counts as refused by the store.
    fn try_commit_contained(
        &mut self,
        batch: &[Task],
        trailing: &[Change],
    ) -> Result<Committed, StoreError> {
        let contained = AssertUnwindSafe(|| self.try_commit(batch, trailing));
        catch_unwind(contained).unwrap_or_else(|_| {
            counter!(names::TASK_PANICS).increment(1);
            tracing::error!(messages = batch.len(), "a batch panicked");
            Err(StoreError::Rejected("its handling panicked".to_owned()))
        })
    }

    fn try_commit(&mut self, batch: &[Task], trailing: &[Change]) -> Result<Committed, StoreError> {
        let now = self.now();
        let (alarms, clock) = (&self.alarms, &self.clock);
        let forgotten = std::mem::take(&mut *self.orders.forget.lock());
        let noted = &self.noted_clients;
        let forget: Vec<_> = forgotten.iter().filter(|id| noted.contains(*id)).collect();
        let (registry, limits) = (&*self.registry, &self.limits);
        let result = self.writer.transaction(|transaction| {
            for client_id in &forget {
                transaction.forget_deliveries(client_id)?;
            }
            trailing.iter().try_for_each(|change| transaction.apply(change))?;
            let staged = Stage { transaction, registry, limits, staged: Staged::default() };
            let staged = staged.run(batch)?;
            let started = clock.monotonic();
            let judged = alarms.judge(transaction, batch, &staged, now)?;
            let took = clock.monotonic().saturating_sub(started);
            histogram!(names::ALARM_EVALUATION_SECONDS).record(took);
            Ok((staged, judged))
        });
        match result {
            Ok((staged, judged)) => {
                for client_id in &forgotten {
                    self.noted_clients.remove(client_id);
                }
                self.noted_clients.extend(staged.noted_clients.iter().cloned());
                Ok((staged, judged))
            }
            Err(error) => {
                self.orders.forget.lock().extend(forgotten);
                Err(error)
            }
        }
    }

    /// Finds the message that the store refuses, by halves, and quarantines it.
    fn bisect(&mut self, mut batch: Vec<Task>, error: &StoreError) {
        // What trails may be at fault as well: alone it is dropped, and the rest is tried again.
        if self.write_trailing() {
            return self.commit(batch);
        }
        if batch.len() > 1 {
            let second = batch.split_off(batch.len() / 2);
            self.commit(batch);
            self.commit(second);
            return;
        }
        match batch.pop() {
            // These are carried out apart.
            None | Some(Task::Rehearsal(_) | Task::Order(_)) => {}
            Some(Task::Message(submission)) => self.quarantine(*submission, error),
            Some(Task::Broker(entry)) => {
                counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
                tracing::error!(%error, "the store refuses a session's changes: {:?}", entry.changes());
            }
        }
    }

    fn quarantine(&mut self, submission: Submission, error: &StoreError) {
        counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
        tracing::warn!(
            topic = &*submission.origin.topic, %error, "the store refuses a message; quarantined"
        );
        let rejection = Rejection::of_message(RejectionReason::Poison, UNSTORABLE);
        let (registry, limits) = (&*self.registry, &self.limits);
        let kept = self.writer.transaction(|transaction| {
            let mut stage = Stage { transaction, registry, limits, staged: Staged::default() };
            stage.quarantine(&submission, &rejection)
        });
        let verdict = match kept {
            Ok(()) => Verdict::Refused(vec![rejection]),
            Err(error) => {
                self.note_failure(&error);
                Verdict::Unavailable
            }
        };
        let message = StagedMessage { verdict, ..StagedMessage::default() };
        self.answer(vec![Task::Message(Box::new(submission))], vec![message]);
    }

    /// The batch is on disk: the registry takes over what it changed, then everybody is told.
    fn take_over(&mut self, batch: &[Task], staged: &mut Staged) {
        for device in std::mem::take(&mut staged.devices).into_values() {
            tracing::info!(device = %device.key, approval = %device.approval(), "device registered");
            self.registry.adopt_device(device);
        }
        for ((id, _), sensor) in std::mem::take(&mut staged.sensors) {
            // Another device of that key: its own was deleted meanwhile.
            let device = self.registry.get(sensor.device.as_str());
            if let Some(device) = device.filter(|device| device.id == id) {
                self.registry.adopt_sensor(&device, sensor);
            }
        }
        for (sensor, unit) in staged.units.drain(..) {
            sensor.learn_unit(&unit);
        }
        staged.learned.drain(..).for_each(|at| self.registry.note_learned(at));
        counter!(names::QUARANTINED).increment(staged.quarantined);
        counter!(names::QUARANTINE_DROPPED).increment(staged.quarantine_dropped);
        let nothing = Report::default();
        for (task, message) in batch.iter().zip(&mut staged.messages) {
            let Task::Message(submission) = task else {
                continue;
            };
            self.meters.readings_stored(message.fresh.len());
            for (sensor, reading) in &message.fresh {
                sensor.adopt(*reading);
            }
            let Some(device) = &message.device else {
                continue;
            };
            let is_taken =
                matches!(message.verdict, Verdict::Stored { .. } | Verdict::Partial { .. });
            let report = match &submission.content {
                Ok(decoded) if is_taken => &decoded.report,
                _ => &nothing,
            };
            let observation = Observation {
                received_at: submission.received_at,
                connection: submission.connection(),
                is_heartbeat: submission.kind == MessageKind::Heartbeat,
                is_replayed: submission.origin.is_replayed,
                report,
                samples: std::mem::take(&mut message.shown),
            };
            self.registry.observe(device, observation);
            if let Ok(decoded) = &submission.content {
                for label in decoded.repairs.labels() {
                    counter!(names::INGEST_REPAIRS, "kind" => label).increment(1);
                }
            }
        }
    }

    fn answer(&self, batch: Vec<Task>, messages: Vec<StagedMessage>) {
        complete_all(batch.into_iter().zip(messages).filter_map(|(task, message)| {
            let submission = match task {
                Task::Message(submission) => submission,
                Task::Broker(entry) => return Some(Completion::Entry(entry)),
                Task::Rehearsal(_) | Task::Order(_) => return None,
            };
            let took = self.clock.monotonic().saturating_sub(submission.received);
            self.meters.message(submission.origin.route, &message.verdict, took);
            submission.answer(message.told(), &self.publisher)
        }));
    }
}
