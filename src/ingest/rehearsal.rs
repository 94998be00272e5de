//! A message that is handled as any, and then forgotten: its sender is told what would have become of
//! it. In the committer's thread, after the batch that it came with.

use std::panic::{AssertUnwindSafe, catch_unwind};

use metrics::counter;

use super::{
    committer::Work,
    outcome::Detailed,
    stage::{Stage, Staged, StagedMessage},
    submission::Task,
};
use crate::metrics::names;

impl Work {
    pub(super) fn rehearse(&mut self, task: Task) {
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
                Detailed::default()
            }
            Err(_) => {
                counter!(names::TASK_PANICS).increment(1);
                tracing::error!("the rehearsal of a message panicked");
                Detailed::default()
            }
        };
        if let Task::Rehearsal(submission) = task {
            let _ = submission.answer(told, &self.publisher);
        }
    }
}
