//! The audit log: who did what to which resource, when, from where.

use poem_openapi::{Object, OpenApi, param::Query};
use serde_json::Value;

use super::{
    Api, State, Tag,
    caller::{AuditRead, Caller},
    page::{self, Page},
    problem::{Answer, Fault},
    wire::Time,
};
use crate::store::{AuditFilter, AuditRow};

pub(super) struct Audit;

/// Something that somebody did
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct EntryView {
    id: i64,
    at: Time,
    /// `user`, `key`, `console` (the command line on the server) or `nobody` (without credentials)
    actor_kind: String,
    actor: String,
    /// The operation, as this document names it, such as `update_device`
    action: String,
    /// The path that it was asked for
    resource: String,
    /// What has changed, often `before` and `after`
    detail: Option<Value>,
    address: Option<String>,
    /// What the client gave as `X-Request-ID`
    request_id: Option<String>,
}

#[OpenApi]
impl Audit {
    /// Read the audit log
    ///
    /// Newest first, page by page. Every change that was made over this surface is in it, and each
    /// sign-in; uploads and refreshed tokens are not.
    #[oai(path = "/api/audit", method = "get", tag = "Tag::Access", operation_id = "list_audit")]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn list(
        &self,
        _caller: Caller<AuditRead>,
        api: State<'_>,
        /// The name of a user or key
        actor: Query<Option<String>>,
        action: Query<Option<String>>,
        /// What the resource begins with
        resource: Query<Option<String>>,
        /// From then on
        from: Query<Option<Time>>,
        /// Before then
        to: Query<Option<Time>>,
        /// Entries in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<EntryView>> {
        let filter = AuditFilter {
            actor: actor.0,
            action: action.0,
            resource: resource.0,
            from: from.0.map(|time| time.0),
            to: to.0.map(|time| time.0),
            before: None,
        };
        list(&api, filter, limit.0, cursor.0).await.into()
    }
}

async fn list(
    api: &Api,
    mut filter: AuditFilter,
    limit: Option<u32>,
    cursor: Option<String>,
) -> Result<Page<EntryView>, Fault> {
    let limit = page::limit(limit, 100, 1_000)?;
    filter.before = match cursor.as_deref().map(str::parse) {
        Some(Ok(before)) => Some(before),
        Some(Err(_)) => return Err(Fault::invalid("cursor", "give the next_cursor of a page")),
        None => None,
    };
    let mut rows = api.access.audit(&filter, limit as u64 + 1).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| row.id.to_string());
    Ok(Page::new(rows.into_iter().map(EntryView::from).collect(), next))
}

impl From<AuditRow> for EntryView {
    fn from(row: AuditRow) -> Self {
        let detail =
            row.detail.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)));
        Self {
            id: row.id,
            at: Time(row.at),
            actor_kind: row.actor_kind,
            actor: row.actor,
            action: row.action,
            resource: row.resource,
            detail,
            address: row.address,
            request_id: row.request_id,
        }
    }
}
