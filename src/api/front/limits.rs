//! How much at a time, and how fast: requests in all and of one address, requests of a caller in a
//! second. Who asks for health is never refused: it is asked when there is too much to do.
//!
//! A request runs once its body is there: who sends one slowly keeps nobody else from running. Bodies that
//! come in have a bound by address, and a small size where nobody is known.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use metrics::counter;
use parking_lot::Mutex;
use poem::{
    IntoResponse, Request, Response,
    http::{HeaderValue, Method, StatusCode, header},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    super::{
        caller,
        problem::Fault,
        server::{Crowd, Seat, subscriber},
    },
    pace::{Pace, Who},
};
use crate::{
    access::{Actor, Principal},
    config,
    metrics::names,
};

const HEALTH: [&str; 4] = ["/health", "/health/live", "/health/ready", "/api/health"];

pub(super) struct Limits {
    requests: Arc<Semaphore>,
    running: Crowd,
    receiving: Crowd,
    of_one_max: usize,
    pace: Mutex<Pace>,
    per_second: u32,
}

/// A request's place among those that run. It goes with the request: a change that runs on without
/// its client keeps it, an answer that is streamed does not.
#[derive(Debug, Clone)]
pub(in crate::api) struct Running {
    _permit: Arc<(OwnedSemaphorePermit, Seat)>,
}

/// The same of one whose body is still coming in.
#[derive(Debug, Clone)]
pub(super) struct Receiving {
    _seat: Arc<Seat>,
}

impl Limits {
    pub(super) fn new(settings: &config::Http) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(settings.max_requests)),
            running: Crowd::default(),
            receiving: Crowd::default(),
            // One address leaves room for others.
            of_one_max: settings.max_requests.div_ceil(2),
            pace: Mutex::default(),
            per_second: settings.max_requests_per_second,
        }
    }

    /// Counts a request of which the head has come.
    ///
    /// # Errors
    /// The answer to one too many.
    pub(super) fn enter(
        &self,
        request: &Request,
        principal: Option<&Principal>,
        now: Duration,
    ) -> Result<Option<Receiving>, Box<Response>> {
        if is_about_health(request) {
            return Ok(None);
        }
        let address = address(request);
        if let Some(who) = who(principal, address)
            && let Err(wait) = self.pace.lock().count(who, now, self.per_second)
        {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            return Err(refusal(StatusCode::TOO_MANY_REQUESTS, "rate", seconds));
        }
        if !has_body(request) {
            return Ok(None);
        }
        let seat = self.receiving.enter(address, self.of_one_max).ok_or_else(busy)?;
        Ok(Some(Receiving { _seat: Arc::new(seat) }))
    }

    /// Counts a request that is to run.
    ///
    /// # Errors
    /// The answer to one too many.
    pub(super) fn begin(&self, request: &Request) -> Result<Option<Running>, Box<Response>> {
        if is_about_health(request) {
            return Ok(None);
        }
        let seat = self.running.enter(address(request), self.of_one_max).ok_or_else(busy)?;
        let permit = self.requests.clone().try_acquire_owned().map_err(|_| busy())?;
        Ok(Some(Running { _permit: Arc::new((permit, seat)) }))
    }
}

fn is_about_health(request: &Request) -> bool {
    !has_body(request) && HEALTH.contains(&request.uri().path())
}

fn address(request: &Request) -> IpAddr {
    caller::address(request).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Whether the guard reads its body.
pub(in crate::api) fn has_body(request: &Request) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Who is counted; `None`: the command line on this machine.
fn who(principal: Option<&Principal>, address: IpAddr) -> Option<Who> {
    Some(match principal.map(|known| &known.actor) {
        Some(Actor::User { id, .. }) => Who::User(*id),
        Some(Actor::Key { id: Some(id), .. }) => Who::Key(*id),
        Some(Actor::Key { id: None, name }) => Who::ConfiguredKey(name.clone()),
        Some(Actor::Console) => return None,
        Some(Actor::Anybody) | None => Who::Address(subscriber(address)),
    })
}

fn busy() -> Box<Response> {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", 1)
}

fn refusal(status: StatusCode, reason: &'static str, seconds: u64) -> Box<Response> {
    counter!(names::HTTP_REFUSED, "reason" => reason).increment(1);
    let detail = match status {
        StatusCode::TOO_MANY_REQUESTS => "too many requests in a second; wait as Retry-After says",
        _ => "too many requests at a time; try again",
    };
    let mut response = Fault::new(status, detail).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    Box::new(response)
}
