//! Alarms: look at them and at what happened to them. What people do to them is in
//! [`alarm_operations`](super::alarm_operations).

use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
};

use super::{
    Api, State, Tag,
    alarm_rule_form::Severity,
    alarm_summary::{self, AlarmSummary},
    alarm_view::{AlarmEvent, AlarmView},
    caller::{AlarmsRead, Caller},
    page::{self, Page},
    problem::{Answer, Fault},
    wire::Time,
};
use crate::{
    store::{AlarmEventRow, AlarmPosition, AlarmQuery, AlarmRow},
    telemetry::Timestamp,
};

pub(super) struct Alarms;

/// An alarm and what happened to it
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct AlarmWithEvents {
    #[oai(flatten)]
    alarm: AlarmView,
    /// In their order
    events: Vec<AlarmEvent>,
    /// To be given as `cursor` for the events that follow; missing where there are none
    next_cursor: Option<String>,
}

#[OpenApi]
impl Alarms {
    /// List alarms
    ///
    /// The last raised first.
    #[oai(path = "/api/alarms", method = "get", tag = "Tag::Alarms", operation_id = "list_alarms")]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn list(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        /// Only those whose condition holds, or does not
        active: Query<Option<bool>>,
        /// Only those acknowledged, or not
        acknowledged: Query<Option<bool>>,
        /// Only those that are over, or open
        closed: Query<Option<bool>>,
        /// This severity or a higher one
        severity_min: Query<Option<Severity>>,
        /// Of this device only
        device: Query<Option<String>>,
        /// Of the rule of this id only
        rule: Query<Option<i64>>,
        /// Raised at this time or later
        from: Query<Option<Time>>,
        /// Raised before this time
        to: Query<Option<Time>>,
        /// Alarms in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<AlarmView>> {
        let query = AlarmQuery {
            active: active.0,
            acknowledged: acknowledged.0,
            closed: closed.0,
            severity_min: severity_min.0.map(Severity::code),
            device: device.0,
            rule: rule.0,
            from: from.0.map(|time| time.0),
            to: to.0.map(|time| time.0),
            ..AlarmQuery::default()
        };
        list(&api, query, limit.0, cursor.0.as_deref()).await.into()
    }

    /// Figures about alarms
    ///
    /// What is open at present; of a range which rules and devices raised the most, which alarms
    /// chattered (three raises or more within a minute), and how soon people answered.
    #[oai(
        path = "/api/alarms/summary",
        method = "get",
        tag = "Tag::Alarms",
        operation_id = "alarm_summary"
    )]
    async fn summary(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        /// From this time on; a day before `to` if left out
        from: Query<Option<Time>>,
        /// Before this time; the present if left out
        to: Query<Option<Time>>,
    ) -> Answer<AlarmSummary> {
        alarm_summary::of(&api, from.0, to.0).await.into()
    }

    /// Show an alarm with its events
    #[oai(
        path = "/api/alarms/:id",
        method = "get",
        tag = "Tag::Alarms",
        operation_id = "get_alarm"
    )]
    async fn show(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        id: Path<i64>,
        /// Events in the answer, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the answer before
        cursor: Query<Option<String>>,
    ) -> Answer<AlarmWithEvents> {
        show(&api, id.0, limit.0, cursor.0.as_deref()).await.into()
    }
}

pub(super) async fn find(api: &Api, id: i64) -> Result<AlarmRow, Fault> {
    api.store.alarm(id).await?.ok_or_else(|| Fault::not_found("alarm"))
}

async fn list(
    api: &Api,
    query: AlarmQuery,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<AlarmView>, Fault> {
    let (limit, after) = (page::limit(limit, 100, 1_000)?, cursor.map(position).transpose()?);
    let page = api.store.alarms(&AlarmQuery { after, limit: limit as u64, ..query }).await?;
    let next = page.alarms.last().filter(|_| page.has_more);
    let next = next.map(|row| format!("{}.{}", row.raised_at.as_micros(), row.id));
    Ok(Page::new(page.alarms.into_iter().map(AlarmView::from).collect(), next))
}

fn position(cursor: &str) -> Result<AlarmPosition, Fault> {
    let parts = cursor.split_once('.');
    let read = parts.and_then(|(micros, id)| Some((micros.parse().ok()?, id.parse().ok()?)));
    read.map(|(micros, id)| (Timestamp::from_micros(micros), id))
        .ok_or_else(|| Fault::invalid("cursor", "the cursor is not one of next_cursor"))
}

async fn show(
    api: &Api,
    id: i64,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<AlarmWithEvents, Fault> {
    let (limit, after) = (page::limit(limit, 100, 1_000)?, page::number(cursor)?);
    let alarm = find(api, id).await?;
    let rows = api.store.alarm_events(id, after, limit as u64 + 1).await?;
    let events = Page::of(rows, limit, |row: &AlarmEventRow| row.id.to_string());
    let (events, next_cursor) = (events.items, events.next_cursor);
    Ok(AlarmWithEvents { alarm: alarm.into(), events, next_cursor })
}
