//! What people do to alarms. Each is an order to the engine and answered when it is stored, with the
//! alarm as it then is; what the alarm's state does not allow is a conflict.

use std::collections::BTreeSet;

use poem_openapi::{Object, OpenApi, param::Path};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::{
    Api, State, Tag,
    alarm_rule_form::Severity,
    alarm_view::AlarmView,
    alarms::find,
    body::{Body, OptionalBody},
    caller::{AlarmsWrite, Caller},
    problem::{Changed, Fault},
    wire::{self, Time},
};
use crate::{
    alarm::{
        engine::{Action, Operated, Order, OrderError},
        lifecycle::CommandError,
    },
    store::AlarmQuery,
    telemetry::Timestamp,
};

pub(super) struct AlarmOperations;

/// Alarms acknowledged with one request.
const BULK_MAX: usize = 1_000;
/// Characters of a note.
const NOTE_MAX: usize = 1_000;

/// What goes with an operation; a request without a body says nothing
#[derive(Debug, Clone, Default, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct AlarmNote {
    /// Kept with the event; at most 1000 characters
    note: Option<String>,
}

/// How long an alarm is shelved: `until` or `duration`
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct Shelving {
    until: Option<Time>,
    /// Such as `30m` or `8h`
    duration: Option<String>,
    /// Kept with the event; at most 1000 characters
    note: Option<String>,
}

/// Which alarms to acknowledge: `ids` or `filter`
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct BulkAcknowledgement {
    /// At most 1000
    ids: Option<Vec<i64>>,
    /// `{}`: all that are not acknowledged
    filter: Option<AlarmFilter>,
    /// Kept with each event; at most 1000 characters
    note: Option<String>,
}

/// Alarms that are not acknowledged; every part that is given must match
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct AlarmFilter {
    active: Option<bool>,
    /// This severity or a higher one
    severity_min: Option<Severity>,
    device: Option<String>,
    /// The id of the rule
    rule: Option<i64>,
    /// Raised at this time or later
    from: Option<Time>,
    /// Raised before this time
    to: Option<Time>,
}

/// What became of a bulk acknowledgement
#[derive(Debug, Clone, Object)]
struct BulkAcknowledged {
    acknowledged: u64,
    /// More alarms match the filter: ask again
    has_more: bool,
    results: Vec<BulkResult>,
}

/// What became of one alarm of a bulk
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct BulkResult {
    id: i64,
    /// It is acknowledged by this request
    ok: bool,
    /// Why not
    detail: Option<String>,
}

#[OpenApi]
impl AlarmOperations {
    /// Acknowledge an alarm
    ///
    /// Somebody knows: it is told no more. A cleared alarm is closed with it.
    #[oai(
        path = "/api/alarms/:id/ack",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "acknowledge_alarm"
    )]
    async fn acknowledge(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        body: OptionalBody<AlarmNote>,
    ) -> Changed<AlarmView> {
        operate(&api, &caller, id.0, Action::Acknowledge, body).await.into()
    }

    /// Take an acknowledgement back
    #[oai(
        path = "/api/alarms/:id/unack",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "unacknowledge_alarm"
    )]
    async fn unacknowledge(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        body: OptionalBody<AlarmNote>,
    ) -> Changed<AlarmView> {
        operate(&api, &caller, id.0, Action::Unacknowledge, body).await.into()
    }

    /// Clear an active alarm by hand
    ///
    /// It is raised again only after its condition was gone once.
    #[oai(
        path = "/api/alarms/:id/clear",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "clear_alarm"
    )]
    async fn clear(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        body: OptionalBody<AlarmNote>,
    ) -> Changed<AlarmView> {
        operate(&api, &caller, id.0, Action::Clear, body).await.into()
    }

    /// Shelve an alarm
    ///
    /// Nothing is told of it until then, except that it is over: an acknowledged alarm that clears is
    /// told. What happens is kept. If it is active and not acknowledged then, it is told.
    #[oai(
        path = "/api/alarms/:id/shelve",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "shelve_alarm"
    )]
    async fn shelve(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        body: Body<Shelving>,
    ) -> Changed<AlarmView> {
        let (until, note) = match body.0.and_then(|shelving| shelving_end(&api, shelving)) {
            Ok(shelving) => shelving,
            Err(fault) => return fault.into(),
        };
        order(&api, &caller, id.0, Action::Shelve { until }, note).await.into()
    }

    /// Take an alarm from the shelf
    #[oai(
        path = "/api/alarms/:id/unshelve",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "unshelve_alarm"
    )]
    async fn unshelve(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        body: OptionalBody<AlarmNote>,
    ) -> Changed<AlarmView> {
        operate(&api, &caller, id.0, Action::Unshelve, body).await.into()
    }

    /// Reset a latched alarm
    ///
    /// Only when its condition is gone.
    #[oai(
        path = "/api/alarms/:id/reset",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "reset_alarm"
    )]
    async fn reset(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        body: OptionalBody<AlarmNote>,
    ) -> Changed<AlarmView> {
        operate(&api, &caller, id.0, Action::Reset, body).await.into()
    }

    /// Take an alarm out of service
    ///
    /// Nothing is told of it until it is in service again, except that it is over: an acknowledged alarm
    /// that clears is told. What happens is kept.
    #[oai(
        path = "/api/alarms/:id/out-of-service",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "take_alarm_out_of_service"
    )]
    async fn take_out_of_service(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        body: OptionalBody<AlarmNote>,
    ) -> Changed<AlarmView> {
        operate(&api, &caller, id.0, Action::TakeOutOfService, body).await.into()
    }

    /// Put an alarm in service again
    #[oai(
        path = "/api/alarms/:id/in-service",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "put_alarm_in_service"
    )]
    async fn put_in_service(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        body: OptionalBody<AlarmNote>,
    ) -> Changed<AlarmView> {
        operate(&api, &caller, id.0, Action::PutInService, body).await.into()
    }

    /// Acknowledge many alarms
    ///
    /// By their ids or by a filter, at most 1,000 in one request and in one transaction; the answer
    /// says what became of each.
    #[oai(
        path = "/api/alarms/acknowledge",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "acknowledge_alarms"
    )]
    async fn acknowledge_all(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        body: Body<BulkAcknowledgement>,
    ) -> Changed<BulkAcknowledged> {
        match body.0 {
            Ok(bulk) => acknowledge_all(&api, &caller, bulk).await.into(),
            Err(fault) => fault.into(),
        }
    }
}

async fn operate(
    api: &Api,
    caller: &Caller<AlarmsWrite>,
    id: i64,
    action: Action,
    body: OptionalBody<AlarmNote>,
) -> Result<AlarmView, Fault> {
    let note = checked_note(body.0?.unwrap_or_default().note)?;
    order(api, caller, id, action, note).await
}

async fn order(
    api: &Api,
    caller: &Caller<AlarmsWrite>,
    id: i64,
    action: Action,
    note: Option<String>,
) -> Result<AlarmView, Fault> {
    find(api, id).await?;
    let (reply, answer) = oneshot::channel();
    let actor = caller.author();
    api.committer.order(Order::Operate { alarm: id, action, actor, note, reply });
    carried_out(answer.await).map(AlarmView::from)
}

type Reply<T> = Result<Result<T, OrderError>, oneshot::error::RecvError>;

/// The engine answers once an order is stored or refused.
fn carried_out<T>(reply: Reply<T>) -> Result<T, Fault> {
    match reply {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(OrderError::Store(error))) => Err(error.into()),
        Ok(Err(refused)) => Err(Fault::conflict(refused.to_string())),
        // There is no room for it, or the process ends.
        Err(_) => Err(Fault::unavailable()),
    }
}

fn checked_note(note: Option<String>) -> Result<Option<String>, Fault> {
    let note = note.filter(|note| !note.is_empty());
    if note.as_ref().is_some_and(|note| note.chars().count() > NOTE_MAX) {
        return Err(Fault::invalid("/note", "at most 1000 characters"));
    }
    Ok(note)
}

fn shelving_end(api: &Api, shelving: Shelving) -> Result<(Timestamp, Option<String>), Fault> {
    let now = api.now();
    let until = wire::end(now, shelving.until, "/until", shelving.duration.as_deref())?;
    if until <= now {
        return Err(Fault::invalid("/until", "an alarm is shelved until a time to come"));
    }
    Ok((until, checked_note(shelving.note)?))
}

async fn acknowledge_all(
    api: &Api,
    caller: &Caller<AlarmsWrite>,
    bulk: BulkAcknowledgement,
) -> Result<BulkAcknowledged, Fault> {
    let note = checked_note(bulk.note)?;
    let (ids, has_more) = match (bulk.ids, bulk.filter) {
        (Some(ids), None) if ids.len() <= BULK_MAX => (ids, false),
        (Some(_), None) => return Err(Fault::invalid("/ids", "at most 1000 alarms at a time")),
        (None, Some(filter)) => matching(api, filter).await?,
        _ => return Err(Fault::invalid("", "give `ids` or `filter`")),
    };
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let (reply, answer) = oneshot::channel();
    let (action, actor) = (Action::Acknowledge, caller.author());
    let alarms = ids.into_iter().collect();
    api.committer.order(Order::OperateAll { alarms, action, actor, note, reply });
    let each = carried_out(answer.await)?;
    let acknowledged = each.iter().filter(|(_, done)| done.is_ok()).count() as u64;
    Ok(BulkAcknowledged { acknowledged, has_more, results: results(api, each).await? })
}

/// What the engine no longer knows is closed, or was never there.
async fn results(api: &Api, each: Vec<Operated>) -> Result<Vec<BulkResult>, Fault> {
    let unknown = each.iter().filter(|(_, done)| *done == Err(CommandError::Closed));
    let unknown: Vec<i64> = unknown.map(|(id, _)| *id).collect();
    let closed = api.store.known_alarms(&unknown).await?;
    let result = |(id, done): Operated| {
        let detail = match done {
            Ok(()) => None,
            Err(CommandError::Closed) if !closed.contains(&id) => Some(CommandError::NoAlarm),
            Err(why) => Some(why),
        };
        BulkResult { id, ok: detail.is_none(), detail: detail.map(|why| why.to_string()) }
    };
    Ok(each.into_iter().map(result).collect())
}

async fn matching(api: &Api, filter: AlarmFilter) -> Result<(Vec<i64>, bool), Fault> {
    let query = AlarmQuery {
        active: filter.active,
        acknowledged: Some(false),
        closed: Some(false),
        severity_min: filter.severity_min.map(Severity::code),
        device: filter.device,
        rule: filter.rule,
        from: filter.from.map(|time| time.0),
        to: filter.to.map(|time| time.0),
        after: None,
        limit: BULK_MAX as u64,
    };
    let page = api.store.alarms(&query).await?;
    Ok((page.alarms.into_iter().map(|row| row.id).collect(), page.has_more))
}
