//! Tells the live hub what a batch has stored, and what has happened to alarms.

use super::{
    stage::StagedMessage,
    submission::{Submission, Task},
    verdict::Verdict,
};
use crate::{
    alarm::engine::News,
    live::{AlarmChange, Publication, RawMessage},
    store::{AlarmEventRow, AlarmRow},
};

/// How an alarm and what happened to it are shown, which is for those above to say.
pub type ShowAlarm = fn(&AlarmRow, &AlarmEventRow) -> AlarmChange;

/// Publishes a committed batch, in the order of positions.
pub(super) fn announce(
    publication: &mut Publication<'_>,
    batch: &[Task],
    messages: &mut [StagedMessage],
) {
    for (task, message) in batch.iter().zip(messages) {
        let Task::Message(submission) = task else {
            continue;
        };
        // Messages have positions in the order of the batch; within one, sensors may be mixed.
        message.fresh.sort_by_key(|(_, reading)| reading.position());
        for (sensor, reading) in &message.fresh {
            let named = (&sensor.device, &sensor.name);
            publication.reading(reading.position(), named, || sensor.reading(*reading));
        }
        if publication.is_heard()
            && let Some(device) = submission.device.key()
        {
            publication.message(device, || raw(submission, device, &message.verdict));
        }
    }
}

/// Publishes what has happened to alarms, committed, in the order of the events' numbers.
pub(super) fn announce_alarms(publication: &mut Publication<'_>, news: &[News], show: ShowAlarm) {
    for News { alarm, events } in news {
        let sensor = alarm.sensor_id.zip(alarm.sensor.as_deref());
        for event in events {
            publication.alarm(event.id, (&alarm.device, sensor), || show(alarm, event));
        }
    }
}

fn raw<'a>(
    submission: &'a Submission,
    device: &'a crate::telemetry::DeviceKey,
    verdict: &Verdict,
) -> RawMessage<'a> {
    let rejections = verdict.rejections();
    let detail = (!rejections.is_empty()).then(|| super::decode::joined(rejections).detail);
    RawMessage {
        device,
        topic: &submission.origin.topic,
        payload: &submission.origin.payload,
        outcome: verdict.label(),
        detail,
        received_at: submission.received_at,
    }
}
