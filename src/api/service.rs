//! The service itself: totals, database, version.

use poem_openapi::{Object, OpenApi, payload::Json};

use super::{
    Api, State, Tag,
    caller::{Caller, ServiceRead},
    problem::{Fault, Shown},
};

pub(super) struct Service;

/// Totals since the start
#[derive(Debug, Clone, Object)]
struct Totals {
    uptime_seconds: u64,
    /// Messages on ingest topics and uploads
    messages: u64,
    /// Messages of which something was taken
    accepted: u64,
    refused: u64,
    /// Share of messages accepted, 0 to 1; 1 before the first
    success_rate: f64,
    /// Readings stored
    readings_stored: u64,
    /// Messages that wait to be stored
    queued: u64,
    connections: u64,
    devices: u64,
    devices_online: u64,
    devices_pending: u64,
}

/// How the database is
#[derive(Debug, Clone, Object)]
struct DatabaseView {
    engine: String,
    path: String,
    file_bytes: u64,
    /// The write-ahead log
    log_bytes: u64,
    journal_mode: String,
    pages: i64,
    page_bytes: i64,
    free_pages: i64,
    reader_connections: u32,
    quarantine_entries: u64,
    quarantine_bytes: u64,
}

/// Which release runs
#[derive(Debug, Clone, Object)]
struct Version {
    name: String,
    version: String,
}

#[OpenApi]
impl Service {
    /// Totals of the service
    #[oai(
        path = "/api/statistics",
        method = "get",
        tag = "Tag::Service",
        operation_id = "service_statistics"
    )]
    async fn statistics(&self, _caller: Caller<ServiceRead>, api: State<'_>) -> Shown<Totals> {
        Ok(totals(&api)).into()
    }

    /// State of the database
    #[oai(
        path = "/api/database/status",
        method = "get",
        tag = "Tag::Service",
        operation_id = "database_status"
    )]
    async fn database(&self, _caller: Caller<ServiceRead>, api: State<'_>) -> Shown<DatabaseView> {
        database(&api).await.into()
    }

    /// Release
    #[oai(path = "/version", method = "get", tag = "Tag::Service", operation_id = "version")]
    async fn version(&self) -> Json<Version> {
        Json(Version {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

fn totals(api: &Api) -> Totals {
    let (totals, devices) = (api.tap.meters().totals(), api.registry.count());
    let success_rate = match totals.messages {
        0 => 1.0,
        messages => totals.accepted as f64 / messages as f64,
    };
    Totals {
        uptime_seconds: api.clock.monotonic().as_secs(),
        messages: totals.messages,
        accepted: totals.accepted,
        refused: totals.refused,
        success_rate,
        readings_stored: totals.readings,
        queued: api.tap.queued() as u64,
        connections: api.broker.connections() as u64,
        devices: devices.total as u64,
        devices_online: devices.online as u64,
        devices_pending: devices.pending as u64,
    }
}

async fn database(api: &Api) -> Result<DatabaseView, Fault> {
    let status = api.store.status().await?;
    let (quarantine_entries, quarantine_bytes) = api.store.quarantine_size().await?;
    Ok(DatabaseView {
        engine: status.engine.to_owned(),
        path: status.path,
        file_bytes: status.file_bytes,
        log_bytes: status.log_bytes,
        journal_mode: status.journal_mode,
        pages: status.pages,
        page_bytes: status.page_bytes,
        free_pages: status.free_pages,
        reader_connections: status.reader_connections,
        quarantine_entries,
        quarantine_bytes,
    })
}
