//! The HTTP surface: REST with its OpenAPI document, health, metrics. One file a resource.

mod acceptor;
mod alarm_operations;
mod alarm_rule_edits;
mod alarm_rule_form;
mod alarm_rules;
mod alarm_summary;
mod alarm_view;
mod alarms;
mod audit;
mod auth;
mod backtest;
mod body;
mod caller;
mod credentials;
mod data;
mod devices;
mod document;
mod esp32;
mod etag;
mod guard;
mod health;
mod keys;
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
mod users;
mod wire;

use std::{sync::Arc, time::Duration};

use poem::{
    EndpointExt, Route, Server, endpoint::make_sync, get, http::header, middleware::AddData,
};
use poem_openapi::{OpenApiService, Tags};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use acceptor::Acceptor;

use self::guard::Guard;
use crate::{
    access::Access,
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
    pub access: Arc<Access>,
    /// Whether `/docs` and `/metrics` are shown to those without credentials.
    pub open_docs: bool,
    pub open_metrics: bool,
    pub exporter: Exporter,
    pub clock: Clock,
    /// Bytes.
    pub max_body: usize,
    pub request_timeout: Duration,
    pub logs_requests: bool,
}

type State<'a> = poem::web::Data<&'a Arc<Api>>;

impl Api {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }
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
    /// Who may do what: signing in, users, keys, credentials of devices, what was done
    Access,
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
    (auth::Auth, users::Users, keys::Keys, credentials::Credentials, audit::Audit),
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
        (auth::Auth, users::Users, keys::Keys, credentials::Credentials, audit::Audit),
        service::Service,
        health::Health,
    );
    OpenApiService::new(resources, "Brooklet", env!("CARGO_PKG_VERSION")).description(
        "Devices, readings and refused messages of a Brooklet broker. Times are RFC 3339 UTC, ranges \
         half-open, errors RFC 9457. A key is sent as `X-API-Key` or `Authorization: Bearer`, an \
         access token as the latter; `x-scopes` of an operation says what one has to allow.",
    )
}

/// The OpenAPI document, as `/openapi.json` serves it.
pub fn document() -> String {
    document::finished(&service().spec())
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
    let (access, clock) = (api.access.clone(), api.clock.clone());
    let (open_docs, open_metrics) = (api.open_docs, api.open_metrics);
    let changes = TaskTracker::new();
    let (max_body, request_timeout) = (api.max_body, api.request_timeout);
    let logs_requests = api.logs_requests;
    let routes = Route::new()
        .nest("/docs", docs)
        .at("/openapi.json", get(openapi))
        .at("/metrics", get(metrics))
        .nest("/", service)
        .with(AddData::new(Arc::new(api)));
    let guarded = Guard {
        inner: Arc::new(routes),
        access,
        clock,
        max_body,
        request_timeout,
        logs_requests,
        open_docs,
        open_metrics,
        changes: changes.clone(),
    };
    let server = Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(
        guarded,
        stop.cancelled(),
        Some(DRAIN),
    );
    if let Err(error) = server.await {
        tracing::error!(%error, "the HTTP server ended");
    }
    changes.close();
    if tokio::time::timeout(DRAIN, changes.wait()).await.is_err() {
        tracing::warn!(changes = changes.len(), "changes cut at the stop");
    }
}
