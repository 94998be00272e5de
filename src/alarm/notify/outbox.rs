//! What the worker asks of the store.
//!
//! A row is made in the transaction of the transition that it tells of, `waiting`, with a key that no
//! other row ever has. It ends as `sent`, `dead` or `cancelled`; every method here touches rows that
//! are `waiting` only, so what has ended stays as it is.

use std::fmt;

use crate::telemetry::Timestamp;

/// A waiting row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub id: i64,
    /// Unique and for ever.
    pub key: String,
    pub alarm_id: Option<i64>,
    pub group_key: String,
    /// A [`super::Notice`] as JSON.
    pub body: String,
    /// Tries that were begun.
    pub attempts: u32,
    pub not_before: Timestamp,
    pub created_at: Timestamp,
}

/// What of one target's rows can go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// In the order of `id`.
    pub rows: Vec<Waiting>,
    /// When the first of the target's other waiting rows will be due.
    pub next: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WaitingSummary {
    pub rows: u64,
    /// When the oldest was made.
    pub oldest: Option<Timestamp>,
}

pub trait Outbox: Send + Sync + 'static {
    type Error: fmt::Display + Send;

    /// The first `rows_max` of a target's rows that are due (`not_before <= now`). A row of an alarm
    /// of which an earlier row of that target is waiting and *not* due is left out: what is told of
    /// one alarm is told in order.
    fn due(
        &self,
        target: &str,
        now: Timestamp,
        rows_max: usize,
    ) -> impl Future<Output = Result<Due, Self::Error>> + Send;

    /// A try begins: `attempts` rises by one, and `not_before` becomes `retry_at`, when the rows are
    /// due again if nothing more is heard of them.
    fn begin(
        &self,
        ids: &[i64],
        retry_at: Timestamp,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    fn sent(
        &self,
        ids: &[i64],
        at: Timestamp,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The try has failed, and there will be another.
    fn failed(
        &self,
        ids: &[i64],
        error: &str,
        retry_at: Timestamp,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Given up.
    fn dead(
        &self,
        ids: &[i64],
        error: &str,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Not to be told after all.
    fn cancel(
        &self,
        ids: &[i64],
        why: &str,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Cancels what waits for any other target than these; how many rows.
    fn cancel_others(
        &self,
        targets: &[String],
        why: &str,
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Deletes rows that have ended and were made before then or are not among the newest `keep`, some
    /// `rows_max` of them; how many.
    fn trim(
        &self,
        before: Timestamp,
        keep: usize,
        rows_max: usize,
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    fn summary(&self) -> impl Future<Output = Result<WaitingSummary, Self::Error>> + Send;
}
