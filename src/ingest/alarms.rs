//! The committer's side of alarms: what of a batch is judged, up to when timers may fire, and the
//! orders of people. All of it runs in the committer's thread and inside its transactions.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use metrics::counter;

use super::{
    announce::announce_alarms,
    committer::{PATIENCE, RETRY_FIRST, RETRY_LAST, Work},
    stage::Staged,
    submission::Task,
    verdict::Verdict,
};
use crate::{
    alarm::engine::{CarriedOut, Engine, Happened, Judged, Message, Order, OrderError, Timer},
    metrics::names,
    store::{StoreError, Transaction},
    telemetry::{Approval, Timestamp},
};

/// How exactly the end of a run is known: with batches, and without.
const ALIVE_BUSY: i64 = 1_000_000;
const ALIVE_IDLE: i64 = 10_000_000;
/// A pause that is shorter is no silence.
const STALL_MIN: i64 = 1_000_000;
/// What the wall clock may run ahead of the monotonic one from one look to the next.
const LEAP_MIN: i64 = 2_000_000;

/// The engine, and the run of the broker that it judges in.
pub(super) struct Alarms {
    pub(super) engine: Engine,
    pub(super) run: i64,
    pub(super) alive_noted: Timestamp,
    /// The wall clock and the monotonic one, when they were last compared.
    pub(super) clocks: (Timestamp, Duration),
}

impl Alarms {
    /// Judges what a batch has staged.
    pub(super) fn judge(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &[Task],
        staged: &Staged,
        now: Timestamp,
    ) -> Result<Judged, StoreError> {
        self.engine.evaluate(transaction, messages(batch, staged), now)
    }

    /// What would happen to alarms.
    pub(super) fn preview(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &[Task],
        staged: &Staged,
        now: Timestamp,
    ) -> Result<Vec<Happened>, StoreError> {
        self.engine.preview(transaction, messages(batch, staged), now)
    }

    /// How long nothing is to be done if nothing comes in.
    pub(super) fn patience(&self, now: Timestamp) -> Duration {
        let due = self.engine.next_deadline().map(|due| due.micros_since(now).max(0));
        let due = due.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros);
        due.map_or(PATIENCE, |due| due.min(PATIENCE))
    }
}

/// What of a batch is judged.
fn messages<'m>(batch: &'m [Task], staged: &'m Staged) -> impl Iterator<Item = Message<'m>> {
    batch.iter().zip(&staged.messages).filter_map(|(task, message)| {
        let (Task::Message(submission) | Task::Rehearsal(submission)) = task else { return None };
        let device = message.device.as_ref().or(message.judged.as_ref())?;
        if device.approval() != Approval::Active {
            return None;
        }
        let is_taken = matches!(message.verdict, Verdict::Stored { .. } | Verdict::Partial { .. });
        let content = submission.content.as_ref().ok().filter(|_| is_taken);
        // What comes from a file, or came before, says nothing of how the device is.
        let is_sign = submission.import.is_none() && !submission.origin.is_replayed;
        Some(Message {
            device,
            arrival: message.arrival.unwrap_or_else(|| device.arrival(submission.received_at)),
            is_sign,
            status: content
                .filter(|_| is_sign)
                .and_then(|decoded| decoded.report.facts.status.as_deref()),
            fresh: if message.judged.is_some() { &message.fresh } else { &[] },
        })
    })
}

impl Work {
    /// The engine takes over what was committed, and those who listen are told.
    pub(super) fn adopt(&mut self, mut judged: Judged) {
        let news = judged.take_news();
        self.alarms.engine.adopt(judged);
        if !news.is_empty() {
            announce_alarms(&mut self.live.publish(), &news, self.show_alarm);
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }

    /// Fires what is due by itself, and notes now and then until when the broker lived and judged;
    /// at the end in any case. A timer that can't be fired is let be, alone.
    pub(super) fn fire_timers(&mut self, is_end: bool) {
        if self.failing_since.is_some() {
            // Nobody was heard while the store failed; timers fire after that is known.
            let until = self.alarms.alive_noted.plus_micros(-ALIVE_BUSY);
            let run = self.alarms.run;
            match self.writer.transaction(|transaction| transaction.note_alive(run, until)) {
                Ok(()) => self.note_recovery(),
                Err(_) => return,
            }
        }
        self.forgive_leap();
        let now = self.now();
        let oldest = self.queue.find_in_front(Task::received_at);
        let watermark = Engine::watermark(now, oldest);
        let timers = self.alarms.engine.due(watermark);
        let noted = now.micros_since(self.alarms.alive_noted);
        let is_busy = self.queue.len() > 0;
        let is_time = is_end || noted >= if is_busy { ALIVE_BUSY } else { ALIVE_IDLE };
        if timers.is_empty() && !is_time {
            return;
        }
        match self.try_fire(&timers, (watermark, now), true) {
            Err(error) if error.is_poison() => self.fire_singly(&timers, (watermark, now)),
            Err(error) => self.note_failure(&error),
            Ok(()) => self.alarms.alive_noted = now,
        }
    }

    fn fire_singly(&mut self, timers: &[Timer], times: (Timestamp, Timestamp)) {
        for timer in timers {
            match self.try_fire(std::slice::from_ref(timer), times, false) {
                Ok(()) => {}
                Err(error) if error.is_poison() => {
                    let of = self.alarms.engine.park(*timer);
                    tracing::error!(%error, of, "an alarm can't follow its timer");
                }
                Err(error) => return self.note_failure(&error),
            }
        }
    }

    fn try_fire(
        &mut self,
        timers: &[Timer],
        (watermark, now): (Timestamp, Timestamp),
        is_whole: bool,
    ) -> Result<(), StoreError> {
        let (alarms, writer) = (&self.alarms, &mut self.writer);
        let contained = AssertUnwindSafe(|| {
            writer.transaction(|transaction| {
                if is_whole {
                    transaction.note_alive(alarms.run, watermark)?;
                }
                alarms.engine.fire(transaction, timers, (watermark, now))
            })
        });
        let judged = catch_unwind(contained).unwrap_or_else(|_| panicked())?;
        self.adopt(judged);
        Ok(())
    }

    /// The wall clock was set forward, or the machine slept: nobody was silent meanwhile.
    fn forgive_leap(&mut self) {
        let (wall, steady) = (self.now(), self.clock.monotonic());
        let (last_wall, last_steady) = std::mem::replace(&mut self.alarms.clocks, (wall, steady));
        let passed = steady.saturating_sub(last_steady).as_micros();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let leap = wall.micros_since(last_wall).saturating_sub(passed);
        if leap > LEAP_MIN {
            self.forgive_silence(wall.plus_micros(-leap));
        }
    }

    /// Carries out orders, each in a transaction of its own but for presence. One that the store does
    /// not take is refused where somebody waits for it, else tried again.
    pub(super) fn execute(&mut self, orders: impl Iterator<Item = Order>) {
        let is_presence = |order: &Order| matches!(order, Order::Presence { .. });
        let (presences, mut orders): (Vec<_>, Vec<_>) = orders.partition(is_presence);
        if !self.try_follow_presence(&presences) {
            orders.extend(presences);
        }
        for order in orders {
            // Who gave up was told that it was not done.
            if order.is_given_up() {
                continue;
            }
            let mut pause = RETRY_FIRST;
            loop {
                match self.try_execute(&order) {
                    Err(error) if !order.is_of_operator() => {
                        if self.is_hopeless(&error) {
                            tracing::error!(%error, "an order of the alarm engine is dropped");
                            order.answer(Err(error));
                            break;
                        }
                    }
                    result => {
                        order.answer(result);
                        break;
                    }
                }
                thread::park_timeout(pause);
                pause = (pause * 2).min(RETRY_LAST);
            }
        }
    }

    /// As [`Work::execute`], for everybody as the registry has them.
    pub(super) fn follow_all_presence(&mut self) {
        let at = self.now();
        let devices = self.registry.all().into_iter();
        let orders: Vec<_> = devices
            .map(|device| Order::Presence { online: device.snapshot().online, device, at })
            .collect();
        self.execute(orders.into_iter());
    }

    /// `false`: each is to be tried alone.
    fn try_follow_presence(&mut self, presences: &[Order]) -> bool {
        if presences.len() < 2 {
            return presences.is_empty();
        }
        let (now, engine, writer) = (self.now(), &self.alarms.engine, &mut self.writer);
        let contained = AssertUnwindSafe(|| {
            writer.transaction(|transaction| engine.follow_presence(transaction, presences, now))
        });
        match catch_unwind(contained).unwrap_or_else(|_| panicked()) {
            Ok(judged) => self.adopt(judged),
            Err(_) => return false,
        }
        true
    }

    fn is_hopeless(&self, error: &OrderError) -> bool {
        match error {
            OrderError::Store(error) => error.is_poison() || self.has_given_up(),
            OrderError::Refused(_) | OrderError::Rule(_) => true,
        }
    }

    fn try_execute(&mut self, order: &Order) -> Result<CarriedOut, OrderError> {
        let (now, engine, writer) = (self.now(), &self.alarms.engine, &mut self.writer);
        // A refusal rolls back as an error of the store does; which it was is kept beside.
        let mut refusal = None;
        let contained = AssertUnwindSafe(|| {
            writer.transaction(|transaction| {
                engine.execute(transaction, order, now).map_err(|error| match error {
                    OrderError::Store(error) => error,
                    other => {
                        let text = other.to_string();
                        refusal = Some(other);
                        StoreError::Rejected(text)
                    }
                })
            })
        });
        let result = catch_unwind(contained).unwrap_or_else(|_| panicked());
        match (result, refusal) {
            (Ok(executed), _) => {
                self.adopt(executed.judged);
                self.note_recovery();
                Ok(executed.carried_out)
            }
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(error), None) => {
                if !error.is_poison() {
                    self.note_failure(&error);
                }
                Err(OrderError::Store(error))
            }
        }
    }

    /// The store takes again what it did not take since `from`: devices were not heard meanwhile.
    pub(super) fn forgive_silence(&mut self, from: Timestamp) {
        let to = self.now();
        if to.micros_since(from) < STALL_MIN {
            return;
        }
        let (engine, writer) = (&self.alarms.engine, &mut self.writer);
        let contained =
            AssertUnwindSafe(|| writer.transaction(|t| engine.note_stall(t, (from, to))));
        match catch_unwind(contained).unwrap_or_else(|_| panicked()) {
            Ok(judged) => self.adopt(judged),
            Err(error) => tracing::warn!(%error, "silence during the store's failure counts"),
        }
    }
}

fn panicked<T>() -> Result<T, StoreError> {
    counter!(names::TASK_PANICS).increment(1);
    Err(StoreError::Rejected("its handling panicked".to_owned()))
}
