//! Health: for load balancers, and for people who ask what is wrong.

use std::time::Duration;

use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json};
use tokio::time::timeout;

use super::{Api, State, Tag, wire::Time};
use crate::telemetry::Timestamp;

pub(super) struct Health;

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether Brooklet does its work
#[derive(Debug, Clone, Object)]
struct Report {
    /// `ok` or `failing`
    status: String,
    time: Time,
    uptime_seconds: u64,
    version: String,
    components: Components,
}

/// Its parts, each `ok` or what is wrong
#[derive(Debug, Clone, Object)]
struct Components {
    /// The database answers queries
    database: String,
    /// Readings are stored
    ingest: String,
    /// Clients can connect
    mqtt: String,
}

#[derive(ApiResponse)]
enum HealthAnswer {
    /// It does
    #[oai(status = 200)]
    Healthy(Json<Report>),
    /// It does not; the components say why
    #[oai(status = 503)]
    Failing(Json<Report>),
}

/// The process answers
#[derive(Debug, Clone, Object)]
struct Alive {
    status: String,
}

#[derive(ApiResponse)]
enum AliveAnswer {
    /// It does
    #[oai(status = 200)]
    Alive(Json<Alive>),
}

#[OpenApi]
impl Health {
    /// Health, by component
    #[oai(path = "/health", method = "get", tag = "Tag::Service", operation_id = "health")]
    async fn health(&self, api: State<'_>) -> HealthAnswer {
        examine(&api).await
    }

    /// Health, by component
    ///
    /// The same as `/health`, where the sleep-blanket system has it.
    #[oai(path = "/api/health", method = "get", tag = "Tag::Service", operation_id = "api_health")]
    async fn api_health(&self, api: State<'_>) -> HealthAnswer {
        examine(&api).await
    }

    /// Whether the process answers
    #[oai(
        path = "/health/live",
        method = "get",
        tag = "Tag::Service",
        operation_id = "health_live"
    )]
    async fn live(&self) -> AliveAnswer {
        AliveAnswer::Alive(Json(Alive { status: "ok".to_owned() }))
    }

    /// Whether it can take work
    #[oai(
        path = "/health/ready",
        method = "get",
        tag = "Tag::Service",
        operation_id = "health_ready"
    )]
    async fn ready(&self, api: State<'_>) -> HealthAnswer {
        examine(&api).await
    }
}

async fn examine(api: &Api) -> HealthAnswer {
    let ok = || "ok".to_owned();
    let database = match timeout(PATIENCE, api.store.ping()).await {
        Ok(Ok(())) => ok(),
        Ok(Err(_)) => "does not answer".to_owned(),
        Err(_) => "answers too slowly".to_owned(),
    };
    let ingest = match (api.committer.is_alive(), api.committer.is_failing()) {
        (true, _) if api.store.check_room().is_err() => {
            "the disk has no room for readings; they wait".to_owned()
        }
        (true, false) => ok(),
        (true, true) => "the store takes no readings; they wait".to_owned(),
        (false, _) => "stopped".to_owned(),
    };
    let mqtt = if api.broker.is_stopping() { "stopping".to_owned() } else { ok() };
    let components = Components { database, ingest, mqtt };
    let all = [&components.database, &components.ingest, &components.mqtt];
    let is_healthy = all.iter().all(|component| *component == "ok");
    let report = Json(Report {
        status: if is_healthy { "ok" } else { "failing" }.to_owned(),
        time: Time(Timestamp::from_micros(api.clock.unix_micros())),
        uptime_seconds: api.clock.monotonic().as_secs(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        components,
    });
    if is_healthy { HealthAnswer::Healthy(report) } else { HealthAnswer::Failing(report) }
}
