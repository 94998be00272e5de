//! A message after its readings are stored: which of them are fresh, what is noted beside them, and the
//! verdict.

use super::{
    decode::{Decoded, joined},
    outcome::{OnConflict, ReadingOutcome, ReadingResult},
    plan::{Offer, Offered},
    rejection::{Rejection, RejectionReason},
    stage::{Stage, StagedMessage},
    submission::Submission,
    verdict::Verdict,
};
use crate::{
    registry::{ReportedSample, Sensor},
    routes::MessageKind,
    store::{Appended, StoreError, StoredReading},
    telemetry::{ClaimedTime, Sample, Timestamp},
};

/// How often a time of our own may be moved on to find a free one.
const OWN_TIME_TRIES: u32 = 10_000;

impl Stage<'_, '_> {
    /// Stores what is offered. Readings that have a time of ours are moved on until it is free.
    pub(super) fn append(
        &mut self,
        offered: &mut Offered<'_>,
    ) -> Result<Vec<Appended>, StoreError> {
        let mut appended = self.transaction.append(&offered.readings)?;
        for _ in 0..OWN_TIME_TRIES {
            let taken: Vec<usize> = (appended.iter().zip(&offered.candidates).enumerate())
                .filter(|(_, (appended, candidate))| {
                    **appended != Appended::Fresh && candidate.has_our_time()
                })
                .map(|(at, _)| at)
                .collect();
            if taken.is_empty() {
                break;
            }
            let mut moved = Vec::with_capacity(taken.len());
            for at in &taken {
                if let Some(reading) = offered.readings.get_mut(*at) {
                    reading.event_time = reading.event_time.plus_micros(1);
                    moved.push(*reading);
                }
            }
            let again = self.transaction.append(&moved)?;
            for (at, outcome) in taken.into_iter().zip(again) {
                if let Some(appended) = appended.get_mut(at) {
                    *appended = outcome;
                }
            }
        }
        Ok(appended)
    }

    /// What becomes of a message.
    pub(super) fn conclude(
        &mut self,
        offer: Offer<'_>,
        offered: &Offered<'_>,
        appended: &[Appended],
    ) -> Result<StagedMessage, StoreError> {
        let Offer { submission, decoded, device, arrival, first, refused, hash } = offer;
        let mut message = StagedMessage { arrival: Some(arrival), ..StagedMessage::default() };
        let mut rejections = decoded.rejections.clone();
        let became = (first, refused, appended);
        let duplicates =
            self.sort(submission, decoded, offered, became, (&mut message, &mut rejections))?;
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
        self.note_delivery(submission, hash)?;
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

    /// Sorts a message's readings into those that are fresh and those that are refused; returns how
    /// many were there already.
    fn sort(
        &mut self,
        submission: &Submission,
        decoded: &Decoded,
        offered: &Offered<'_>,
        (first, refused, appended): (usize, Vec<(usize, Rejection)>, &[Appended]),
        (message, rejections): (&mut StagedMessage, &mut Vec<Rejection>),
    ) -> Result<usize, StoreError> {
        let mut duplicates = 0;
        let readings = offered.readings.get(first..).unwrap_or_default();
        let candidates = offered.candidates.get(first..).unwrap_or_default();
        let became = appended.get(first..).unwrap_or_default();
        let mut candidates = candidates.iter().zip(readings).zip(became);
        let mut refused = refused.into_iter().peekable();
        for place in 0..decoded.readings.len() {
            if let Some((_, rejection)) = refused.next_if(|(at, _)| *at == place) {
                if submission.wants_details() {
                    message.readings.push(ReadingOutcome::refused(&rejection));
                }
                rejections.push(rejection);
                continue;
            }
            let Some(((candidate, reading), became)) = candidates.next() else { break };
            let (sensor, sample) = (&candidate.sensor, candidate.sample);
            let result = match self.result(sample, reading, *became, submission.on_conflict())? {
                Ok(result) => result,
                Err(rejection) => {
                    if submission.wants_details() {
                        message.readings.push(ReadingOutcome::refused(&rejection));
                    }
                    rejections.push(rejection);
                    continue;
                }
            };
            if submission.wants_details() {
                message.readings.push(outcome(sensor, reading, result));
            }
            if result == ReadingResult::Duplicate {
                duplicates += 1;
                continue;
            }
            message.shown.push(ReportedSample {
                sensor: sample.sensor.clone(),
                value: sample.value,
                unit: sensor.with_settings(|settings| settings.unit.clone()),
                event_time: reading.event_time,
            });
            message.fresh.push((sensor.clone(), *reading));
        }
        Ok(duplicates)
    }

    /// What became of one reading, and what is written because of that.
    fn result(
        &mut self,
        sample: &Sample,
        reading: &StoredReading,
        became: Appended,
        on_conflict: OnConflict,
    ) -> Result<Result<ReadingResult, Rejection>, StoreError> {
        match became {
            Appended::Fresh => {
                if let ClaimedTime::Implausible(claimed) = sample.time {
                    let (id, time) = (reading.sensor, reading.event_time);
                    self.transaction.keep_claimed_time(id, time, claimed)?;
                }
                Ok(Ok(ReadingResult::Stored))
            }
            Appended::Duplicate => Ok(Ok(ReadingResult::Duplicate)),
            Appended::Conflict { .. } if on_conflict == OnConflict::Replace => {
                self.transaction.replace(reading)?;
                Ok(Ok(ReadingResult::Replaced))
            }
            Appended::Conflict { stored } => {
                let stored = stored.map_or("no value".to_owned(), |value| value.to_string());
                let detail = format!("{stored} is stored for {} already", reading.event_time);
                let reason = RejectionReason::Conflict;
                Ok(Err(Rejection::of_sensor(sample.sensor.as_str(), reason, detail)))
            }
        }
    }

    fn note_delivery(
        &mut self,
        submission: &Submission,
        hash: Option<[u8; 16]>,
    ) -> Result<(), StoreError> {
        if let (Some(delivery), Some(hash)) = (submission.delivery(), &hash) {
            let (client_id, at) = (delivery.client_id, submission.received_at);
            self.transaction.record_delivery(client_id, delivery.packet_id, hash, at)?;
            self.staged.noted_clients.insert(client_id.to_owned());
        }
        Ok(())
    }

    fn note_unjudged(&mut self, message: &StagedMessage) -> Result<(), StoreError> {
        let received = || message.fresh.iter().map(|(_, reading)| reading.received_at);
        match received().min().zip(received().max()) {
            Some((first, last)) => self.transaction.note_unjudged(first, last),
            None => Ok(()),
        }
    }
}

/// The event time of a message's first reading, stored by it or before.
fn first_time(message: &StagedMessage, decoded: &Decoded) -> Option<Timestamp> {
    let fresh = message.fresh.first().map(|(_, reading)| reading.event_time);
    fresh.or_else(|| decoded.readings.first()?.time_key())
}

fn outcome(sensor: &Sensor, reading: &StoredReading, result: ReadingResult) -> ReadingOutcome {
    ReadingOutcome {
        sensor: sensor.name.to_string(),
        result,
        event_time: Some(reading.event_time),
        value: reading.value,
        quality: Some(reading.quality),
        detail: None,
    }
}
