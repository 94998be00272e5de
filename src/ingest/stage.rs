//! What a batch does inside its transaction, on an overlay: the registry is not touched until the
//! transaction has committed, and is untouched when it has not.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use sha2::{Digest, Sha256};

use super::{
    check::{SensorRules, check},
    committer::IngestLimits,
    decode::{Decoded, joined},
    outcome::{Detailed, OnConflict, ReadingOutcome, ReadingResult},
    rejection::{Rejection, RejectionReason},
    submission::{Submission, Task},
    verdict::Verdict,
};
use crate::{
    mqtt::Change,
    registry::{Device, Registry, ReportedSample, Sensor},
    routes::MessageKind,
    store::{Appended, NewQuarantine, StoreError, StoredReading, Transaction},
    telemetry::{
        Approval, ClaimedTime, DeviceId, DeviceKey, Report, Sample, SensorName, Timestamp,
    },
};

/// Everything that a batch has changed, to be taken over once it is committed.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) devices: HashMap<DeviceKey, Arc<Device>, RandomState>,
    pub(super) sensors: HashMap<(DeviceId, SensorName), Arc<Sensor>, RandomState>,
    pub(super) units: Vec<(Arc<Sensor>, Arc<str>)>,
    pub(super) learned: Vec<Timestamp>,
    pub(super) messages: Vec<StagedMessage>,
    /// Clients of persistent sessions of which a message was noted.
    pub(super) noted_clients: HashSet<String>,
    pub(super) quarantined: u64,
    pub(super) quarantine_dropped: u64,
}

/// One message of a batch.
#[derive(Default)]
pub(super) struct StagedMessage {
    pub(super) verdict: Verdict,
    /// The device, where the message is one of its own that counts as a sign of life.
    pub(super) device: Option<Arc<Device>>,
    /// See [`Device::arrival`].
    pub(super) arrival: Option<Timestamp>,
    /// Stored by this message, in order.
    pub(super) fresh: Vec<(Arc<Sensor>, StoredReading)>,
    pub(super) shown: Vec<ReportedSample>,
    /// Of each reading, where the sender wants to know.
    pub(super) readings: Vec<ReadingOutcome>,
    /// The device whose alarm rules are to see what is fresh.
    pub(super) judged: Option<Arc<Device>>,
}

impl Staged {
    pub(super) fn sensor_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.sensors.values().map(|s| s.name.to_string()).collect();
        names.sort_unstable();
        names
    }
}

impl StagedMessage {
    /// What its sender is told.
    pub(super) fn told(self) -> Detailed {
        Detailed { verdict: self.verdict, readings: self.readings, ..Detailed::default() }
    }
}

/// A device's status messages of one batch, in order.
type Reports<'a> = (Arc<Device>, Vec<(&'a Report, Timestamp)>);

/// A reading that is taken, and whether it is new.
type Accepted = (Arc<Sensor>, StoredReading, ReadingResult);

/// How often a time of our own may be moved on to find a free one.
const OWN_TIME_TRIES: u32 = 10_000;

pub(super) struct Stage<'a, 'txn> {
    pub(super) transaction: &'a mut Transaction<'txn>,
    pub(super) registry: &'a Registry,
    pub(super) limits: &'a IngestLimits,
    pub(super) staged: Staged,
}

/// Which times a message's readings get.
#[derive(Clone, Copy)]
struct Times {
    /// The event time of a reading without one.
    own: Timestamp,
    /// For alarms: later than all that came of the device before.
    arrival: Timestamp,
    /// No reading is received before.
    earliest: Timestamp,
}

impl Times {
    fn new(
        submission: &Submission,
        arrival: Timestamp,
        (earliest, stored): (Timestamp, usize),
    ) -> Self {
        // Those of one sensor stay apart, whichever way they got their times.
        let earliest = earliest.plus_micros(stored as i64);
        // What is replayed was taken when it came first.
        let own = if submission.origin.is_replayed { submission.received_at } else { arrival };
        Self { own, arrival, earliest }
    }
}

impl Stage<'_, '_> {
    /// Stages a batch. Its fresh readings, in order, are what alarm rules see before the transaction
    /// commits.
    pub(super) fn run(mut self, batch: &[Task]) -> Result<Staged, StoreError> {
        let mut reports: HashMap<DeviceId, Reports<'_>> = HashMap::new();
        for task in batch {
            let submission = match task {
                Task::Message(submission) | Task::Rehearsal(submission) => submission,
                Task::Broker(entry) => {
                    self.keep(entry.changes())?;
                    self.staged.messages.push(StagedMessage::default());
                    continue;
                }
                Task::Order(_) => {
                    self.staged.messages.push(StagedMessage::default());
                    continue;
                }
            };
            let message = match submission.origin.held {
                Some(held) => self.held_message(submission, held)?,
                None => self.message(submission)?,
            };
            if message.verdict.is_routed() {
                self.keep(submission.changes())?;
            }
            if let (MessageKind::Status, Some(device), Ok(decoded)) =
                (submission.kind, &message.device, &submission.content)
            {
                let (_, reports) =
                    reports.entry(device.id).or_insert_with(|| (device.clone(), Vec::new()));
                reports.push((&decoded.report, submission.received_at));
            }
            self.staged.messages.push(message);
        }
        for (device, reports) in reports.into_values() {
            self.transaction.save_report(&device.preview(reports))?;
        }
        Ok(self.staged)
    }

    /// Writes what the broker wants kept.
    fn keep(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        changes.iter().try_for_each(|change| self.transaction.apply(change))
    }

    /// A message leaves the hold with what becomes of it, so that it is neither stored twice nor lost,
    /// whoever replays it as well, and whatever is cut short.
    fn held_message(
        &mut self,
        submission: &Submission,
        held: i64,
    ) -> Result<StagedMessage, StoreError> {
        if !self.transaction.is_held(held)? {
            let verdict = Verdict::Stored { accepted: 0, duplicates: 0, event_time: None };
            return Ok(StagedMessage { verdict, ..StagedMessage::default() });
        }
        let message = self.message(submission)?;
        if !message.verdict.is_for_the_device() {
            self.transaction.release(held)?;
        }
        Ok(message)
    }

    fn message(&mut self, submission: &Submission) -> Result<StagedMessage, StoreError> {
        let decoded = match &submission.content {
            Ok(decoded) if decoded.is_usable() || submission.kind == MessageKind::Heartbeat => {
                decoded
            }
            Ok(decoded) => return self.refuse(submission, decoded.rejections.clone(), None),
            Err(rejection) => return self.refuse(submission, vec![rejection.clone()], None),
        };
        let device = match self.device(submission)? {
            Ok(device) => device,
            Err(rejection) => return Ok(refused_unkept(rejection)),
        };
        match device.approval() {
            Approval::Active => self.store(submission, decoded, device),
            Approval::Pending if submission.import.is_some() => {
                let detail = format!("the device {} waits for approval", device.key);
                let reason = RejectionReason::UnknownDevice;
                Ok(refused_unkept(Rejection::of_message(reason, detail)))
            }
            Approval::Pending => self.hold(submission, device),
            Approval::Blocked => {
                let detail = format!("the device {} is blocked", device.key);
                let reason = RejectionReason::BlockedDevice;
                Ok(refused_unkept(Rejection::of_message(reason, detail)))
            }
        }
    }

    fn store(
        &mut self,
        submission: &Submission,
        decoded: &Decoded,
        device: Arc<Device>,
    ) -> Result<StagedMessage, StoreError> {
        let has_own_times =
            decoded.readings.iter().all(|s| matches!(s.time, ClaimedTime::Plausible(_)));
        let delivery = submission.delivery().filter(|_| !has_own_times);
        let hash = delivery.as_ref().map(|_| payload_hash(submission));
        if let (Some(delivery), Some(hash)) = (&delivery, &hash)
            && delivery.is_resend
            && self.transaction.knows_delivery(delivery.client_id, delivery.packet_id, hash)?
        {
            let accepted = decoded.readings.len();
            let verdict = Verdict::Stored { accepted, duplicates: accepted, event_time: None };
            return Ok(StagedMessage { verdict, device: Some(device), ..Default::default() });
        }
        let arrival = device.arrival(submission.received_at);
        let mut message = StagedMessage { arrival: Some(arrival), ..StagedMessage::default() };
        let mut rejections = decoded.rejections.clone();
        let mut duplicates = 0;
        let earliest = self.registry.next_received();
        for sample in &decoded.readings {
            let times = Times::new(submission, arrival, (earliest, message.fresh.len()));
            let appended = self.append(&device, sample, times, submission.on_conflict())?;
            if submission.wants_details() {
                message.readings.push(outcome(&appended));
            }
            match appended {
                Ok((_, _, ReadingResult::Duplicate)) => duplicates += 1,
                Ok((sensor, reading, _)) => {
                    self.registry.note_received(reading.received_at);
                    if submission.is_judged() {
                        device.note_arrival(reading.received_at);
                    }
                    message.shown.push(ReportedSample {
                        sensor: sample.sensor.clone(),
                        value: sample.value,
                        unit: sensor.with_settings(|settings| settings.unit.clone()),
                        event_time: reading.event_time,
                    });
                    message.fresh.push((sensor, reading));
                }
                Err(rejection) => rejections.push(rejection),
            }
        }
        if !submission.is_judged() {
            self.note_unjudged(&message)?;
        }
        if submission.wants_details() {
            message.readings.extend(decoded.rejections.iter().map(ReadingOutcome::refused));
        }
        let accepted = message.fresh.len() + duplicates;
        let says_something =
            accepted > 0 || !decoded.report.is_empty() || submission.kind != MessageKind::Data;
        if !says_something {
            let device = Some(device).filter(|_| submission.import.is_none());
            let refused = self.refuse(submission, rejections, device)?;
            return Ok(StagedMessage { readings: message.readings, ..refused });
        }
        if let (Some(delivery), Some(hash)) = (&delivery, &hash) {
            let (client_id, at) = (delivery.client_id, submission.received_at);
            self.transaction.record_delivery(client_id, delivery.packet_id, hash, at)?;
            self.staged.noted_clients.insert(client_id.to_owned());
        }
        message.verdict = if rejections.is_empty() {
            let event_time = first_time(&message, decoded);
            Verdict::Stored { accepted, duplicates, event_time }
        } else {
            self.quarantine(submission, &joined(&rejections))?;
            Verdict::Partial { accepted, rejections }
        };
        message.judged = Some(device.clone()).filter(|_| submission.is_judged());
        message.device = Some(device).filter(|_| submission.import.is_none());
        Ok(message)
    }

    fn note_unjudged(&mut self, message: &StagedMessage) -> Result<(), StoreError> {
        let received = || message.fresh.iter().map(|(_, reading)| reading.received_at);
        match received().min().zip(received().max()) {
            Some((first, last)) => self.transaction.note_unjudged(first, last),
            None => Ok(()),
        }
    }

    fn append(
        &mut self,
        device: &Arc<Device>,
        sample: &Sample,
        times: Times,
        on_conflict: OnConflict,
    ) -> Result<Result<Accepted, Rejection>, StoreError> {
        let sensor = self.sensor(device, sample, times.arrival)?;
        let rules = sensor.with_settings(|settings| SensorRules {
            active: settings.active && !sensor.is_leaving(),
            min: settings.min,
            max: settings.max,
        });
        let by_range = match check(sample.sensor.as_str(), sample.value, rules) {
            Ok(quality) => quality,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let received_at = sensor.unique_received_at(times.arrival);
        let own_time = !matches!(sample.time, ClaimedTime::Plausible(_));
        let mut reading = StoredReading {
            sensor: sensor.id,
            event_time: match sample.time {
                ClaimedTime::Plausible(time) => time,
                ClaimedTime::Implausible(_) | ClaimedTime::Absent if times.own < times.arrival => {
                    times.own
                }
                ClaimedTime::Implausible(_) | ClaimedTime::Absent => received_at,
            },
            // Streams are resumed by it, so it never runs back, whoever was read first.
            received_at: received_at.max(times.earliest),
            value: sample.value,
            quality: sample.quality.worst(by_range),
        };
        let mut appended = self.insert(&reading)?;
        // Readings without a time of their own never collapse into one.
        for _ in 0..OWN_TIME_TRIES {
            if !own_time || appended == Appended::Fresh {
                break;
            }
            reading.event_time = reading.event_time.plus_micros(1);
            appended = self.insert(&reading)?;
        }
        match appended {
            Appended::Fresh => {
                if let ClaimedTime::Implausible(claimed) = sample.time {
                    let (id, time) = (sensor.id, reading.event_time);
                    self.transaction.keep_claimed_time(id, time, claimed)?;
                }
                Ok(Ok((sensor, reading, ReadingResult::Stored)))
            }
            Appended::Duplicate => Ok(Ok((sensor, reading, ReadingResult::Duplicate))),
            Appended::Conflict { .. } if on_conflict == OnConflict::Replace => {
                self.transaction.replace(&reading)?;
                Ok(Ok((sensor, reading, ReadingResult::Replaced)))
            }
            Appended::Conflict { stored } => {
                let stored = stored.map_or("no value".to_owned(), |value| value.to_string());
                let detail = format!("{stored} is stored for {} already", reading.event_time);
                let reason = RejectionReason::Conflict;
                Ok(Err(Rejection::of_sensor(sample.sensor.as_str(), reason, detail)))
            }
        }
    }

    fn insert(&mut self, reading: &StoredReading) -> Result<Appended, StoreError> {
        let StoredReading { sensor, event_time, received_at, value, quality } = *reading;
        self.transaction.append(sensor, event_time, received_at, value, quality)
    }

    fn hold(
        &mut self,
        submission: &Submission,
        device: Arc<Device>,
    ) -> Result<StagedMessage, StoreError> {
        if submission.origin.is_kept_already || submission.origin.held.is_some() {
            return Ok(StagedMessage { verdict: Verdict::Held, ..StagedMessage::default() });
        }
        let reason = RejectionReason::HoldFull;
        let detail = format!("the device {} waits for approval, and its hold is full", device.key);
        let rejection = Rejection::of_message(reason, detail);
        let entry = kept(submission, &rejection);
        let limits = (self.limits.held_messages_max, self.limits.held_bytes_max);
        if !self.transaction.hold(device.id, &entry, limits)? {
            return self.refuse(submission, vec![rejection], Some(device));
        }
        let verdict = Verdict::Held;
        Ok(StagedMessage { verdict, device: Some(device), ..StagedMessage::default() })
    }

    fn refuse(
        &mut self,
        submission: &Submission,
        rejections: Vec<Rejection>,
        device: Option<Arc<Device>>,
    ) -> Result<StagedMessage, StoreError> {
        self.quarantine(submission, &joined(&rejections))?;
        let verdict = Verdict::Refused(rejections);
        Ok(StagedMessage { verdict, device, ..StagedMessage::default() })
    }

    pub(super) fn quarantine(
        &mut self,
        submission: &Submission,
        rejection: &Rejection,
    ) -> Result<(), StoreError> {
        if submission.origin.is_kept_already {
            return Ok(());
        }
        let entry = kept(submission, rejection);
        let dropped = self.transaction.quarantine(&entry, self.limits.quarantine)?;
        self.staged.quarantined += 1;
        self.staged.quarantine_dropped += dropped;
        Ok(())
    }
}

/// The event time of a message's first reading, stored by it or before.
fn first_time(message: &StagedMessage, decoded: &Decoded) -> Option<Timestamp> {
    let fresh = message.fresh.first().map(|(_, reading)| reading.event_time);
    fresh.or_else(|| decoded.readings.first()?.time_key())
}

fn outcome(appended: &Result<Accepted, Rejection>) -> ReadingOutcome {
    match appended {
        Ok((sensor, reading, result)) => ReadingOutcome {
            sensor: sensor.name.to_string(),
            result: *result,
            event_time: Some(reading.event_time),
            value: reading.value,
            quality: Some(reading.quality),
            detail: None,
        },
        Err(rejection) => ReadingOutcome::refused(rejection),
    }
}

fn refused_unkept(rejection: Rejection) -> StagedMessage {
    let verdict = Verdict::Refused(vec![rejection]);
    StagedMessage { verdict, ..StagedMessage::default() }
}

fn kept(submission: &Submission, rejection: &Rejection) -> NewQuarantine {
    let origin = &submission.origin;
    NewQuarantine {
        received_at: submission.received_at,
        source: origin.source,
        topic: origin.topic.to_string(),
        client_id: submission.client_id().map(str::to_owned),
        device: submission.device.key().map(|key| key.as_str().to_owned()),
        reason: rejection.reason.label(),
        detail: rejection.to_string(),
        payload: origin.payload.clone(),
    }
}

/// What tells a resent message from another under the same packet id.
fn payload_hash(submission: &Submission) -> [u8; 16] {
    let mut hasher = Sha256::new();
    hasher.update(submission.origin.topic.as_bytes());
    hasher.update([0]);
    hasher.update(&submission.origin.payload);
    let digest: [u8; 32] = hasher.finalize().into();
    let mut hash = [0; 16];
    hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    hash
}
