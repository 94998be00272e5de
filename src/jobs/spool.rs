//! Files that wait to be imported: written as they come in, so that a body of any length takes no
//! more memory than a piece of it, and so that a restart loses none.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{io::AsyncWriteExt, sync::OwnedSemaphorePermit};

use super::{IMPORT_DATA, IMPORTS_MAX, JobError, Jobs};
use crate::store::JobRow;

/// Tells apart files that begin in the same microsecond.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file that is being written; dropped before its end, it goes.
pub struct Spool {
    file: tokio::fs::File,
    spooled: SpooledFile,
    _permit: OwnedSemaphorePermit,
}

/// A file that is on disk; dropped before it is kept, it goes.
pub struct SpooledFile {
    path: PathBuf,
    name: String,
    bytes: u64,
    is_kept: bool,
}

impl Jobs {
    /// # Errors
    /// When too many are on their way in, or the file can't be made.
    pub async fn spool(&self) -> Result<Spool, JobError> {
        let permit = self
            .spools
            .clone()
            .try_acquire_owned()
            .map_err(|_| JobError::Full(IMPORTS_MAX, "imports"))?;
        tokio::fs::create_dir_all(&self.folder).await?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("import-{}-{number}", self.clock.unix_micros());
        let path = self.folder.join(&name);
        let file = tokio::fs::File::create_new(&path).await?;
        let spooled = SpooledFile { path, name, bytes: 0, is_kept: false };
        Ok(Spool { file, spooled, _permit: permit })
    }
}

impl Spool {
    /// # Errors
    /// When the disk does not take it.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.spooled.bytes += bytes.len() as u64;
        self.file.write_all(bytes).await
    }

    pub fn bytes(&self) -> u64 {
        self.spooled.bytes
    }

    /// # Errors
    /// As above.
    pub async fn finish(mut self) -> std::io::Result<SpooledFile> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        Ok(self.spooled)
    }
}

impl SpooledFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A job has it.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for SpooledFile {
    fn drop(&mut self) {
        if !self.is_kept {
            remove_file(&self.path);
        }
    }
}

/// Removes the file of a job that has ended.
pub(super) fn remove(folder: &Path, row: &JobRow) {
    if row.kind == IMPORT_DATA {
        remove_file(&folder.join(&row.subject));
    }
}

/// Removes files that no job waits for.
pub(super) fn clean(folder: &Path, unfinished: &[JobRow]) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with("import-"));
        let is_awaited = unfinished.iter().any(|row| name.to_str() == Some(&row.subject));
        if is_ours && !is_awaited {
            remove_file(&entry.path());
        }
    }
}

fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "an imported file stays");
    }
}
