//! The HTTP surface: REST with its OpenAPI document, health, metrics. One file a resource.

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
mod backups;
mod body;
mod caller;
mod chart;
mod configuration;
mod credentials;
mod data;
mod devices;
mod document;
mod esp32;
mod etag;
mod export;
mod export_places;
mod front;
mod gateways;
mod guard;
mod health;
mod idempotency;
mod imports;
mod jobs;
mod keys;
mod notification_target_form;
mod notification_targets;
mod notifications;
mod overview;
mod page;
mod pages;
mod problem;
mod quarantine;
mod rehearsal;
mod select;
mod sensors;
mod series;
mod server;
mod service;
mod silences;
mod stream;
mod typed;
mod uploads;
mod users;
mod wire;

use std::{sync::Arc, time::Duration};

use poem::{
    EndpointExt, IntoEndpoint, Route, endpoint::make_sync, get, http::header, middleware::AddData,
};
use poem_openapi::{OpenApiService, Tags};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use alarm_view::alarm_change;
pub use configuration::ConfigurationView;
pub use server::{PROTOCOLS, Socket};
pub use stream::Streams;

use self::{front::Front, guard::Guard, idempotency::Idempotency, stream::Scope};
use crate::{
    access::Access,
    alarm::notify::{Channels, Notifier},
    clock::Clock,
    config,
    ingest::{Committer, Tap},
    jobs::Jobs,
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
    pub jobs: Arc<Jobs>,
    pub broker: Arc<Broker>,
    pub streams: Arc<Streams>,
    pub notifier: Notifier,
    /// For tests of a target; what is told otherwise goes through the outbox.
    pub channels: Arc<Channels>,
    pub access: Arc<Access>,
    pub exporter: Exporter,
    pub clock: Clock,
    pub http: config::Http,
    pub configuration: ConfigurationView,
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
    /// Devices and who is online
    Devices,
    /// Sensors and what people have set of them
    Sensors,
    /// Devices that speak for others
    Gateways,
    /// Readings: latest, history, statistics, uploads
    Data,
    /// What happens, as it happens
    Streams,
    /// Alarms and the rules that raise them
    Alarms,
    /// Who is told of alarms, what was told, and what is not told for a while
    Notifications,
    /// Messages that were refused, kept with their raw bytes
    Quarantine,
    /// Who may do what: signing in, users, keys, credentials of devices, what was done
    Access,
    /// Work that goes on after its request
    Jobs,
    /// The service itself
    Service,
}

type Resources = (
    devices::Devices,
    sensors::Sensors,
    gateways::Gateways,
    (
        data::Data,
        series::SensorSeries,
        chart::Charts,
        export::Export,
        imports::Imports,
        rehearsal::Rehearsal,
    ),
    uploads::Uploads,
    stream::Stream,
    backtest::Backtests,
    quarantine::Quarantine,
    jobs::Jobs,
    (alarm_rules::AlarmRules, alarms::Alarms, alarm_operations::AlarmOperations),
    (notifications::Notifications, notification_targets::NotificationTargets, silences::Silences),
    esp32::Esp32,
    (auth::Auth, users::Users, keys::Keys, credentials::Credentials, audit::Audit),
    (service::Service, overview::Overviews, configuration::Configuration, backups::Backups),
    health::Health,
);

fn service() -> OpenApiService<Resources, ()> {
    let resources = (
        devices::Devices,
        sensors::Sensors,
        gateways::Gateways,
        (
            data::Data,
            series::SensorSeries,
            chart::Charts,
            export::Export::default(),
            imports::Imports,
            rehearsal::Rehearsal,
        ),
        uploads::Uploads,
        stream::Stream,
        backtest::Backtests::default(),
        quarantine::Quarantine,
        jobs::Jobs,
        (alarm_rules::AlarmRules::default(), alarms::Alarms, alarm_operations::AlarmOperations),
        (
            notifications::Notifications,
            notification_targets::NotificationTargets::default(),
            silences::Silences,
        ),
        esp32::Esp32,
        (auth::Auth, users::Users, keys::Keys, credentials::Credentials, audit::Audit),
        (service::Service, overview::Overviews, configuration::Configuration, backups::Backups),
        health::Health,
    );
    OpenApiService::new(resources, "Brooklet", env!("CARGO_PKG_VERSION")).description(
        "Devices, readings and refused messages of a Brooklet broker. Times are RFC 3339 UTC, ranges \
         half-open, errors RFC 9457. A key is sent as `X-API-Key` or `Authorization: Bearer`, an \
         access token as the latter; `x-scopes` of an operation says what one has to allow.\n\nLive \
         events come as Server-Sent Events (`/api/stream`) or as text \
         messages of a WebSocket: `/ws` (the same parameters as `/api/stream`; \
         `{\"subscribe\": {\"devices\": […], \"sensors\": […], \"events\": […]}}` and `unsubscribe` change \
         them), `/ws/sensors/{id}`, `/ws/devices/{device}`, `/ws/alarms`.",
    )
}

/// The OpenAPI document, as `/openapi.json` serves it.
pub fn document() -> String {
    document::finished(&service().spec())
}

/// Serves until `stop`, then lets running requests end.
pub async fn serve(api: Api, sockets: Vec<Socket>, stop: CancellationToken) {
    let service = service();
    let docs = service.swagger_ui();
    let exporter = api.exporter.clone();
    let document = document();
    let front = Front::new(&api.http, &document);
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
    let changes = TaskTracker::new();
    let idempotency = Idempotency::new(api.store.clone(), clock.clone(), changes.clone());
    let streams = api.streams.clone();
    let (settings, logs_requests) = (api.http.clone(), api.logs_requests);
    let pages = settings.dashboard.then(|| get(pages::Pages::new(settings.compression)));
    let routes = Route::new()
        .nest("/docs", docs)
        .at("/openapi.json", get(openapi))
        .at("/metrics", get(metrics))
        .at("/ws", get(stream::Socket(Scope::Asked)))
        .at("/ws/sensors/:id", get(stream::Socket(Scope::Sensor)))
        .at("/ws/devices/:device", get(stream::Socket(Scope::Device)))
        .at("/ws/alarms", get(stream::Socket(Scope::Alarms)))
        .nest("/", pages::Beside { pages, inner: service.into_endpoint() })
        .with(AddData::new(Arc::new(api)));
    let guarded = Guard {
        inner: Arc::new(routes),
        access,
        idempotency,
        clock,
        front,
        max_body: settings.max_body.as_usize(),
        request_timeout: settings.request_timeout.0,
        logs_requests,
        open_docs: settings.open_docs,
        open_metrics: settings.open_metrics,
        changes: changes.clone(),
        streams: streams.clone(),
    };
    let stopping = async {
        stop.cancelled().await;
        streams.hub.close();
    };
    let server = server::serve(guarded, sockets, &settings, stop.clone(), DRAIN);
    tokio::join!(server, stopping);
    changes.close();
    if tokio::time::timeout(DRAIN, changes.wait()).await.is_err() {
        tracing::warn!(changes = changes.len(), "changes cut at the stop");
    }
    streams.sessions.close();
    if tokio::time::timeout(DRAIN, streams.sessions.wait()).await.is_err() {
        tracing::warn!(sessions = streams.sessions.len(), "WebSocket sessions cut at the stop");
    }
}
