//! What a batch does inside its transaction, on an overlay: the registry is not touched until the
//! transaction has committed, and is untouched when it has not.
//!
//! First each message is planned (`plan`: its device and sensors, what of it may be stored), then the
//! readings of all are stored in one go, then each message is concluded by what became of its own
//! (`conclude`).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{
    committer::IngestLimits,
    decode::joined,
    outcome::{Detailed, OnConflict, ReadingOutcome},
    plan::{Offered, Plan},
    rejection::{Rejection, RejectionReason},
    submission::{Submission, Task},
    verdict::Verdict,
};
use crate::{
    mqtt::Change,
    registry::{Device, Registry, ReportedSample, Sensor},
    routes::MessageKind,
    store::{NewQuarantine, StoreError, StoredReading, Transaction},
    telemetry::{DeviceId, DeviceKey, Report, SensorName, Timestamp},
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

/// Whether a message has to see what those before it did, and those after it what it does.
fn is_alone(task: &Task) -> bool {
    let (Task::Message(submission) | Task::Rehearsal(submission)) = task else { return false };
    submission.origin.held.is_some()
        || submission.on_conflict() == OnConflict::Replace
        || submission.delivery().is_some_and(|delivery| delivery.is_resend)
}

/// A device's status messages of one batch, in order.
type Reports<'a> = (Arc<Device>, Vec<(&'a Report, Timestamp)>);

pub(super) struct Stage<'a, 'txn> {
    pub(super) transaction: &'a mut Transaction<'txn>,
    pub(super) registry: &'a Registry,
    pub(super) limits: &'a IngestLimits,
    pub(super) staged: Staged,
}

impl Stage<'_, '_> {
    /// Stages a batch: its readings in one go, but for messages that have to see what those before
    /// them did. Its fresh readings, in order, are what alarm rules see before the transaction commits.
    pub(super) fn run(mut self, batch: &[Task]) -> Result<Staged, StoreError> {
        let mut offered = Offered::default();
        let mut reports: HashMap<DeviceId, Reports<'_>> = HashMap::new();
        for task in batch {
            let is_alone = is_alone(task);
            if is_alone {
                self.settle(&mut offered, &mut reports)?;
            }
            let plan = self.plan(task, &mut offered)?;
            offered.plans.push(plan);
            if is_alone {
                self.settle(&mut offered, &mut reports)?;
            }
        }
        self.settle(&mut offered, &mut reports)?;
        for (device, reports) in reports.into_values() {
            self.transaction.save_report(&device.preview(reports))?;
        }
        Ok(self.staged)
    }

    /// Stores what is offered, then writes the rest of each message, in their order.
    fn settle<'b>(
        &mut self,
        offered: &mut Offered<'b>,
        reports: &mut HashMap<DeviceId, Reports<'b>>,
    ) -> Result<(), StoreError> {
        let appended = self.append(offered)?;
        for plan in std::mem::take(&mut offered.plans) {
            let (submission, message) = match plan {
                Plan::Nothing => (None, StagedMessage::default()),
                Plan::Broker(changes) => {
                    self.keep(changes)?;
                    (None, StagedMessage::default())
                }
                Plan::Settled { submission, message } => (Some(submission), *message),
                Plan::Offer(offer) => {
                    let submission = offer.submission;
                    (Some(submission), self.conclude(*offer, offered, &appended)?)
                }
            };
            let Some(submission) = submission else {
                self.staged.messages.push(message);
                continue;
            };
            if let Some(held) = submission.origin.held
                && !message.verdict.is_for_the_device()
            {
                self.transaction.release(held)?;
            }
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
        offered.clear();
        Ok(())
    }

    /// Writes what the broker wants kept.
    fn keep(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        changes.iter().try_for_each(|change| self.transaction.apply(change))
    }

    pub(super) fn hold(
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

    pub(super) fn refuse(
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

pub(super) fn refused_unkept(rejection: Rejection) -> StagedMessage {
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
