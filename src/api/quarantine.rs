//! Refused messages: look at them, try them again, delete them.

use base64::{Engine, engine::general_purpose::STANDARD};
use poem::http::StatusCode;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
};

use super::{
    Api, State, Tag,
    caller::{Caller, DataRead, DataWrite},
    page::{self, Page},
    problem::{Answer, Changed, Deleted, Fault, FieldError},
    wire::Time,
};
use crate::{
    ingest::{Retried, Verdict, retry_quarantined},
    store::QuarantineRow,
};

/// Bytes of payloads in a page.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of a payload that is shown as text too.
const TEXT_MAX: usize = 64 << 10;

pub(super) struct Quarantine;

/// A refused message
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct Entry {
    id: i64,
    received_at: Time,
    /// `mqtt` or `http`
    source: String,
    /// The MQTT topic or the HTTP path
    topic: String,
    client_id: Option<String>,
    device: Option<String>,
    /// Why, in a word
    reason: String,
    /// What was wrong, where, and what would be right
    detail: String,
    /// The payload as it came, in base64
    payload_base64: String,
    /// The payload, where it is UTF-8 and not longer than 64 KiB
    payload_text: Option<String>,
    /// Retries that were refused
    attempts: i64,
}

/// What became of a retry
#[derive(Debug, Clone, Object)]
struct RetryResult {
    /// Taken in full; the entry is gone
    ok: bool,
    /// `stored`, `partial` or `held`
    status: String,
    accepted: u64,
    rejected: Vec<FieldError>,
}

#[OpenApi]
impl Quarantine {
    /// List refused messages
    ///
    /// Newest first. A page has fewer entries than `limit` where their payloads are long.
    #[oai(
        path = "/api/quarantine",
        method = "get",
        tag = "Tag::Quarantine",
        operation_id = "list_quarantine"
    )]
    async fn list(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
        /// Of this device only
        device_id: Query<Option<String>>,
        /// Entries in a page, 1 to 1000; 50 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<Entry>> {
        list(&api, device_id.0.as_deref(), limit.0, cursor.0.as_deref()).await.into()
    }

    /// Try a refused message again
    ///
    /// As if it came just now, but with the time of its receipt. Taken in full, it leaves the
    /// quarantine; taken in part (`partial`), or held because its device waits for approval (`held`), it
    /// stays. Refused again, it is answered 422, with the reasons.
    #[oai(
        path = "/api/quarantine/:id/retry",
        method = "post",
        tag = "Tag::Quarantine",
        operation_id = "retry_quarantined"
    )]
    async fn retry(
        &self,
        _caller: Caller<DataWrite>,
        api: State<'_>,
        id: Path<i64>,
    ) -> Changed<RetryResult> {
        retry(&api, id.0).await.into()
    }

    /// Delete a refused message
    #[oai(
        path = "/api/quarantine/:id",
        method = "delete",
        tag = "Tag::Quarantine",
        operation_id = "delete_quarantined"
    )]
    async fn delete(&self, _caller: Caller<DataWrite>, api: State<'_>, id: Path<i64>) -> Deleted {
        delete(&api, id.0).await.into()
    }
}

async fn list(
    api: &Api,
    device: Option<&str>,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<Entry>, Fault> {
    let (limit, before) = (page::limit(limit, 50, 1_000)?, page::number(cursor)?);
    let page = api.store.quarantine_page(device, before, limit, PAGE_BYTES_MAX).await?;
    let (rows, has_more) = page;
    let next = rows.last().filter(|_| has_more).map(|row| row.id.to_string());
    Ok(Page::new(rows.into_iter().map(Entry::from).collect(), next))
}

async fn retry(api: &Api, id: i64) -> Result<RetryResult, Fault> {
    let retried = retry_quarantined(&api.store, &api.tap, id).await?;
    api.committer.recount_quarantine();
    let (ok, verdict) = match retried {
        Retried::Missing => return Err(Fault::not_found("quarantined message")),
        Retried::Taken(verdict) => (true, verdict),
        // The request was right; the message still is not.
        Retried::Refused(Verdict::Refused(rejections)) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Fault { status, ..Fault::refused(&rejections) });
        }
        Retried::Refused(verdict) => (false, verdict),
    };
    Ok(RetryResult {
        ok,
        status: verdict.label().to_owned(),
        accepted: verdict.accepted() as u64,
        rejected: verdict.rejections().iter().map(FieldError::from).collect(),
    })
}

async fn delete(api: &Api, id: i64) -> Result<(), Fault> {
    if !api.store.delete_quarantined(id).await? {
        return Err(Fault::not_found("quarantined message"));
    }
    api.committer.recount_quarantine();
    Ok(())
}

impl From<QuarantineRow> for Entry {
    fn from(row: QuarantineRow) -> Self {
        let is_short = row.payload.len() <= TEXT_MAX;
        Self {
            id: row.id,
            received_at: Time(row.received_at),
            source: row.source,
            topic: row.topic,
            client_id: row.client_id,
            device: row.device,
            reason: row.reason,
            detail: row.detail,
            payload_base64: STANDARD.encode(&row.payload),
            payload_text: is_short.then(|| String::from_utf8(row.payload).ok()).flatten(),
            attempts: row.attempts,
        }
    }
}
