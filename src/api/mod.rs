//! The HTTP surface: REST with its OpenAPI document, health, metrics. One file a resource.

mod acceptor;
mod body;
mod data;
mod devices;
mod document;
mod esp32;
mod guard;
mod health;
mod page;
mod problem;
mod quarantine;
mod sensors;
mod service;
mod uploads;
mod wire;

use std::{sync::Arc, time::Duration};

use poem::{
    EndpointExt, Route, Server, endpoint::make_sync, get, http::header, middleware::AddData,
};
use poem_openapi::{OpenApiService, Tags};
use tokio_util::sync::CancellationToken;

pub use acceptor::Acceptor;

use self::guard::Guard;
use crate::{
    access::ApiKeys,
    clock::Clock,
    ingest::{Committer, Tap},
    metrics::Exporter,
    mqtt::Broker,
    registry::Registry,
    store::Store,
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
    pub keys: ApiKeys,
    pub exporter: Exporter,
    pub clock: Clock,
    /// Bytes.
    pub max_body: usize,
    pub request_timeout: Duration,
    pub logs_requests: bool,
}

type State<'a> = poem::web::Data<&'a Arc<Api>>;

#[derive(Tags)]
enum Tag {
    /// Devices, their sensors, who is online
    Devices,
    /// Readings: latest, history, statistics, uploads
    Data,
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
    quarantine::Quarantine,
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
        quarantine::Quarantine,
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
