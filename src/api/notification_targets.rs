//! Notification targets: look, make, edit, delete, try.
//!
//! Targets of the configuration are shown and not edited here. A secret leaves the process by its
//! channel only: answers show `***`, and an edit that says `***` keeps what was stored, unless it sends
//! it to another place.

use std::{sync::Arc, time::Duration};

use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::Mutex, time::timeout};

use super::{
    Api, State, Tag, body,
    body::Body,
    caller::{AlarmsWrite, Caller},
    etag, notification_target_form as form,
    page::{self, Page},
    problem::{Answer, Changed, Created, Fault, One, Removed},
    typed::Typed,
    wire::Time,
};
use crate::{
    alarm::{
        notify::{Failure, InvalidTarget, TARGETS_MAX, Target},
        rule::AlarmRule,
    },
    store::{NotificationTargetEdit, NotificationTargetRow},
};

#[derive(Default)]
pub(super) struct NotificationTargets {
    /// Held while one is made, so that there are never too many.
    creation: Arc<Mutex<()>>,
}

/// A notification target as it is
#[derive(Debug, Clone, Object)]
struct NotificationTargetView {
    id: i64,
    /// Rises with each edit; also its ETag
    version: i64,
    /// It stands in the configuration and is not edited here
    provisioned: bool,
    created_at: Time,
    updated_at: Time,
    /// The target as it is put, every default written out, secrets as `***`
    target: Typed<form::NotificationTarget>,
}

/// What became of a test
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct TestOutcome {
    /// The other side has taken it
    delivered: bool,
    /// Why not
    error: Option<String>,
    /// Whether a notification that fails so is tried again
    would_retry: Option<bool>,
    seconds: f64,
}

#[OpenApi]
impl NotificationTargets {
    /// List notification targets
    ///
    /// In the order in which they were made.
    #[oai(
        path = "/api/notification-targets",
        method = "get",
        tag = "Tag::Notifications",
        operation_id = "list_notification_targets"
    )]
    async fn list(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        /// Targets in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<NotificationTargetView>> {
        list(&api, limit.0, cursor.0.as_deref()).await.into()
    }

    /// Make a notification target
    #[oai(
        path = "/api/notification-targets",
        method = "post",
        tag = "Tag::Notifications",
        operation_id = "create_notification_target"
    )]
    async fn create(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        body: Body<Typed<form::NotificationTarget>>,
    ) -> Created<NotificationTargetView> {
        let target = match body.0 {
            Ok(target) => target.value,
            Err(fault) => return fault.into(),
        };
        let _turn = self.creation.lock().await;
        create(&api, target).await.into()
    }

    /// Show a notification target
    #[oai(
        path = "/api/notification-targets/:id",
        method = "get",
        tag = "Tag::Notifications",
        operation_id = "get_notification_target"
    )]
    async fn show(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
    ) -> One<NotificationTargetView> {
        let found = find(&api, id.0).await;
        let tagged = |row: NotificationTargetRow| {
            let tag = etag::entity_tag(row.version);
            (NotificationTargetView::from(row), tag)
        };
        found.map(tagged).into()
    }

    /// Replace a notification target
    ///
    /// With `If-Match`, only if nobody has changed it since it was read. A target that rules name keeps
    /// its name; what waits for a name that is gone is cancelled. `***` keeps a secret, but not where the
    /// channel's `url`, or its `host`, `port` or `security`, or its `ca` changes: it is given again then.
    #[oai(
        path = "/api/notification-targets/:id",
        method = "put",
        tag = "Tag::Notifications",
        operation_id = "update_notification_target"
    )]
    async fn update(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// The ETag that the target had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Body<Typed<form::NotificationTarget>>,
    ) -> Changed<NotificationTargetView> {
        let target = match body.0 {
            Ok(target) => target.value,
            Err(fault) => return fault.into(),
        };
        update(&api, id.0, if_match.0.as_deref(), target).await.into()
    }

    /// Delete a notification target
    ///
    /// Not one that rules name. What waits for it is cancelled.
    #[oai(
        path = "/api/notification-targets/:id",
        method = "delete",
        tag = "Tag::Notifications",
        operation_id = "delete_notification_target"
    )]
    async fn delete(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// The ETag that the target had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Removed {
        delete(&api, id.0, if_match.0.as_deref()).await.into()
    }

    /// Send a test to a notification target
    ///
    /// At once and past the outbox, whether it is enabled or not; the answer says whether it arrived.
    #[oai(
        path = "/api/notification-targets/:id/test",
        method = "post",
        tag = "Tag::Notifications",
        operation_id = "test_notification_target"
    )]
    async fn test(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
    ) -> Answer<TestOutcome> {
        test(&api, id.0).await.into()
    }
}

async fn find(api: &Api, id: i64) -> Result<NotificationTargetRow, Fault> {
    let found = api.store.notification_target(id).await?;
    found.ok_or_else(|| Fault::not_found("notification target"))
}

async fn list(
    api: &Api,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<NotificationTargetView>, Fault> {
    let (limit, after) = (page::limit(limit, 100, 1_000)?, page::number(cursor)?);
    let all = api.store.notification_targets().await?.into_iter();
    let wanted = all.filter(|row| after.is_none_or(|after| row.id > after));
    let rows = wanted.take(limit + 1).collect();
    Ok(Page::of(rows, limit, |row: &NotificationTargetRow| row.id.to_string()))
}

async fn create(api: &Api, target: Value) -> Result<NotificationTargetView, Fault> {
    let target: Target = body::fit(target, "")?;
    target.check()?;
    if api.store.notification_targets().await?.len() >= TARGETS_MAX {
        return Err(Fault::conflict(format!(
            "there are {TARGETS_MAX} targets; more are not served"
        )));
    }
    let row = api.store.create_notification_target(&to_edit(&target), api.now()).await?;
    api.notifier.follow_edit(&api.store, api.now()).await;
    Ok(row.into())
}

async fn update(
    api: &Api,
    id: i64,
    if_match: Option<&str>,
    target: Value,
) -> Result<NotificationTargetView, Fault> {
    let mut target: Target = body::fit(target, "")?;
    let before = editable(api, id, if_match).await?;
    if let Ok(earlier) = serde_json::from_str::<Target>(&before.body) {
        target.keep_secrets(&earlier)?;
    }
    target.check()?;
    if target.name != before.name {
        refuse_if_named(api, &before.name).await?;
    }
    let edit = to_edit(&target);
    let row = api.store.update_notification_target(id, before.version, &edit, api.now()).await?;
    api.notifier.follow_edit(&api.store, api.now()).await;
    Ok(row.into())
}

async fn delete(api: &Api, id: i64, if_match: Option<&str>) -> Result<(), Fault> {
    let before = editable(api, id, if_match).await?;
    refuse_if_named(api, &before.name).await?;
    api.store.delete_notification_target(id, before.version).await?;
    api.notifier.follow_edit(&api.store, api.now()).await;
    Ok(())
}

async fn editable(
    api: &Api,
    id: i64,
    if_match: Option<&str>,
) -> Result<NotificationTargetRow, Fault> {
    let row = find(api, id).await?;
    if row.provisioned {
        let detail =
            "the target stands in the configuration (notifications.targets); edit it there";
        return Err(Fault::conflict(detail));
    }
    etag::check(if_match, row.version)?;
    Ok(row)
}

/// A rule whose only target is gone would tell nobody.
async fn refuse_if_named(api: &Api, target: &str) -> Result<(), Fault> {
    for row in api.store.alarm_rules().await? {
        let rule = AlarmRule::from_json(&row.body);
        if rule.is_ok_and(|rule| rule.targets.iter().any(|name| name == target)) {
            let detail = format!("the alarm rule {:?} names the target; edit that first", row.name);
            return Err(Fault::conflict(detail));
        }
    }
    Ok(())
}

fn to_edit(target: &Target) -> NotificationTargetEdit {
    NotificationTargetEdit {
        name: target.name.clone(),
        channel: target.kind().label().to_owned(),
        enabled: target.enabled,
        body: target.to_stored(),
    }
}

async fn test(api: &Api, id: i64) -> Result<TestOutcome, Fault> {
    let row = find(api, id).await?;
    let target = Target::deserialize(&mut serde_json::Deserializer::from_str(&row.body))
        .map_err(|error| Fault::conflict(format!("the target can't be read: {error}")))?;
    let started = api.clock.monotonic();
    // Before the request itself is given up, so that the outcome is told.
    let patience = api.http.request_timeout.0.mul_f64(0.9);
    let sent = timeout(patience, api.channels.send_test(&target)).await;
    let seconds = api.clock.monotonic().saturating_sub(started).as_secs_f64();
    let (error, would_retry) = match sent {
        Ok(Ok(())) => (None, None),
        Ok(Err(Failure::Temporary { why, .. })) => (Some(why), Some(true)),
        Ok(Err(Failure::Permanent { why })) => (Some(why), Some(false)),
        Err(_) => (Some(no_answer(patience)), Some(true)),
    };
    Ok(TestOutcome { delivered: error.is_none(), error, would_retry, seconds })
}

fn no_answer(patience: Duration) -> String {
    format!("no answer within {patience:?}")
}

impl From<InvalidTarget> for Fault {
    fn from(invalid: InvalidTarget) -> Self {
        Self::invalid(&invalid.pointer, invalid.detail)
    }
}

impl From<NotificationTargetRow> for NotificationTargetView {
    fn from(row: NotificationTargetRow) -> Self {
        // Not the stored text, which has the secrets.
        let target = serde_json::from_str::<Target>(&row.body);
        let shown = target.ok().and_then(|target| serde_json::to_value(target).ok());
        Self {
            id: row.id,
            version: row.version,
            provisioned: row.provisioned,
            created_at: Time(row.created_at),
            updated_at: Time(row.updated_at),
            target: Typed::new(shown.unwrap_or_default()),
        }
    }
}
