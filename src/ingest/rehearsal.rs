//! A message that is handled as any, and then forgotten: its sender is told what would have become of
//! it. In the committer's thread, one after each batch: others wait for their acknowledgements. What
//! nobody waits for any more is skipped, so that no more are left than may be waited for (`Tap`).

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use metrics::counter;

use super::{
    committer::{UNSTORABLE, Work},
    outcome::Detailed,
    rejection::{Rejection, RejectionReason},
    stage::{Stage, Staged, StagedMessage},
    submission::{Submission, Task},
    verdict::Verdict,
};
use crate::metrics::names;

/// The first that somebody waits for; what was given up is dropped, wherever it stands.
fn next(left: &mut VecDeque<Box<Submission>>) -> Option<Box<Submission>> {
    left.retain(|submission| !submission.is_given_up());
    left.pop_front()
}

/// What the store can't hold it will refuse each time, and what panics will panic again: as the
/// committer has it, that is the message's fault.
fn refused() -> Detailed {
    let rejection = Rejection::of_message(RejectionReason::Poison, UNSTORABLE);
    Detailed { verdict: Verdict::Refused(vec![rejection]), ..Detailed::default() }
}

impl Work {
    /// The next of those that are left.
    pub(super) fn rehearse_one(&mut self) {
        if let Some(submission) = next(&mut self.rehearsals) {
            self.rehearse(Task::Rehearsal(submission));
        }
    }

    fn rehearse(&mut self, task: Task) {
        let (registry, limits, now) = (&*self.registry, &self.limits, self.now());
        let alarms = &self.alarms;
        let batch = std::slice::from_ref(&task);
        let contained = AssertUnwindSafe(|| {
            self.writer.rehearse(|transaction| {
                let staged = Stage { transaction, registry, limits, staged: Staged::default() };
                let staged = staged.run(batch)?;
                let happened = alarms.preview(transaction, batch, &staged, now)?;
                Ok((staged, happened))
            })
        });
        let told = match catch_unwind(contained) {
            Ok(Ok((mut staged, happened))) => Detailed {
                registers_device: !staged.devices.is_empty(),
                registers_sensors: staged.sensor_names(),
                alarms: happened,
                ..staged.messages.pop().map(StagedMessage::told).unwrap_or_default()
            },
            Ok(Err(error)) => {
                counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
                if error.is_poison() { refused() } else { Detailed::default() }
            }
            Err(_) => {
                counter!(names::TASK_PANICS).increment(1);
                tracing::error!("the rehearsal of a message panicked");
                refused()
            }
        };
        if let Task::Rehearsal(submission) = task {
            let _ = submission.answer(told, &self.publisher);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::sync::oneshot::{self, Receiver};

    use super::*;
    use crate::{
        ingest::{
            decode::Decoded,
            submission::{DeviceRef, Origin, Reply},
        },
        routes::MessageKind,
        telemetry::Timestamp,
    };

    fn rehearsal() -> (Box<Submission>, Receiver<Detailed>) {
        let (sender, told) = oneshot::channel();
        let submission = Submission {
            device: DeviceRef::Illegal,
            kind: MessageKind::Data,
            content: Ok(Decoded::default()),
            received_at: Timestamp::UNIX_EPOCH,
            received: Duration::ZERO,
            origin: Origin {
                source: "http",
                topic: "t".into(),
                payload: Bytes::new(),
                route: None,
                is_kept_already: false,
                is_replayed: false,
                held: None,
            },
            reply: Reply::Detailed(sender),
            import: None,
        };
        (Box::new(submission), told)
    }

    #[test]
    fn what_was_given_up_is_skipped_and_not_held() {
        let (submissions, mut told): (VecDeque<_>, Vec<_>) = (0..5).map(|_| rehearsal()).unzip();
        let mut left = submissions;
        told.drain(..2);
        told.pop();
        assert!(next(&mut left).is_some_and(|first| !first.is_given_up()));
        assert_eq!(left.len(), 1);
        assert!(next(&mut left).is_some());
        assert!(next(&mut left).is_none());
    }
}
