//! The dashboard: `/` and what stands below `/assets/`. For everybody; what it shows is asked for at
//! `/api`, with the rights of who has signed in.

use poem::{
    Endpoint, IntoResponse, Request, Response, RouteMethod,
    http::{HeaderMap, StatusCode, header},
};

use super::{etag, front::takes_gzip, problem::Fault};
use crate::dashboard::{Dashboard, Found};

/// `/`, and with [`FOLDER`] the other files.
pub(super) const PAGE: &str = "/";
const FOLDER: &str = "/assets/";

const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

pub(super) struct Pages {
    dashboard: Dashboard,
    compresses: bool,
}

/// The pages, where they are served, before whatever else stands below `/`.
pub(super) struct Beside<E> {
    pub(super) pages: Option<RouteMethod>,
    pub(super) inner: E,
}

/// Whether a path is one of the dashboard's.
pub(super) fn is_page(path: &str) -> bool {
    path == PAGE || path.starts_with(FOLDER)
}

impl<E: Endpoint> Endpoint for Beside<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        match &self.pages {
            Some(pages) if is_page(request.uri().path()) => pages.call(request).await,
            _ => Ok(self.inner.call(request).await?.into_response()),
        }
    }
}

impl Endpoint for Pages {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let path = request.uri().path();
        let found = match path.strip_prefix(FOLDER) {
            Some(rest) => self.dashboard.find(rest),
            None => self.dashboard.page(),
        };
        Ok(match found {
            Some(found) => self.answer(request.headers(), &found),
            None => Fault::not_found("file").into_response(),
        })
    }
}

impl Pages {
    pub(super) fn new(compresses: bool) -> Self {
        Self { dashboard: Dashboard::default(), compresses }
    }

    fn answer(&self, asked: &HeaderMap, found: &Found) -> Response {
        let asset = &found.asset;
        let cache = if found.is_lasting { FOR_EVER } else { ASK_AGAIN };
        let response = Response::builder()
            .header(header::ETAG, asset.tag.as_str())
            .header(header::CACHE_CONTROL, cache)
            .header(header::VARY, "Accept-Encoding");
        let given = asked.get_all(header::IF_NONE_MATCH).iter();
        let mut given = given.filter_map(|line| line.to_str().ok());
        if given.any(|given| etag::names(given, &asset.tag)) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        let response = response.content_type(asset.content_type);
        let packed = (self.compresses && takes_gzip(asked)).then(|| asset.packed()).flatten();
        match packed {
            Some(packed) => response.header(header::CONTENT_ENCODING, "gzip").body(packed),
            None => response.body(asset.bytes.clone()),
        }
    }
}
