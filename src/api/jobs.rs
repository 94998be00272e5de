//! Work that goes on after its request: how far it is, what came of it, and calling it off.

use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use serde_json::Value;

use super::{
    Api, State, Tag,
    caller::{Caller, DataRead, DataWrite},
    page::{self, Page},
    problem::{Answer, Changed, Fault, Problem},
    wire::Time,
};
use crate::{
    jobs::JOB_KINDS,
    store::{JOB_STATES, JobQuery, JobRow},
};

pub(super) struct Jobs;

/// Work that goes on after its request
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct JobView {
    pub(super) id: i64,
    /// `delete_device`, `delete_sensor`, `delete_data`, `import_data` or `backup`
    kind: String,
    /// What it is about: a device, a sensor, a file
    subject: String,
    /// `queued`, `running`, `cancelling`, `done`, `failed` or `cancelled`
    state: String,
    created_at: Time,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    /// How much of `total` is behind it: bytes of an import or a backup, sensors of a deletion
    done: i64,
    total: i64,
    /// What was asked for
    parameters: Value,
    /// What has come of it so far: readings `stored`, `duplicates`, `refused`, …
    result: Value,
    /// Why it failed
    error: Option<String>,
}

impl From<JobRow> for JobView {
    fn from(row: JobRow) -> Self {
        let object = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self {
            id: row.id,
            kind: row.kind,
            subject: row.subject,
            state: row.state,
            created_at: Time(row.created_at),
            started_at: row.started_at.map(Time),
            finished_at: row.finished_at.map(Time),
            done: row.done,
            total: row.total,
            parameters: object(&row.parameters),
            result: object(&row.result),
            error: row.error,
        }
    }
}

impl JobView {
    /// Where it can be looked at.
    pub(super) fn location(&self) -> String {
        format!("/api/jobs/{}", self.id)
    }
}

/// How something was taken out.
pub(super) enum Removed {
    /// Out of the lists, its data kept.
    Kept,
    Ordered(Box<JobView>),
}

/// The answer to the deletion of something that has data.
#[derive(ApiResponse)]
pub(super) enum Removal {
    /// A job deletes it; the Location shows how far it is
    #[oai(status = 202)]
    Ordered(Json<Box<JobView>>, #[oai(header = "Location")] String),
    /// It is out of the lists, its data kept
    #[oai(status = 204)]
    Kept,
    /// The request can't be read
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// A key is needed
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// The key does not allow this
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// There is no such thing
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// It is being deleted already
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Problem>),
    /// It was changed since it was read
    #[oai(status = 412, content_type = "application/problem+json")]
    Outdated(Json<Problem>),
    /// The store does not answer, or the request took too long
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

impl From<Fault> for Removal {
    fn from(fault: Fault) -> Self {
        match fault.status.as_u16() {
            400 => Self::BadRequest(Json(fault.problem())),
            401 => Self::Unauthorized(Json(fault.problem())),
            403 => Self::Forbidden(Json(fault.problem())),
            404 => Self::NotFound(Json(fault.problem())),
            409 => Self::Conflict(Json(fault.problem())),
            412 => Self::Outdated(Json(fault.problem())),
            _ => Self::Unavailable(Json(fault.problem())),
        }
    }
}

impl From<Result<Removed, Fault>> for Removal {
    fn from(result: Result<Removed, Fault>) -> Self {
        match result {
            Ok(Removed::Kept) => Self::Kept,
            Ok(Removed::Ordered(job)) => {
                let location = job.location();
                Self::Ordered(Json(job), location)
            }
            Err(fault) => fault.into(),
        }
    }
}

#[OpenApi]
impl Jobs {
    /// List jobs
    ///
    /// Newest first. The last 1,000 are kept.
    #[oai(path = "/api/jobs", method = "get", tag = "Tag::Jobs", operation_id = "list_jobs")]
    async fn list(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
        /// In this state only
        state: Query<Option<String>>,
        /// Of this kind only
        kind: Query<Option<String>>,
        /// Jobs in a page, 1 to 1000; 50 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<JobView>> {
        list(&api, (state.0, kind.0), (limit.0, cursor.0)).await.into()
    }

    /// Show a job
    #[oai(path = "/api/jobs/:id", method = "get", tag = "Tag::Jobs", operation_id = "get_job")]
    async fn show(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
        id: Path<i64>,
    ) -> Answer<JobView> {
        show(&api, id.0).await.into()
    }

    /// Call a job off
    ///
    /// It ends at its next step; what it has done by then stays done.
    #[oai(
        path = "/api/jobs/:id/cancel",
        method = "post",
        tag = "Tag::Jobs",
        operation_id = "cancel_job"
    )]
    async fn cancel(
        &self,
        _caller: Caller<DataWrite>,
        api: State<'_>,
        id: Path<i64>,
    ) -> Changed<JobView> {
        api.jobs.cancel(id.0).await.map(JobView::from).map_err(Fault::from).into()
    }
}

async fn list(
    api: &Api,
    (state, kind): (Option<String>, Option<String>),
    (limit, cursor): (Option<u32>, Option<String>),
) -> Result<Page<JobView>, Fault> {
    let limit = page::limit(limit, 50, 1_000)?;
    one_of("state", state.as_deref(), &JOB_STATES)?;
    one_of("kind", kind.as_deref(), &JOB_KINDS)?;
    let before = page::number(cursor.as_deref())?;
    let query = JobQuery { state, kind, before, limit: limit as u64 + 1 };
    let mut rows = api.store.jobs(&query).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| row.id.to_string());
    Ok(Page::new(rows.into_iter().map(JobView::from).collect(), next))
}

fn one_of(name: &str, given: Option<&str>, words: &[&str]) -> Result<(), Fault> {
    if given.is_none_or(|word| words.contains(&word)) {
        return Ok(());
    }
    Err(Fault::invalid(name, format!("{name} is one of {}", words.join(", "))))
}

async fn show(api: &Api, id: i64) -> Result<JobView, Fault> {
    let row = api.store.job(id).await?.ok_or_else(|| Fault::not_found("job"))?;
    Ok(row.into())
}
