//! The outbox as its worker sees it: what of a target's is due, what became of it, how much waits.
//!
//! Notifications get in by [`super::Transaction::enqueue_notification`], with the transition that
//! they tell of. They go out at least once: one that was begun when the process died is due again at
//! its time, with the same key. What has ended stays as it is, unless a person revives it.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, sea_query::Expr,
};

use super::{NotificationRow, NotificationState, Store, StoreError};
use crate::telemetry::Timestamp;
use entity::notification::{self, Column};

/// What of one target's notifications can go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DueNotifications {
    /// In the order of `id`.
    pub rows: Vec<NotificationRow>,
    /// When the first of those that wait and are not due will be.
    pub next: Option<Timestamp>,
}

/// Over all targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WaitingNotifications {
    pub count: u64,
    /// When the oldest was made.
    pub oldest: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxCount {
    pub channel: String,
    pub state: NotificationState,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotificationQuery {
    pub state: Option<NotificationState>,
    pub alarm: Option<i64>,
    /// The last id of the page before.
    pub before: Option<i64>,
    pub limit: u64,
}

/// Rows cancelled in one go, so that ingest waits for moments only.
const CANCEL_CHUNK: u64 = 500;

/// In the order of the index, so that a page is read no further than its end however much waits. The
/// unary plus keeps SQLite from sorting all that is due instead.
pub(super) const DUE: &str = "SELECT n.* FROM notification AS n WHERE n.state = 'waiting' \
    AND n.target = ?1 AND +n.not_before <= ?2 AND NOT EXISTS (SELECT 1 FROM notification AS e \
    WHERE e.alarm_id = n.alarm_id AND e.state = 'waiting' AND e.target = ?1 \
    AND e.not_before > ?2 AND e.id < n.id) ORDER BY n.id LIMIT ?3";
pub(super) const NEXT: &str = "SELECT min(not_before) AS time FROM notification \
    WHERE state = 'waiting' AND target = ?1 AND not_before > ?2";
pub(super) const WAITING: &str = "SELECT \
    (SELECT count(*) FROM notification WHERE state = 'waiting') AS count, \
    (SELECT min(created_at) FROM notification WHERE state = 'waiting') AS oldest";
pub(super) const COUNTS: &str =
    "SELECT channel, state, count(*) AS count FROM notification GROUP BY channel, state";
pub(super) const TRIM: &str = "DELETE FROM notification WHERE id IN (SELECT id FROM (SELECT id FROM \
    notification WHERE state IN ('sent', 'cancelled', 'dead', 'suppressed') AND created_at < ?1 \
    LIMIT ?2) AS old)";
pub(super) const TRIM_MORE: &str = "DELETE FROM notification WHERE id IN (SELECT id FROM (SELECT id FROM \
    notification WHERE state IN ('sent', 'cancelled', 'dead', 'suppressed') AND id <= ?1 LIMIT ?2) \
    AS old)";
/// The newest of those that are not among the newest so many.
pub(super) const BEYOND: &str = "SELECT id FROM notification ORDER BY id DESC LIMIT 1 OFFSET ?1";

impl Store {
    /// The first `limit` of a target's notifications that wait and are due at `now`. One of an alarm
    /// of which an earlier one for that target waits and is not due is left out.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn due_notifications(
        &self,
        target: &str,
        now: Timestamp,
        limit: u64,
    ) -> Result<DueNotifications, StoreError> {
        let values = [target.into(), now.as_micros().into(), limit.into()];
        let due = self.engine.statement(DUE, values);
        let rows = notification::Entity::find().from_raw_sql(due).all(&self.readers).await?;
        let values = [target.into(), now.as_micros().into()];
        let next = self.engine.statement(NEXT, values);
        let next = match self.readers.query_one_raw(next).await? {
            Some(row) => row.try_get::<Option<i64>>("", "time")?.map(Timestamp::from_micros),
            None => None,
        };
        Ok(DueNotifications { rows: rows.into_iter().map(row).collect(), next })
    }

    /// An attempt begins: it is counted, and unless more is heard the next is due at `retry_at`.
    ///
    /// # Errors
    /// As above.
    pub async fn begin_notifications(
        &self,
        ids: &[i64],
        retry_at: Timestamp,
    ) -> Result<(), StoreError> {
        let changes = [
            (Column::Attempts, Expr::col(Column::Attempts).add(1)),
            (Column::NotBefore, Expr::value(retry_at.as_micros())),
        ];
        self.change_waiting(ids, changes).await.map(drop)
    }

    /// # Errors
    /// As above.
    pub async fn note_sent_notifications(
        &self,
        ids: &[i64],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let changes = [
            (Column::State, state(NotificationState::Sent)),
            (Column::SentAt, Expr::value(at.as_micros())),
            (Column::Error, Expr::value(None::<String>)),
        ];
        self.change_waiting(ids, changes).await.map(drop)
    }

    /// The attempt has failed; there is another.
    ///
    /// # Errors
    /// As above.
    pub async fn retry_notifications(
        &self,
        ids: &[i64],
        error: &str,
        retry_at: Timestamp,
    ) -> Result<(), StoreError> {
        let changes = [
            (Column::NotBefore, Expr::value(retry_at.as_micros())),
            (Column::Error, Expr::value(error)),
        ];
        self.change_waiting(ids, changes).await.map(drop)
    }

    /// Gives them up.
    ///
    /// # Errors
    /// As above.
    pub async fn bury_notifications(&self, ids: &[i64], error: &str) -> Result<(), StoreError> {
        let dead = state(NotificationState::Dead);
        let changes = [(Column::State, dead), (Column::Error, Expr::value(error))];
        self.change_waiting(ids, changes).await.map(drop)
    }

    /// How many of them did wait.
    ///
    /// # Errors
    /// As above.
    pub async fn cancel_notifications(&self, ids: &[i64], why: &str) -> Result<u64, StoreError> {
        let cancelled = state(NotificationState::Cancelled);
        let changes = [(Column::State, cancelled), (Column::Error, Expr::value(why))];
        self.change_waiting(ids, changes).await
    }

    /// Cancels what waits for any other target than these; how many.
    ///
    /// # Errors
    /// As above.
    pub async fn cancel_notifications_of_others(
        &self,
        targets: &[String],
        why: &str,
    ) -> Result<u64, StoreError> {
        let mut cancelled = 0;
        loop {
            let found = of_others(targets, CANCEL_CHUNK).into_tuple::<i64>();
            let ids = found.all(&self.readers).await?;
            if ids.is_empty() {
                return Ok(cancelled);
            }
            cancelled += self.cancel_notifications(&ids, why).await?;
        }
    }

    /// # Errors
    /// As above.
    pub async fn waiting_notifications(&self) -> Result<WaitingNotifications, StoreError> {
        let statement = self.engine.statement(WAITING, []);
        let Some(row) = self.readers.query_one_raw(statement).await? else {
            return Ok(WaitingNotifications::default());
        };
        let count: i64 = row.try_get("", "count")?;
        let oldest: Option<i64> = row.try_get("", "oldest")?;
        Ok(WaitingNotifications {
            count: u64::try_from(count).unwrap_or(0),
            oldest: oldest.map(Timestamp::from_micros),
        })
    }

    /// Of those that have ended nothing is changed; how many were.
    async fn change_waiting(
        &self,
        ids: &[i64],
        changes: impl IntoIterator<Item = (Column, Expr)>,
    ) -> Result<u64, StoreError> {
        let mut update = notification::Entity::update_many()
            .filter(Column::Id.is_in(ids.iter().copied()))
            .filter(Column::State.eq(NotificationState::Waiting.as_str()));
        for (column, value) in changes {
            update = update.col_expr(column, value);
        }
        let write = self.begin().await?;
        let updated = update.exec(&write.transaction).await?;
        write.commit().await?;
        Ok(updated.rows_affected)
    }

    /// Lets a dead notification wait again, as if it had never been tried. `false`: it is not dead.
    ///
    /// # Errors
    /// As above.
    pub async fn revive_notification(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        let write = self.begin().await?;
        let updated = notification::Entity::update_many()
            .col_expr(Column::State, state(NotificationState::Waiting))
            .col_expr(Column::Attempts, Expr::value(0))
            .col_expr(Column::NotBefore, Expr::value(now.as_micros()))
            .filter(Column::Id.eq(id))
            .filter(Column::State.eq(NotificationState::Dead.as_str()))
            .exec(&write.transaction)
            .await?;
        write.commit().await?;
        Ok(updated.rows_affected > 0)
    }

    /// # Errors
    /// As above.
    pub async fn outbox_counts(&self) -> Result<Vec<OutboxCount>, StoreError> {
        let statement = self.engine.statement(COUNTS, []);
        let rows = self.readers.query_all_raw(statement).await?;
        rows.iter()
            .map(|row| {
                let state: String = row.try_get("", "state")?;
                let count: i64 = row.try_get("", "count")?;
                Ok(OutboxCount {
                    channel: row.try_get("", "channel")?,
                    state: NotificationState::from_column(&state),
                    count: u64::try_from(count).unwrap_or(0),
                })
            })
            .collect()
    }

    /// Newest first.
    ///
    /// # Errors
    /// As above.
    pub async fn notifications(
        &self,
        query: &NotificationQuery,
    ) -> Result<Vec<NotificationRow>, StoreError> {
        let mut condition = Condition::all();
        if let Some(state) = query.state {
            condition = condition.add(Column::State.eq(state.as_str()));
        }
        if let Some(alarm) = query.alarm {
            condition = condition.add(Column::AlarmId.eq(alarm));
        }
        if let Some(before) = query.before {
            condition = condition.add(Column::Id.lt(before));
        }
        let select = notification::Entity::find().filter(condition);
        let select = select.order_by_desc(Column::Id).limit(query.limit);
        let rows = select.all(&self.readers).await?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// Deletes notifications that were sent, cancelled, suppressed or given up and were made before `before` or are
    /// not among the newest `keep`, at most `limit` of each in one go; returns how many.
    ///
    /// # Errors
    /// As above.
    pub async fn trim_notifications(
        &self,
        before: Timestamp,
        keep: u64,
        limit: u64,
    ) -> Result<u64, StoreError> {
        let raw = |sql: &str, values: Vec<sea_orm::Value>| self.engine.statement(sql, values);
        let beyond = self.readers.query_one_raw(raw(BEYOND, vec![keep.into()])).await?;
        let beyond = beyond.map(|row| row.try_get::<i64>("", "id")).transpose()?;
        let old = raw(TRIM, vec![before.as_micros().into(), limit.into()]);
        let more = beyond.map(|last| raw(TRIM_MORE, vec![last.into(), limit.into()]));
        let mut deleted = 0;
        for statement in std::iter::once(old).chain(more) {
            let write = self.begin().await?;
            deleted += write.transaction.execute_raw(statement).await?.rows_affected();
            write.commit().await?;
        }
        Ok(deleted)
    }
}

pub(super) fn of_others(targets: &[String], limit: u64) -> Select<notification::Entity> {
    notification::Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::State.eq(NotificationState::Waiting.as_str()))
        .filter(Column::Target.is_not_in(targets))
        .limit(limit)
}

fn state(state: NotificationState) -> Expr {
    Expr::value(state.as_str())
}

fn row(row: notification::Model) -> NotificationRow {
    NotificationRow {
        id: row.id,
        key: row.key,
        alarm_id: row.alarm_id,
        event_id: row.event_id,
        target: row.target,
        channel: row.channel,
        kind: row.kind,
        group_key: row.group_key,
        body: row.body,
        state: NotificationState::from_column(&row.state),
        attempts: u32::try_from(row.attempts).unwrap_or(0),
        not_before: Timestamp::from_micros(row.not_before),
        created_at: Timestamp::from_micros(row.created_at),
        sent_at: row.sent_at.map(Timestamp::from_micros),
        error: row.error,
    }
}
