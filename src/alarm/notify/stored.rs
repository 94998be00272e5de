//! The outbox that the store keeps: its rows become what lanes know, and no more.

use super::{Due, Outbox, Waiting, WaitingSummary};
use crate::{
    store::{NotificationRow, Store, StoreError},
    telemetry::Timestamp,
};

impl Outbox for Store {
    type Error = StoreError;

    async fn due(&self, target: &str, now: Timestamp, rows_max: usize) -> Result<Due, StoreError> {
        let due = self.due_notifications(target, now, limit(rows_max)).await?;
        Ok(Due { rows: due.rows.into_iter().map(waiting).collect(), next: due.next })
    }

    async fn begin(&self, ids: &[i64], retry_at: Timestamp) -> Result<(), StoreError> {
        self.begin_notifications(ids, retry_at).await
    }

    async fn sent(&self, ids: &[i64], at: Timestamp) -> Result<(), StoreError> {
        self.note_sent_notifications(ids, at).await
    }

    async fn failed(
        &self,
        ids: &[i64],
        error: &str,
        retry_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.retry_notifications(ids, error, retry_at).await
    }

    async fn dead(&self, ids: &[i64], error: &str) -> Result<(), StoreError> {
        self.bury_notifications(ids, error).await
    }

    async fn cancel(&self, ids: &[i64], why: &str) -> Result<(), StoreError> {
        self.cancel_notifications(ids, why).await.map(drop)
    }

    async fn cancel_others(&self, targets: &[String], why: &str) -> Result<u64, StoreError> {
        self.cancel_notifications_of_others(targets, why).await
    }

    async fn trim(
        &self,
        before: Timestamp,
        keep: usize,
        rows_max: usize,
    ) -> Result<u64, StoreError> {
        self.trim_notifications(before, limit(keep), limit(rows_max)).await
    }

    async fn summary(&self) -> Result<WaitingSummary, StoreError> {
        let waiting = self.waiting_notifications().await?;
        Ok(WaitingSummary { rows: waiting.count, oldest: waiting.oldest })
    }
}

fn limit(rows_max: usize) -> u64 {
    u64::try_from(rows_max).unwrap_or(u64::MAX)
}

fn waiting(row: NotificationRow) -> Waiting {
    Waiting {
        id: row.id,
        key: row.key,
        alarm_id: row.alarm_id,
        group_key: row.group_key,
        body: row.body,
        attempts: row.attempts,
        not_before: row.not_before,
        created_at: row.created_at,
    }
}
