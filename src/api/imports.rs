//! Readings from a file: taken in as a stream, kept on disk, stored by a job.

use std::time::Duration;

use futures_util::StreamExt;
use poem::{Request, http::StatusCode};
use poem_openapi::{Enum, OpenApi, param::Query};
use tokio::time::timeout;

use super::{
    Api, State, Tag,
    body::FileBody,
    caller::{Caller, DataWrite},
    jobs::JobView,
    problem::{Fault, Ordered},
};
use crate::{
    ingest::{ImportTerms, OnConflict},
    jobs::{ImportOrder, SpooledFile, Unknown},
};

pub(super) struct Imports;

/// Its body is not held in memory.
pub(super) const PATH: &str = "/api/data/import";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum Conflicts {
    /// What is stored stays
    Keep,
    /// What is imported takes its place
    Replace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum UnknownDevices {
    /// As with devices that report by themselves: `devices.unknown` of the configuration
    Policy,
    /// Their lines are refused, and those of unknown sensors
    Reject,
}

#[OpenApi]
impl Imports {
    /// Import readings from a file
    ///
    /// CSV with a head (`device`, `sensor`, `event_time`, `value`, and, if you like, `quality` and
    /// `unit`, in any order; other columns are passed over), or NDJSON with the same fields; what
    /// `/api/data/export` writes is taken as it is. `Content-Encoding: gzip` may be set. A job stores
    /// the readings and tells of each kind how many; what is stored already counts as a duplicate, so
    /// the same file may be sent again.
    #[oai(
        path = "/api/data/import",
        method = "post",
        tag = "Tag::Data",
        operation_id = "import_data"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn import(
        &self,
        _caller: Caller<DataWrite>,
        api: State<'_>,
        request: &Request,
        /// Where another value is stored for a sensor and time; `keep` if left out
        conflicts: Query<Option<Conflicts>>,
        /// Devices and sensors that are not registered; `policy` if left out
        unknown: Query<Option<UnknownDevices>>,
        /// Whether alarm rules see the readings; `false` if left out
        alarms: Query<Option<bool>>,
        /// `true`: nothing is stored, and the job tells what would be
        dry_run: Query<Option<bool>>,
        body: FileBody,
    ) -> Ordered<JobView> {
        let terms = ImportTerms {
            on_conflict: match conflicts.0 {
                Some(Conflicts::Replace) => OnConflict::Replace,
                Some(Conflicts::Keep) | None => OnConflict::Keep,
            },
            is_judged: alarms.0.unwrap_or(false),
        };
        let order = |format, is_gzip| ImportOrder {
            format,
            is_gzip,
            unknown: match unknown.0 {
                Some(UnknownDevices::Reject) => Unknown::Reject,
                Some(UnknownDevices::Policy) | None => Unknown::Policy,
            },
            terms,
            is_dry_run: dry_run.0.unwrap_or(false),
            unpacked_max: api.http.max_import.0,
        };
        let packed = is_gzip(request);
        match (body.0, packed) {
            (Err(fault), _) | (_, Err(fault)) => fault.into(),
            (Ok((format, body)), Ok(packed)) => {
                import(&api, order(format, packed), body).await.into()
            }
        }
    }
}

/// Whether the body is packed; 415 where it is in another way.
pub(super) fn is_gzip(request: &Request) -> Result<bool, Fault> {
    match request.header("content-encoding").map(str::trim) {
        None | Some("" | "identity") => Ok(false),
        Some(coding) if coding.eq_ignore_ascii_case("gzip") => Ok(true),
        Some(_) => {
            let detail = "a body may be packed with gzip only";
            Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

async fn import(
    api: &Api,
    order: ImportOrder,
    body: poem::Body,
) -> Result<(JobView, String), Fault> {
    api.store.check_room()?;
    let file = spool(api, body).await?;
    let job = JobView::from(api.jobs.import(file, order).await?);
    let location = job.location();
    Ok((job, location))
}

/// Writes a body to disk as it comes.
async fn spool(api: &Api, body: poem::Body) -> Result<SpooledFile, Fault> {
    let on_disk = |error: std::io::Error| {
        tracing::error!(%error, "an import can't be kept");
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "the file can't be kept; try again")
    };
    let mut spool = api.jobs.spool().await?;
    let mut chunks = Box::pin(body.into_bytes_stream());
    while let Some(chunk) = in_time(api.http.request_timeout.0, chunks.next()).await? {
        let chunk = chunk.map_err(|error| {
            Fault::new(StatusCode::BAD_REQUEST, format!("the body was cut short: {error}"))
        })?;
        if spool.bytes() + chunk.len() as u64 > api.http.max_import.0 {
            let detail = format!("an import has at most {} bytes", api.http.max_import.0);
            return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        spool.write(&chunk).await.map_err(on_disk)?;
    }
    spool.finish().await.map_err(on_disk)
}

/// A sender may take its time over a file, but not over a piece of it.
async fn in_time<T>(limit: Duration, piece: impl Future<Output = T>) -> Result<T, Fault> {
    let late = |_| Fault::new(StatusCode::BAD_REQUEST, "nothing came for too long");
    timeout(limit, piece).await.map_err(late)
}
