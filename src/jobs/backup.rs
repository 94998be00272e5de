//! Backups made by the server itself: on request or by schedule, one at a time, the oldest let go.
//!
//! A backup that a stop cuts short is not taken up again, as other jobs are: the job's row is in the
//! backup, too, and would be made again wherever that is restored.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{counter, gauge};
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{BACKUP, JobError, Jobs, Progress};
use crate::{
    access::parts_of_a_backup,
    metrics::names,
    store::{
        BackupError, BackupFile, BackupOrder, FAILED, JobRow, QUEUED, StoreError, back_up,
        look_at_backup,
    },
    telemetry::Timestamp,
};

const PREFIX: &str = "brooklet-";
const SUFFIX: &str = ".backup";
/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(200);
const MICROS: i64 = 1_000_000;

/// Where backups are put, what goes into them, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSettings {
    pub folder: PathBuf,
    /// Where the server's keys are.
    pub data_dir: PathBuf,
    /// 0: all.
    pub keep: usize,
}

/// A backup in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBackup {
    pub name: String,
    pub file: BackupFile,
}

impl KeptBackup {
    fn made_at(&self) -> Option<Timestamp> {
        self.file.header.made_at.parse().ok()
    }
}

/// How far the thread is; it ends at its next step when nobody waits for it.
#[derive(Default)]
struct Watched {
    done: AtomicU64,
    total: AtomicU64,
    is_cancelled: AtomicBool,
}

struct Watch(Arc<Watched>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }
}

impl Jobs {
    /// Orders a backup.
    ///
    /// # Errors
    /// When one is being made, or the store does not answer.
    pub async fn back_up(&self) -> Result<JobRow, JobError> {
        if self.store.unfinished_jobs().await?.iter().any(|row| row.kind == BACKUP) {
            return Err(JobError::Underway);
        }
        let name = format!("{PREFIX}{}{SUFFIX}", self.now().to_string().replace(':', "-"));
        self.queue(BACKUP, name, 0, "{}".to_owned()).await
    }

    /// What is in the folder, newest first.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub async fn backups(&self) -> Result<Vec<KeptBackup>, JobError> {
        let folder = self.backups.folder.clone();
        let listed = spawn_blocking(move || list(&folder)).await;
        Ok(listed.map_err(|_| JobError::Panicked)??)
    }

    /// Orders a backup where the last one, or the last try, is older than `interval`.
    pub async fn back_up_when_due(&self, interval: Duration) {
        let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        let newest = match self.backups().await {
            Ok(backups) => backups.iter().filter_map(KeptBackup::made_at).max(),
            Err(error) => {
                tracing::warn!(%error, "it is not known when the last backup was made");
                None
            }
        };
        let tried = self.backup_tried_at.load(Ordering::Relaxed);
        let last = newest.map_or(i64::MIN, Timestamp::as_micros).max(tried);
        let now = self.now().as_micros();
        // A clock that was set back must not keep backups from being made.
        if last.saturating_add(interval) > now && last <= now {
            return;
        }
        self.backup_tried_at.store(now, Ordering::Relaxed);
        match self.back_up().await {
            Ok(_) | Err(JobError::Underway) => {}
            Err(error) => {
                counter!(names::BACKUP_FAILURES).increment(1);
                tracing::error!(%error, "a backup that is due can't be made");
            }
        }
    }

    /// Ends what a stop has cut short, and shows when the last one was made.
    pub(super) async fn restore_backups(&self, unfinished: &[JobRow]) -> Result<(), StoreError> {
        let now = self.now();
        for row in unfinished.iter().filter(|row| row.kind == BACKUP) {
            if row.state == QUEUED {
                self.store.cancel_job(row.id, now).await?;
                continue;
            }
            let told = Some("a stop has cut it short".to_owned());
            let saved = Progress::of(row, self.clock.monotonic()).saved();
            self.store.finish_job(row.id, &saved, (FAILED, told), now).await?;
        }
        clean(&self.backups.folder);
        if let Ok(backups) = self.backups().await {
            show_newest(backups.iter().filter_map(KeptBackup::made_at).max());
        }
        Ok(())
    }

    pub(super) async fn run_backup(
        &self,
        row: &JobRow,
        progress: &mut Progress,
    ) -> Result<(), JobError> {
        let made = self.make_backup(row, progress).await;
        match made {
            Ok(made) => {
                let mut result = |name: &str, value: Value| {
                    progress.result.insert(name.to_owned(), value);
                };
                result("bytes", made.bytes.into());
                result("original_bytes", made.header.original_bytes().into());
                result("sha256", made.sha256.into());
                result("made_at", made.header.made_at.clone().into());
                show_newest(made.header.made_at.parse().ok());
                self.rotate().await;
                Ok(())
            }
            Err(JobError::Cancelled) => Err(JobError::Cancelled),
            Err(error) => {
                counter!(names::BACKUP_FAILURES).increment(1);
                Err(error)
            }
        }
    }

    async fn make_backup(
        &self,
        row: &JobRow,
        progress: &mut Progress,
    ) -> Result<BackupFile, JobError> {
        let source = self.store.location();
        let watch = Watch(Arc::default());
        let (watched, settings) = (watch.0.clone(), self.backups.clone());
        let (target, made_at) = (settings.folder.join(&row.subject), self.now());
        let making = spawn_blocking(move || {
            DirBuilder::new().recursive(true).mode(0o700).create(&settings.folder)?;
            let beside = parts_of_a_backup(&settings.data_dir)
                .map_err(|error| BackupError::File(io::Error::other(error)))?;
            let order = BackupOrder {
                source: &source,
                target: &target,
                beside: &beside,
                made_at,
                replaces: false,
            };
            back_up(&order, |done, total| {
                watched.done.store(done, Ordering::Relaxed);
                watched.total.store(total, Ordering::Relaxed);
                !watched.is_cancelled.load(Ordering::Relaxed)
            })
        });
        tokio::pin!(making);
        loop {
            let made = tokio::time::timeout(LOOK, &mut making).await;
            let number = |number: &AtomicU64| {
                i64::try_from(number.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
            };
            (progress.done, progress.total) = (number(&watch.0.done), number(&watch.0.total));
            match made {
                Ok(Ok(Err(BackupError::Cancelled))) => return Err(JobError::Cancelled),
                Ok(Ok(made)) => return Ok(made?),
                Ok(Err(_)) => return Err(JobError::Panicked),
                Err(_) => {}
            }
            // A store that does not take down how far it is keeps no backup from being made.
            if let Err(JobError::Cancelled) = self.note(progress).await {
                watch.0.is_cancelled.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Lets go of the oldest ones.
    async fn rotate(&self) {
        let BackupSettings { folder, keep, .. } = self.backups.clone();
        if keep == 0 {
            return;
        }
        let rotated = spawn_blocking(move || {
            for old in list(&folder)?.iter().skip(keep) {
                tracing::info!(name = old.name, "an old backup goes");
                fs::remove_file(folder.join(&old.name))?;
            }
            Ok::<_, io::Error>(())
        });
        if let Ok(Err(error)) = rotated.await {
            tracing::warn!(%error, "an old backup stays");
        }
    }
}

fn show_newest(made_at: Option<Timestamp>) {
    if let Some(made_at) = made_at {
        let seconds = made_at.as_micros().div_euclid(MICROS);
        gauge!(names::BACKUP_LAST_SUCCESS).set(seconds as f64);
    }
}

fn is_ours(name: &str, suffix: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(suffix)
}

/// Newest first, by name; what is no backup is passed over.
fn list(folder: &Path) -> io::Result<Vec<KeptBackup>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut backups = Vec::new();
    for entry in entries {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if !is_ours(&name, SUFFIX) {
            continue;
        }
        match look_at_backup(&folder.join(&name)) {
            Ok(file) => backups.push(KeptBackup { name, file }),
            Err(error) => tracing::warn!(%error, name, "a file among the backups is none"),
        }
    }
    backups.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(backups)
}

/// Removes what was cut short.
fn clean(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if [".copy", ".part"].iter().any(|cut| is_ours(name, &format!("{SUFFIX}{cut}"))) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
