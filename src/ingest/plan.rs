//! A message before its readings are stored: its device and sensors, the times of its readings, what of
//! it is refused. What may be stored is offered; `conclude` goes on from what became of it.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    check::{SensorRules, check},
    decode::Decoded,
    rejection::{Rejection, RejectionReason},
    stage::{Stage, StagedMessage, refused_unkept},
    submission::{Submission, Task},
    verdict::Verdict,
};
use crate::{
    mqtt::Change,
    registry::{Device, Sensor},
    routes::MessageKind,
    store::{StoreError, StoredReading},
    telemetry::{Approval, ClaimedTime, Sample, Timestamp},
};

/// What messages of a batch offer, one after the other.
#[derive(Default)]
pub(super) struct Offered<'b> {
    pub(super) plans: Vec<Plan<'b>>,
    /// Side by side.
    pub(super) readings: Vec<StoredReading>,
    pub(super) candidates: Vec<Candidate<'b>>,
}

impl Offered<'_> {
    pub(super) fn clear(&mut self) {
        self.readings.clear();
        self.candidates.clear();
    }
}

/// What is known of a reading beside itself.
pub(super) struct Candidate<'b> {
    pub(super) sensor: Arc<Sensor>,
    pub(super) sample: &'b Sample,
}

impl Candidate<'_> {
    /// Readings without a time of their own never collapse into one.
    pub(super) fn has_our_time(&self) -> bool {
        !matches!(self.sample.time, ClaimedTime::Plausible(_))
    }
}

pub(super) enum Plan<'b> {
    Nothing,
    /// What the broker wants kept.
    Broker(&'b [Change]),
    /// It is known what becomes of the message.
    Settled {
        submission: &'b Submission,
        message: Box<StagedMessage>,
    },
    Offer(Box<Offer<'b>>),
}

/// A message whose readings are offered.
pub(super) struct Offer<'b> {
    pub(super) submission: &'b Submission,
    pub(super) decoded: &'b Decoded,
    pub(super) device: Arc<Device>,
    /// See [`Device::arrival`].
    pub(super) arrival: Timestamp,
    /// Where its readings begin among those offered.
    pub(super) first: usize,
    /// By the place of the reading in the message.
    pub(super) refused: Vec<(usize, Rejection)>,
    /// What is noted of a persistent session's message, once it is stored.
    pub(super) hash: Option<[u8; 16]>,
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
    pub(super) fn plan<'b>(
        &mut self,
        task: &'b Task,
        offered: &mut Offered<'b>,
    ) -> Result<Plan<'b>, StoreError> {
        let submission = match task {
            Task::Message(submission) | Task::Rehearsal(submission) => submission,
            Task::Broker(entry) => return Ok(Plan::Broker(entry.changes())),
            Task::Order(_) => return Ok(Plan::Nothing),
        };
        // A message leaves the hold with what becomes of it, so that it is neither stored twice nor
        // lost, whoever replays it as well, and whatever is cut short.
        if let Some(held) = submission.origin.held
            && !self.transaction.is_held(held)?
        {
            return Ok(settled(submission, stored(0)));
        }
        let decoded = match &submission.content {
            Ok(decoded) if decoded.is_usable() || submission.kind == MessageKind::Heartbeat => {
                decoded
            }
            content => {
                let rejections = match content {
                    Ok(decoded) => decoded.rejections.clone(),
                    Err(rejection) => vec![rejection.clone()],
                };
                return Ok(settled(submission, self.refuse(submission, rejections, None)?));
            }
        };
        let device = match self.device(submission)? {
            Ok(device) => device,
            Err(rejection) => return Ok(settled(submission, refused_unkept(rejection))),
        };
        let refused = |reason, what: &str| {
            let detail = format!("the device {} {what}", device.key);
            settled(submission, refused_unkept(Rejection::of_message(reason, detail)))
        };
        match device.approval() {
            Approval::Active => self.offer(submission, decoded, device, offered),
            Approval::Pending if submission.import.is_some() => {
                Ok(refused(RejectionReason::UnknownDevice, "waits for approval"))
            }
            Approval::Pending => Ok(settled(submission, self.hold(submission, device)?)),
            Approval::Blocked => Ok(refused(RejectionReason::BlockedDevice, "is blocked")),
        }
    }

    fn offer<'b>(
        &mut self,
        submission: &'b Submission,
        decoded: &'b Decoded,
        device: Arc<Device>,
        offered: &mut Offered<'b>,
    ) -> Result<Plan<'b>, StoreError> {
        let has_own_times =
            decoded.readings.iter().all(|s| matches!(s.time, ClaimedTime::Plausible(_)));
        let delivery = submission.delivery().filter(|_| !has_own_times);
        let hash = delivery.as_ref().map(|_| payload_hash(submission));
        if let (Some(delivery), Some(hash)) = (&delivery, &hash)
            && delivery.is_resend
            && self.transaction.knows_delivery(delivery.client_id, delivery.packet_id, hash)?
        {
            let message = stored(decoded.readings.len());
            return Ok(settled(submission, StagedMessage { device: Some(device), ..message }));
        }
        let arrival = device.arrival(submission.received_at);
        let (first, mut refused) = (offered.readings.len(), Vec::new());
        let earliest = self.registry.next_received();
        for (place, sample) in decoded.readings.iter().enumerate() {
            let offered_by_it = offered.readings.len() - first;
            let times = Times::new(submission, arrival, (earliest, offered_by_it));
            match self.candidate(&device, sample, times)? {
                Ok((sensor, reading)) => {
                    self.registry.note_received(reading.received_at);
                    if submission.is_judged() {
                        device.note_arrival(reading.received_at);
                    }
                    offered.readings.push(reading);
                    offered.candidates.push(Candidate { sensor, sample });
                }
                Err(rejection) => refused.push((place, rejection)),
            }
        }
        let offer = Offer { submission, decoded, device, arrival, first, refused, hash };
        Ok(Plan::Offer(Box::new(offer)))
    }

    fn candidate(
        &mut self,
        device: &Arc<Device>,
        sample: &Sample,
        times: Times,
    ) -> Result<Result<(Arc<Sensor>, StoredReading), Rejection>, StoreError> {
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
        let reading = StoredReading {
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
        Ok(Ok((sensor, reading)))
    }
}

fn settled(submission: &Submission, message: StagedMessage) -> Plan<'_> {
    Plan::Settled { submission, message: Box::new(message) }
}

/// What was stored before.
fn stored(readings: usize) -> StagedMessage {
    let verdict = Verdict::Stored { accepted: readings, duplicates: readings, event_time: None };
    StagedMessage { verdict, ..StagedMessage::default() }
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
