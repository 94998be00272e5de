//! Work that goes on after its request: what was asked for, how far it is, what came of it.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::{Store, StoreError};
use crate::telemetry::Timestamp;

pub const QUEUED: &str = "queued";
pub const RUNNING: &str = "running";
pub const DONE: &str = "done";
pub const FAILED: &str = "failed";
/// Somebody has called it off; it ends at its next step.
pub const CANCELLING: &str = "cancelling";
pub const CANCELLED: &str = "cancelled";
pub const JOB_STATES: [&str; 6] = [QUEUED, RUNNING, CANCELLING, DONE, FAILED, CANCELLED];

/// Jobs that are kept, once they have ended.
const KEPT: u64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    pub kind: &'static str,
    /// What it is about: a device, a sensor, a file.
    pub subject: String,
    pub total: i64,
    /// A JSON object.
    pub parameters: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    pub id: i64,
    pub kind: String,
    pub subject: String,
    pub state: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub done: i64,
    pub total: i64,
    /// JSON objects: what was asked for, where to go on after a restart, what has come of it.
    pub parameters: String,
    pub checkpoint: String,
    pub result: String,
    pub error: Option<String>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProgress {
    pub done: i64,
    pub total: i64,
    /// JSON objects.
    pub checkpoint: String,
    pub result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobQuery {
    pub state: Option<String>,
    pub kind: Option<String>,
    /// The last id of the page before.
    pub before: Option<i64>,
    pub limit: u64,
}

impl Store {
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn create_job(&self, job: &NewJob) -> Result<JobRow, StoreError> {
        let write = self.begin().await?;
        let empty = || Set("{}".to_owned());
        let model = entity::job::ActiveModel {
            kind: Set(job.kind.to_owned()),
            subject: Set(job.subject.clone()),
            state: Set(QUEUED.to_owned()),
            created_at: Set(job.created_at.as_micros()),
            done: Set(0),
            total: Set(job.total),
            parameters: Set(job.parameters.clone()),
            checkpoint: empty(),
            result: empty(),
            ..Default::default()
        };
        // As it is written: whoever ordered it must not hear that it failed once it is committed.
        let made = model.insert(&write.transaction).await?;
        trim(&write.transaction).await?;
        write.commit().await?;
        Ok(row(made))
    }

    /// # Errors
    /// As above.
    pub async fn job(&self, id: i64) -> Result<Option<JobRow>, StoreError> {
        let found = entity::job::Entity::find_by_id(id).one(&self.readers).await?;
        Ok(found.map(row))
    }

    /// Newest first.
    ///
    /// # Errors
    /// As above.
    pub async fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRow>, StoreError> {
        let rows = page(query).all(&self.readers).await?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// Jobs that have not ended, oldest first.
    ///
    /// # Errors
    /// As above.
    pub async fn unfinished_jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        let rows = unfinished().all(&self.readers).await?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// `false`: it is no more queued.
    ///
    /// # Errors
    /// As above.
    pub async fn start_job(&self, id: i64, at: Timestamp) -> Result<bool, StoreError> {
        let model = entity::job::ActiveModel {
            state: Set(RUNNING.to_owned()),
            started_at: Set(Some(at.as_micros())),
            ..Default::default()
        };
        self.update_job(id, &[QUEUED], model).await
    }

    /// Calls a job off: a queued one has ended with that, a running one is to end. `false`: it has
    /// ended already.
    ///
    /// # Errors
    /// As above.
    pub async fn cancel_job(&self, id: i64, at: Timestamp) -> Result<bool, StoreError> {
        let queued = entity::job::ActiveModel {
            state: Set(CANCELLED.to_owned()),
            finished_at: Set(Some(at.as_micros())),
            ..Default::default()
        };
        if self.update_job(id, &[QUEUED], queued).await? {
            return Ok(true);
        }
        let running =
            entity::job::ActiveModel { state: Set(CANCELLING.to_owned()), ..Default::default() };
        self.update_job(id, &[RUNNING, CANCELLING], running).await
    }

    /// # Errors
    /// As above.
    pub async fn save_job(&self, id: i64, progress: &JobProgress) -> Result<(), StoreError> {
        self.update_job(id, &[RUNNING, CANCELLING], advanced(progress)).await.map(drop)
    }

    /// Ends a job: in `state`, a failed one with its `error`.
    ///
    /// # Errors
    /// As above.
    pub async fn finish_job(
        &self,
        id: i64,
        progress: &JobProgress,
        (state, error): (&'static str, Option<String>),
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let model = entity::job::ActiveModel {
            state: Set(state.to_owned()),
            finished_at: Set(Some(at.as_micros())),
            error: Set(error),
            ..advanced(progress)
        };
        self.update_job(id, &[RUNNING, CANCELLING], model).await.map(drop)
    }

    /// Where the job is in one of these states.
    async fn update_job(
        &self,
        id: i64,
        states: &[&str],
        model: entity::job::ActiveModel,
    ) -> Result<bool, StoreError> {
        use entity::job::Column;
        let write = self.begin().await?;
        let updated = entity::job::Entity::update_many()
            .set(model)
            .filter(Column::Id.eq(id))
            .filter(Column::State.is_in(states.iter().copied()))
            .exec(&write.transaction)
            .await?;
        write.commit().await?;
        Ok(updated.rows_affected > 0)
    }
}

fn advanced(progress: &JobProgress) -> entity::job::ActiveModel {
    entity::job::ActiveModel {
        done: Set(progress.done),
        total: Set(progress.total),
        checkpoint: Set(progress.checkpoint.clone()),
        result: Set(progress.result.clone()),
        ..Default::default()
    }
}

/// Lets go of ended jobs beyond [`KEPT`], the oldest first.
async fn trim(connection: &impl sea_orm::ConnectionTrait) -> Result<(), StoreError> {
    use entity::job::Column;
    let oldest_kept: Option<i64> = entity::job::Entity::find()
        .select_only()
        .column(Column::Id)
        .order_by_desc(Column::Id)
        .offset(KEPT)
        .limit(1)
        .into_tuple()
        .one(connection)
        .await?;
    if let Some(id) = oldest_kept {
        entity::job::Entity::delete_many()
            .filter(Column::Id.lte(id))
            .filter(Column::State.is_in([DONE, FAILED, CANCELLED]))
            .exec(connection)
            .await?;
    }
    Ok(())
}

pub(super) fn page(query: &JobQuery) -> Select<entity::job::Entity> {
    use entity::job::Column;
    let mut select = entity::job::Entity::find();
    if let Some(state) = &query.state {
        select = select.filter(Column::State.eq(state));
    }
    if let Some(kind) = &query.kind {
        select = select.filter(Column::Kind.eq(kind));
    }
    if let Some(before) = query.before {
        select = select.filter(Column::Id.lt(before));
    }
    select.order_by_desc(Column::Id).limit(query.limit)
}

pub(super) fn unfinished() -> Select<entity::job::Entity> {
    use entity::job::Column;
    entity::job::Entity::find()
        .filter(Column::State.is_in([QUEUED, RUNNING, CANCELLING]))
        .order_by_asc(Column::Id)
}

fn row(row: entity::job::Model) -> JobRow {
    JobRow {
        id: row.id,
        kind: row.kind,
        subject: row.subject,
        state: row.state,
        created_at: Timestamp::from_micros(row.created_at),
        started_at: row.started_at.map(Timestamp::from_micros),
        finished_at: row.finished_at.map(Timestamp::from_micros),
        done: row.done,
        total: row.total,
        parameters: row.parameters,
        checkpoint: row.checkpoint,
        result: row.result,
        error: row.error,
    }
}
