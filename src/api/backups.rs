//! Backups: ordering one, and which there are.

use poem::http::StatusCode;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use super::{
    Api, State, Tag,
    caller::{Admin, Caller},
    jobs::JobView,
    page::Page,
    problem::{Fault, Ordered, Shown},
};
use crate::jobs::KeptBackup;

pub(super) struct Backups;

/// A backup in the folder of the configuration
#[derive(Debug, Clone, PartialEq, Object)]
pub(super) struct BackupView {
    /// Of the file in `backup.folder`
    name: String,
    /// What the backup shows is from then
    made_at: String,
    bytes: u64,
    /// Unpacked
    original_bytes: u64,
    /// Of all but the file's last 32 bytes, which are it; `brooklet restore --verify` checks it
    sha256: String,
    /// Of the Brooklet that made it
    version: String,
    /// The newest migration of its schema
    schema: String,
}

impl From<KeptBackup> for BackupView {
    fn from(kept: KeptBackup) -> Self {
        let KeptBackup { name, file } = kept;
        Self {
            name,
            bytes: file.bytes,
            original_bytes: file.header.original_bytes(),
            sha256: file.sha256,
            made_at: file.header.made_at,
            version: file.header.version,
            schema: file.header.schema,
        }
    }
}

#[OpenApi]
impl Backups {
    /// Make a backup
    ///
    /// A job writes it into `backup.folder` while everything goes on: the database and the server's
    /// keys in one file. The job's `subject` is its name, its `result` has `bytes`, `original_bytes`,
    /// `sha256` and `made_at`. Of more than `backup.keep` the oldest go. 409 while one
    /// is being made.
    #[oai(path = "/api/backup", method = "post", tag = "Tag::Service", operation_id = "back_up")]
    async fn back_up(&self, caller: Caller<Admin>, api: State<'_>) -> Ordered<JobView> {
        back_up(&api, &caller).await.into()
    }

    /// List backups
    ///
    /// Those in `backup.folder`, newest first. They are listed as they say of themselves; whether one
    /// is whole is checked by `brooklet restore FILE --verify`.
    #[oai(
        path = "/api/backups",
        method = "get",
        tag = "Tag::Service",
        operation_id = "list_backups"
    )]
    async fn list(&self, _caller: Caller<Admin>, api: State<'_>) -> Shown<Page<BackupView>> {
        list(&api).await.into()
    }
}

async fn back_up(api: &Api, caller: &Caller<Admin>) -> Result<(JobView, String), Fault> {
    let row = api.jobs.back_up().await?;
    caller.note(json!({"name": row.subject}));
    let job = JobView::from(row);
    let location = job.location();
    Ok((job, location))
}

async fn list(api: &Api) -> Result<Page<BackupView>, Fault> {
    let backups = api.jobs.backups().await.map_err(|error| {
        tracing::error!(%error, "backups can't be listed");
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "the folder of the backups can't be read")
    })?;
    Ok(Page::new(backups.into_iter().map(BackupView::from).collect(), None))
}
