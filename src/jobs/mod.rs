//! Work that goes on after its request has been answered: deletions, imports, backups.
//!
//! A job is a row before it is begun, and says in it how far it is; a restart goes on with what was
//! queued or running, oldest first. Deletions, imports and backups have a lane each, one job at a time,
//! so that none waits for the other and ingest meets two writers at most. A store that does not
//! answer is waited for; any other failure ends the job as failed, and says why. One that is called
//! off ends at its next step; what it did by then stays done.

mod backup;
mod import;
mod lines;
mod progress;
mod removal;
mod spool;

use std::{
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use futures_util::FutureExt;
use metrics::counter;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub use backup::{BackupSettings, KeptBackup};
pub use import::{ImportOrder, Unknown};
pub use lines::{Format, csv_field};
pub use spool::{Spool, SpooledFile};

use self::progress::Progress;
use crate::{
    access::Access,
    clock::Clock,
    ingest::{Committer, Tap},
    metrics::names,
    registry::{Device, Registry, Sensor},
    store::{
        BackupError, CANCELLED, CANCELLING, DONE, FAILED, JobRow, NewJob, QUEUED, RUNNING, Store,
        StoreError, TimeRange,
    },
    telemetry::Timestamp,
};

pub const DELETE_DEVICE: &str = "delete_device";
pub const DELETE_SENSOR: &str = "delete_sensor";
pub const DELETE_DATA: &str = "delete_data";
pub const IMPORT_DATA: &str = "import_data";
pub const BACKUP: &str = "backup";
pub const JOB_KINDS: [&str; 5] = [DELETE_DEVICE, DELETE_SENSOR, DELETE_DATA, IMPORT_DATA, BACKUP];

/// Imports that may wait, and files that may be on their way in.
const IMPORTS_MAX: usize = 16;
/// Deletions of ranges that may wait; those of devices and sensors are as many as there are of these.
const RANGES_MAX: usize = 100;
/// Between two looks at a store that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Why a job was not begun, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("it is being deleted already")]
    Leaving,
    #[error("{0} {1} are waiting already; order it again when some of them have ended")]
    Full(usize, &'static str),
    #[error("it has ended already")]
    Ended,
    #[error("it was called off")]
    Cancelled,
    /// What was sent can't be used.
    #[error("{0}")]
    Invalid(String),
    #[error("a file of the job can't be read or written: {0}")]
    File(#[from] std::io::Error),
    #[error("a backup is being made already")]
    Underway,
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("the job panicked")]
    Panicked,
}

/// Who does which jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Removals,
    Imports,
    Backups,
}

impl Lane {
    fn of(kind: &str) -> Self {
        match kind {
            IMPORT_DATA => Self::Imports,
            BACKUP => Self::Backups,
            _ => Self::Removals,
        }
    }

    fn takes(self, kind: &str) -> bool {
        self == Self::of(kind)
    }
}

/// What jobs are made from.
pub struct Parts {
    pub store: Store,
    pub registry: Arc<Registry>,
    pub tap: Arc<Tap>,
    pub committer: Arc<Committer>,
    pub access: Arc<Access>,
    pub clock: Clock,
    /// Where imports wait.
    pub folder: PathBuf,
    pub backups: BackupSettings,
}

pub struct Jobs {
    pub(self) store: Store,
    pub(self) registry: Arc<Registry>,
    pub(self) tap: Arc<Tap>,
    pub(self) committer: Arc<Committer>,
    pub(self) access: Arc<Access>,
    pub(self) clock: Clock,
    pub(self) folder: PathBuf,
    pub(self) backups: BackupSettings,
    /// When a backup was last made by schedule, whatever became of it.
    pub(self) backup_tried_at: AtomicI64,
    /// Files that may be written at a time.
    pub(self) spools: Arc<Semaphore>,
    /// Told when a job is queued.
    removals: Notify,
    imports: Notify,
    backup_ordered: Notify,
}

/// Refuses the data of what jobs of before the restart delete; alarms are begun after that.
///
/// # Errors
/// When the store does not answer.
pub async fn mark_removals(store: &Store, registry: &Registry) -> Result<(), StoreError> {
    for row in store.unfinished_jobs().await? {
        removal::mark(registry, &row);
    }
    Ok(())
}

impl Jobs {
    pub fn new(parts: Parts) -> Self {
        let Parts { store, registry, tap, committer, access, clock, folder, backups } = parts;
        Self {
            store,
            registry,
            tap,
            committer,
            access,
            clock,
            folder,
            backups,
            backup_tried_at: AtomicI64::new(i64::MIN),
            spools: Arc::new(Semaphore::new(IMPORTS_MAX)),
            removals: Notify::new(),
            imports: Notify::new(),
            backup_ordered: Notify::new(),
        }
    }

    /// Takes up what a stop has left: what is to be deleted takes no more data, and files of no job
    /// go. To be called before anybody may send data.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn restore(&self) -> Result<(), StoreError> {
        let mut unfinished = self.store.unfinished_jobs().await?;
        self.restore_backups(&unfinished).await?;
        unfinished.retain(|row| row.kind != BACKUP);
        for row in &unfinished {
            self.reconsider(row);
        }
        spool::clean(&self.folder, &unfinished);
        if !unfinished.is_empty() {
            tracing::info!(jobs = unfinished.len(), "jobs of before go on");
        }
        Ok(())
    }

    /// Deletes a device, its sensors and their readings; its messages are refused from here on.
    ///
    /// # Errors
    /// When it is being deleted already, or the store does not answer.
    pub async fn delete_device(&self, device: &Device) -> Result<JobRow, JobError> {
        if !device.begin_leaving() {
            return Err(JobError::Leaving);
        }
        let parameters = removal::parameters(device.id.0);
        let queued = self.queue(DELETE_DEVICE, device.key.to_string(), 0, parameters).await;
        queued.inspect(|row| self.reconsider(row)).inspect_err(|_| device.stay())
    }

    /// Deletes a sensor and its readings.
    ///
    /// # Errors
    /// As above.
    pub async fn delete_sensor(&self, sensor: &Sensor) -> Result<JobRow, JobError> {
        if !sensor.begin_leaving() {
            return Err(JobError::Leaving);
        }
        let parameters = removal::parameters(sensor.id.0);
        let subject = format!("{}/{}", sensor.device, sensor.name);
        let queued = self.queue(DELETE_SENSOR, subject, 0, parameters).await;
        queued.inspect(|row| self.reconsider(row)).inspect_err(|_| sensor.stay())
    }

    /// Deletes readings of a range; their sensors stay, and go on.
    ///
    /// # Errors
    /// When too many wait, or the store does not answer.
    pub async fn delete_data(
        &self,
        subject: String,
        sensors: &[Arc<Sensor>],
        range: TimeRange,
    ) -> Result<JobRow, JobError> {
        self.must_have_room(DELETE_DATA, RANGES_MAX, "deletions of readings").await?;
        let total = i64::try_from(sensors.len()).unwrap_or(i64::MAX);
        let parameters = removal::data_parameters(sensors, range);
        self.queue(DELETE_DATA, subject, total, parameters).await
    }

    /// Calls a job off.
    ///
    /// # Errors
    /// When there is no such job, it has ended, or the store does not answer.
    pub async fn cancel(&self, id: i64) -> Result<JobRow, JobError> {
        let find = async || self.store.job(id).await?.ok_or(StoreError::NotFound("job"));
        find().await?;
        if !self.store.cancel_job(id, self.now()).await? {
            return Err(JobError::Ended);
        }
        let row = find().await?;
        if row.state == CANCELLED {
            self.tidy(&row);
        }
        Ok(row)
    }

    /// What a job that has ended early leaves behind.
    fn tidy(&self, row: &JobRow) {
        removal::unmark(&self.registry, row);
        self.reconsider(row);
        spool::remove(&self.folder, row);
    }

    /// Stores the readings of a file.
    ///
    /// # Errors
    /// When the file's head says that it can't be read, too many wait, or the store does not answer.
    pub async fn import(&self, file: SpooledFile, order: ImportOrder) -> Result<JobRow, JobError> {
        self.must_have_room(IMPORT_DATA, IMPORTS_MAX, "imports").await?;
        let (subject, total) = (file.name().to_owned(), file.bytes());
        let checked =
            tokio::task::spawn_blocking(move || import::check(&file, order).map(|()| file));
        let file = checked.await.map_err(|_| JobError::Panicked)??;
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        let row = self.queue(IMPORT_DATA, subject, total, order.parameters()).await?;
        file.keep();
        Ok(row)
    }

    async fn must_have_room(
        &self,
        kind: &str,
        max: usize,
        told: &'static str,
    ) -> Result<(), JobError> {
        let unfinished = self.store.unfinished_jobs().await?;
        let waiting = unfinished.iter().filter(|row| row.kind == kind).count();
        if waiting < max { Ok(()) } else { Err(JobError::Full(max, told)) }
    }

    async fn queue(
        &self,
        kind: &'static str,
        subject: String,
        total: i64,
        parameters: String,
    ) -> Result<JobRow, JobError> {
        let created_at = self.now();
        let job = NewJob { kind, subject, total, parameters, created_at };
        let row = self.store.create_job(&job).await?;
        self.queued(Lane::of(kind)).notify_one();
        Ok(row)
    }

    fn queued(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Removals => &self.removals,
            Lane::Imports => &self.imports,
            Lane::Backups => &self.backup_ordered,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }

    /// Does the jobs of a lane until the stop; what it is at then goes on after the next start.
    pub async fn run(self: Arc<Self>, lane: Lane, stop: CancellationToken) {
        let queued = self.queued(lane);
        loop {
            let work = async {
                match self.store.unfinished_jobs().await {
                    Ok(rows) => match rows.into_iter().find(|row| lane.takes(&row.kind)) {
                        Some(row) => self.perform(row).await,
                        None => queued.notified().await,
                    },
                    Err(error) => self.wait_for_store(&error).await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    async fn wait_for_store(&self, error: &StoreError) {
        counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
        tracing::warn!(%error, "a job waits for the store");
        tokio::time::sleep(RETRY).await;
    }

    /// `false`, too, where the store does not say.
    async fn is_called_off(&self, id: i64) -> bool {
        let row = self.store.job(id).await.ok().flatten();
        row.is_some_and(|row| row.state == CANCELLING)
    }

    async fn perform(&self, mut row: JobRow) {
        if row.state == QUEUED {
            let at = self.now();
            match self.store.start_job(row.id, at).await {
                Ok(true) => {}
                // Called off at this moment.
                Ok(false) => return,
                Err(error) => return self.wait_for_store(&error).await,
            }
            row.started_at = Some(at);
            RUNNING.clone_into(&mut row.state);
        }
        // What another job of it has ended with, it may have been let go again.
        removal::mark(&self.registry, &row);
        self.reconsider(&row);
        tracing::info!(job = row.id, kind = row.kind, subject = row.subject, "job begun");
        let mut progress = Progress::of(&row, self.clock.monotonic());
        let work = AssertUnwindSafe(self.work(&row, &mut progress)).catch_unwind().await;
        let ended = work.unwrap_or_else(|_| {
            counter!(names::TASK_PANICS).increment(1);
            Err(JobError::Panicked)
        });
        let (state, told) = match ended {
            Ok(()) => (DONE, None),
            Err(JobError::Cancelled) => (CANCELLED, None),
            // The sender's mistake is no fault of ours.
            Err(JobError::Invalid(detail)) => (FAILED, Some(detail)),
            Err(error) => {
                tracing::error!(job = row.id, kind = row.kind, %error, "job failed");
                (FAILED, Some(error.to_string()))
            }
        };
        tracing::info!(job = row.id, kind = row.kind, subject = row.subject, state, "job ended");
        let saved = progress.saved();
        while let Err(error) =
            self.store.finish_job(row.id, &saved, (state, told.clone()), self.now()).await
        {
            self.wait_for_store(&error).await;
        }
        self.tidy(&row);
    }

    /// Tries until the store answers; what it did by then is not done again.
    async fn work(&self, row: &JobRow, progress: &mut Progress) -> Result<(), JobError> {
        if row.state == CANCELLING {
            return Err(JobError::Cancelled);
        }
        loop {
            let step = match row.kind.as_str() {
                DELETE_DEVICE => self.remove_device(row, progress).await,
                DELETE_SENSOR => self.remove_sensor(row, progress).await,
                DELETE_DATA => self.remove_data(row, progress).await,
                BACKUP => self.run_backup(row, progress).await,
                _ => self.run_import(row, progress).await,
            };
            match step {
                Err(JobError::Store(error)) if !error.is_poison() => {
                    self.wait_for_store(&error).await;
                    // No step was made that would have seen it.
                    if self.is_called_off(row.id).await {
                        return Err(JobError::Cancelled);
                    }
                }
                ended => return ended,
            }
        }
    }
}
