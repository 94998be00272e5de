//! What every request and every answer passes, whatever it is about: limits, CORS, the request's name,
//! headers for browsers, compression. `guard` asks; nothing here knows resources.

mod compression;
mod cors;
mod headers;
mod limits;
mod methods;
mod pace;
mod paths;
mod queries;
mod request_id;
mod stranger;

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use poem::{
    IntoResponse, Request, Response,
    http::{HeaderValue, Method, StatusCode, header, uri::Scheme},
};
use serde_json::Value;

pub(super) use self::{
    compression::is_accepted as takes_gzip,
    limits::{Running, has_body},
    queries::{Unread, reads_query},
    request_id::RequestId,
};
use self::{
    cors::Cors,
    limits::{Limits, Receiving},
    methods::Methods,
    queries::Queries,
    stranger::Strangers,
};
use super::problem::Fault;
use crate::{
    access::{Actor, Principal},
    config::{self, Anonymous},
};

/// What never changes while the process lives, and is packed once.
const CONSTANT: [&str; 2] = ["/docs", "/openapi.json"];

pub(super) struct Front {
    cors: Cors,
    strangers: Strangers,
    limits: Limits,
    methods: Methods,
    queries: Queries,
    hsts: Option<HeaderValue>,
    compresses: bool,
    packed: [OnceLock<Bytes>; CONSTANT.len()],
}

/// What the answer needs to know of its request.
pub(super) struct Asked {
    pub(super) id: RequestId,
    method: Method,
    path: String,
    origin: Option<HeaderValue>,
    takes_gzip: bool,
    is_encrypted: bool,
}

impl Front {
    /// `document`: the OpenAPI document.
    pub(super) fn new(settings: &config::Http, document: &str) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        Self {
            cors: Cors::new(&settings.allow_origins),
            strangers: Strangers {
                origins: settings.allow_origins.iter().map(|origin| origin.0.clone()).collect(),
                is_local: settings.allow_anonymous == Anonymous::Loopback,
            },
            limits: Limits::new(settings),
            methods: Methods::new(&document),
            queries: Queries::new(&document),
            hsts: headers::hsts(settings.hsts.0),
            compresses: settings.compression,
            packed: Default::default(),
        }
    }

    /// Names the request, and notes what its answer depends on.
    pub(super) fn ask(&self, request: &mut Request) -> Asked {
        let id = RequestId::of(request);
        request.extensions_mut().insert(id.clone());
        let headers = request.headers();
        Asked {
            id,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            origin: self.cors.admitted(headers),
            takes_gzip: *request.method() != Method::HEAD && compression::is_accepted(headers),
            is_encrypted: *request.scheme() == Scheme::HTTPS,
        }
    }

    /// The answer to OPTIONS, which needs no credentials: browsers send none.
    pub(super) fn options(&self, request: &Request) -> Option<Response> {
        if *request.method() != Method::OPTIONS {
            return None;
        }
        let allow = self.methods.of(request.uri().path())?;
        let response = self.cors.preflight(request);
        let mut response = response.unwrap_or_else(|| StatusCode::NO_CONTENT.into());
        response.headers_mut().insert(header::ALLOW, allow.clone());
        Some(response)
    }

    /// Counts a request of which the head has come.
    ///
    /// # Errors
    /// The answer to one too many.
    pub(super) fn enter(
        &self,
        request: &mut Request,
        principal: Option<&Principal>,
        now: Duration,
    ) -> Result<(), Box<Response>> {
        if let Some(receiving) = self.limits.enter(request, principal, now)? {
            request.extensions_mut().insert(receiving);
        }
        Ok(())
    }

    /// Counts a request that is to run; its place goes with it.
    ///
    /// # Errors
    /// The answer to one too many.
    pub(super) fn begin(&self, request: &mut Request) -> Result<(), Box<Response>> {
        request.extensions_mut().remove::<Receiving>();
        if let Some(running) = self.limits.begin(request)? {
            request.extensions_mut().insert(running);
        }
        Ok(())
    }

    /// Whether the query is one that the operation reads.
    ///
    /// # Errors
    /// What is told of parameters that it does not know.
    pub(super) fn read_query(
        &self,
        request: &Request,
        principal: Option<&Principal>,
    ) -> Result<(), Fault> {
        self.queries.check(request, principal)
    }

    /// Whether somebody without credentials, where the surface is open, may be let in.
    ///
    /// # Errors
    /// What is told to a web page of elsewhere.
    pub(super) fn welcome(&self, request: &Request, principal: &Principal) -> Result<(), Fault> {
        match principal.actor {
            Actor::Anybody => self.strangers.refuse(request),
            Actor::User { .. } | Actor::Key { .. } | Actor::Console => Ok(()),
        }
    }

    /// What every answer has.
    pub(super) async fn answer(&self, asked: Asked, response: Response) -> Response {
        let response = match response.data::<Unread>() {
            Some(unread) => self.queries.unread(&asked.method, &asked.path, unread).into_response(),
            None => response,
        };
        let mut response = asked.id.mark(response).await;
        let is_wrong_method = response.status() == StatusCode::METHOD_NOT_ALLOWED;
        let headers = response.headers_mut();
        if is_wrong_method && let Some(allow) = self.methods.of(&asked.path) {
            headers.insert(header::ALLOW, allow.clone());
        }
        self.cors.mark(asked.origin, headers);
        let hsts = self.hsts.clone().filter(|_| asked.is_encrypted);
        headers::mark(headers, &asked.path, hsts);
        if !self.compresses || !compression::is_suitable(&asked.path, &response) {
            return response;
        }
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if !asked.takes_gzip {
            return response;
        }
        let constant = CONSTANT.iter().position(|path| *path == asked.path);
        let constant = constant.and_then(|at| self.packed.get(at));
        match constant.filter(|_| response.status() == StatusCode::OK) {
            Some(packed) => self.constant(packed, response).await,
            None => compression::packed(response),
        }
    }

    async fn constant(&self, packed: &OnceLock<Bytes>, mut response: Response) -> Response {
        if packed.get().is_none() {
            let Ok(text) = response.take_body().into_bytes().await else { return response };
            let made = tokio::task::spawn_blocking(move || compression::pack_once(&text)).await;
            let _ = packed.set(made.unwrap_or_default());
        }
        compression::replaced(response, packed.get().cloned().unwrap_or_default())
    }
}
