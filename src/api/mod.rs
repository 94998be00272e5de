//! The HTTP surface: REST with its OpenAPI document, health, metrics. One file a resource.

mod acceptor;
mod alarm_operations;
mod alarm_rule_edits;
mod alarm_rule_form;
mod alarm_rules;
mod alarm_summary;
mod alarm_view;
mod alarms;
mod backtest;
mod body;
mod data;
mod devices;
mod document;
mod esp32;
mod etag;
mod guard;
mod health;
mod notification_target_form;
mod notification_targets;
mod notifications;
mod page;
mod problem;
mod quarantine;
mod sensors;
mod service;
mod silences;
mod typed;
mod uploads;
mod wire;

use std::{sync::Arc, time::Duration};

use poem::{
    EndpointExt, Route, Server, endpoint::make_sync, get, http::header, middleware::AddData,
};
use poem_openapi::{OpenApiService, Tags};
use tokio_util::sync::CancellationToken;

pub use acceptor::Acceptor;

use self::{guard::Guard, problem::Fault};
use crate::{
    access::{ApiKeys, Caller},
    alarm::notify::{Channels, Notifier},
    clock::Clock,
    ingest::{Committer, Tap},
    metrics::Exporter,
    mqtt::Broker,
    registry::Registry,
    store::Store,
    telemetry::Timestamp,
};

/// From the order to stop to the cut of requests that still run.
const DRAIN: Duration = Duration::from_secs(2);

/// What the resources work with.
pub struct Api {
    pub store: Store,
    pub registry: Arc<Registry>,
    pub tap: Arc<Tap>,
    pub committer: Arc<Committer>,
    pub broker: Arc<Broker>,
    pub notifier: Notifier,
    /// For tests of a target; what is told otherwise goes through the outbox.
    pub channels: Arc<Channels>,
    pub keys: ApiKeys,
    pub exporter: Exporter,
    pub clock: Clock,
    /// Bytes.
    pub max_body: usize,
    pub request_timeout: Duration,
    pub logs_requests: bool,
}

type State<'a> = poem::web::Data<&'a Arc<Api>>;
type By<'a> = poem::web::Data<&'a Caller>;

impl Api {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }
}

/// Carries a change to its end although the request is given up half way: what is stored is ordered,
/// too.
#[expect(clippy::disallowed_methods, reason = "its end is waited for and seen here")]
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, Fault> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        metrics::counter!(crate::metrics::names::TASK_PANICS).increment(1);
        tracing::error!(%error, "a change did not end well");
        Err(Fault::unavailable())
    })
}

#[derive(Tags)]
enum Tag {
    /// Devices, their sensors, who is online
    Devices,
    /// Readings: latest, history, statistics, uploads
    Data,
    /// Alarms and the rules that raise them
    Alarms,
    /// Who is told of alarms, what was told, and what is not told for a while
    Notifications,
    /// Messages that were refused, kept with their raw bytes
    Quarantine,
    /// The service itself
    Service,
}

type Resources = (
    devices::Devices,
    sensors::Sensors,
    data::Data,
    uploads::Uploads,
    backtest::Backtests,
    quarantine::Quarantine,
    alarm_rules::AlarmRules,
    alarms::Alarms,
    alarm_operations::AlarmOperations,
    notifications::Notifications,
    notification_targets::NotificationTargets,
    silences::Silences,
    esp32::Esp32,
    service::Service,
    health::Health,
);

fn service() -> OpenApiService<Resources, ()> {
    let resources = (
        devices::Devices,
        sensors::Sensors,
        data::Data,
        uploads::Uploads,
        backtest::Backtests::default(),
        quarantine::Quarantine,
        alarm_rules::AlarmRules::default(),
        alarms::Alarms,
        alarm_operations::AlarmOperations,
        notifications::Notifications,
        notification_targets::NotificationTargets::default(),
        silences::Silences,
        esp32::Esp32,
        service::Service,
        health::Health,
    );
    OpenApiService::new(resources, "Brooklet", env!("CARGO_PKG_VERSION")).description(
        "Devices, readings and refused messages of a Brooklet broker. Times are RFC 3339 UTC, ranges \
         half-open, errors RFC 9457. Where keys are configured they are sent as `X-API-Key` or \
         `Authorization: Bearer`.",
    )
}

/// The OpenAPI document, as `/openapi.json` serves it.
pub fn document() -> String {
    document::with_examples(&service().spec())
}

/// Serves until `stop`, then lets running requests end.
pub async fn serve(api: Api, acceptor: Acceptor, stop: CancellationToken) {
    let service = service();
    let docs = service.swagger_ui();
    let exporter = api.exporter.clone();
    let document = document();
    let metrics = make_sync(move |_| {
        let text = exporter.render();
        poem::Response::builder().content_type("text/plain; version=0.0.4").body(text)
    });
    let openapi = make_sync(move |_| {
        poem::Response::builder()
            .header(header::CACHE_CONTROL, "no-cache")
            .content_type("application/json")
            .body(document.clone())
    });
    let (keys, clock) = (api.keys.clone(), api.clock.clone());
    let (max_body, request_timeout) = (api.max_body, api.request_timeout);
    let logs_requests = api.logs_requests;
    let routes = Route::new()
        .nest("/docs", docs)
        .at("/openapi.json", get(openapi))
        .at("/metrics", get(metrics))
        .nest("/", service)
        .with(AddData::new(Arc::new(api)));
    let guarded = Guard { inner: routes, keys, clock, max_body, request_timeout, logs_requests };
    let server = Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(
        guarded,
        stop.cancelled(),
        Some(DRAIN),
    );
    if let Err(error) = server.await {
        tracing::error!(%error, "the HTTP server ended");
    }
}
