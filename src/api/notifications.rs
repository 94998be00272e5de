//! What is told of alarms: how far it is, and another try for what was given up.

use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Path, Query},
};
use serde_json::Value;

use super::{
    Api, State, Tag,
    caller::{AlarmsRead, AlarmsWrite, Caller},
    page::{self, Page},
    problem::{Answer, Changed, Fault},
    wire::Time,
};
use crate::store::{NotificationQuery, NotificationRow, NotificationState};

pub(super) struct Notifications;

/// How far a notification is
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum NotificationProgress {
    /// For its first or its next try
    Waiting,
    Sent,
    /// Given up
    Dead,
    /// Silenced, or its target or device is gone
    Cancelled,
    /// The rule's cooldown held it back until it was over
    Suppressed,
}

/// Something told of an alarm to one target
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct Notification {
    id: i64,
    /// The alarm's id
    alarm: Option<i64>,
    /// The target's name
    target: String,
    /// `email`, `webhook`, `mqtt` or `log`
    channel: String,
    /// `raised`, `escalated`, `cleared`, `repeated` or `test`
    kind: String,
    state: NotificationProgress,
    /// Tries that were begun
    attempts: u32,
    created_at: Time,
    /// When it may go, or goes again
    not_before: Time,
    sent_at: Option<Time>,
    /// Why the last try failed, or why it was cancelled or held back
    error: Option<String>,
    /// What is told: a snapshot of the alarm
    notice: Value,
}

/// A notification that waits again
#[derive(Debug, Clone, Object)]
struct RetriedNotification {
    id: i64,
    state: NotificationProgress,
}

#[OpenApi]
impl Notifications {
    /// List notifications
    ///
    /// Newest first.
    #[oai(
        path = "/api/notifications",
        method = "get",
        tag = "Tag::Notifications",
        operation_id = "list_notifications"
    )]
    async fn list(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        /// Only those that are so far
        state: Query<Option<NotificationProgress>>,
        /// Of the alarm of this id only
        alarm: Query<Option<i64>>,
        /// Notifications in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<Notification>> {
        let query = NotificationQuery {
            state: state.0.map(NotificationState::from),
            alarm: alarm.0,
            ..NotificationQuery::default()
        };
        list(&api, query, limit.0, cursor.0.as_deref()).await.into()
    }

    /// Try a dead notification again
    ///
    /// As if it had never been tried.
    #[oai(
        path = "/api/notifications/:id/retry",
        method = "post",
        tag = "Tag::Notifications",
        operation_id = "retry_notification"
    )]
    async fn retry(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
    ) -> Changed<RetriedNotification> {
        retry(&api, id.0).await.into()
    }
}

async fn list(
    api: &Api,
    query: NotificationQuery,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<Notification>, Fault> {
    let (limit, before) = (page::limit(limit, 100, 1_000)?, page::number(cursor)?);
    let query = NotificationQuery { before, limit: limit as u64 + 1, ..query };
    let rows = api.store.notifications(&query).await?;
    Ok(Page::of(rows, limit, |row: &NotificationRow| row.id.to_string()))
}

async fn retry(api: &Api, id: i64) -> Result<RetriedNotification, Fault> {
    if api.store.revive_notification(id, api.now()).await? {
        api.notifier.wake();
        return Ok(RetriedNotification { id, state: NotificationProgress::Waiting });
    }
    // The ids are a row's place in its list: the one before the next is this one, if it is there.
    let query = NotificationQuery {
        before: Some(id.saturating_add(1)),
        limit: 1,
        ..NotificationQuery::default()
    };
    let found = api.store.notifications(&query).await?.into_iter().find(|row| row.id == id);
    let row = found.ok_or_else(|| Fault::not_found("notification"))?;
    let state = row.state.as_str();
    Err(Fault::conflict(format!("only a dead notification is tried again; this one is {state}")))
}

impl From<NotificationProgress> for NotificationState {
    fn from(progress: NotificationProgress) -> Self {
        match progress {
            NotificationProgress::Waiting => Self::Waiting,
            NotificationProgress::Sent => Self::Sent,
            NotificationProgress::Dead => Self::Dead,
            NotificationProgress::Cancelled => Self::Cancelled,
            NotificationProgress::Suppressed => Self::Suppressed,
        }
    }
}

impl From<NotificationState> for NotificationProgress {
    fn from(state: NotificationState) -> Self {
        match state {
            NotificationState::Waiting => Self::Waiting,
            NotificationState::Sent => Self::Sent,
            NotificationState::Dead => Self::Dead,
            NotificationState::Cancelled => Self::Cancelled,
            NotificationState::Suppressed => Self::Suppressed,
        }
    }
}

impl From<NotificationRow> for Notification {
    fn from(row: NotificationRow) -> Self {
        Self {
            id: row.id,
            alarm: row.alarm_id,
            target: row.target,
            channel: row.channel,
            kind: row.kind,
            state: row.state.into(),
            attempts: row.attempts,
            created_at: Time(row.created_at),
            not_before: Time(row.not_before),
            sent_at: row.sent_at.map(Time),
            error: row.error,
            notice: serde_json::from_str(&row.body).unwrap_or_default(),
        }
    }
}
