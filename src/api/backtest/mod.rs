//! Backtests of alarm rules: asked for, run, answered at once or in lines while they run.

mod lines;
mod view;

use std::{pin::Pin, sync::Arc, time::Duration};

use poem::{
    Request,
    http::{StatusCode, header},
};
use poem_openapi::{ApiResponse, Object, OpenApi, ResponseContent, param::Query, payload::Json};
use serde::Deserialize;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use self::{lines::Lines, view::BacktestResult};
use super::{
    Api, State, Tag, alarm_rule_form as form,
    body::Body,
    caller::{AlarmsWrite, Caller},
    problem::{Fault, FieldError, Problem},
    typed::Typed,
    wire::Time,
};
use crate::{
    alarm::{
        backtest::{Backtest, Progress, Tried, limitations, run},
        engine::Engine,
        rule::{AlarmRule, InvalidRule},
    },
    registry::Device,
    telemetry::Timestamp,
};

/// Backtests at a time; each keeps a processor busy.
const AT_ONCE: usize = 2;
/// Of one backtest whose answer comes in lines.
const TIME_LIMIT: Duration = Duration::from_secs(600);
/// 400 days.
const RANGE_MAX: i64 = 400 * 86_400 * 1_000_000;
const DEVICES_MAX: usize = 10_000;

pub(super) struct Backtests {
    free: Arc<Semaphore>,
}

impl Default for Backtests {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// What is to be tried, on what
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct BacktestRequest {
    /// An alarm rule, whether it is enabled or not; or give `rule_id`
    rule: Option<Typed<form::AlarmRule>>,
    /// A stored rule
    rule_id: Option<i64>,
    /// Of the stored rule; the present one if left out
    version: Option<i64>,
    /// What the rule is compared with
    compare_with: Option<BacktestRule>,
    /// Readings that arrived from then on
    from: Time,
    /// Readings that arrived before; at most 400 days after `from`
    to: Time,
    /// Of these devices only
    devices: Option<Vec<String>>,
}

/// A rule by its body, or by number and version
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct BacktestRule {
    rule: Option<Typed<form::AlarmRule>>,
    rule_id: Option<i64>,
    version: Option<i64>,
}

#[derive(ResponseContent)]
enum Content {
    Whole(Json<Box<BacktestResult>>),
    Lines(Lines),
}

#[derive(ApiResponse)]
enum BacktestAnswer {
    /// What the rule would have done
    #[oai(status = 200)]
    Ran(Content),
    /// The request can't be read
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// A key is needed
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// The key does not allow this
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// There is no such rule or version
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// The body is too large
    #[oai(status = 413, content_type = "application/problem+json")]
    TooLarge(Json<Problem>),
    /// The body must be application/json
    #[oai(status = 415, content_type = "application/problem+json")]
    WrongType(Json<Problem>),
    /// The rule or the range is not legal
    #[oai(status = 422, content_type = "application/problem+json")]
    Invalid(Json<Problem>),
    /// What is stored of a sensor is damaged
    #[oai(status = 500, content_type = "application/problem+json")]
    Damaged(Json<Problem>),
    /// Two backtests run already, the store does not answer, or the request took too long
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

impl From<Fault> for BacktestAnswer {
    fn from(fault: Fault) -> Self {
        match fault.status.as_u16() {
            400 => Self::BadRequest(Json(fault.problem())),
            401 => Self::Unauthorized(Json(fault.problem())),
            403 => Self::Forbidden(Json(fault.problem())),
            404 => Self::NotFound(Json(fault.problem())),
            413 => Self::TooLarge(Json(fault.problem())),
            415 => Self::WrongType(Json(fault.problem())),
            422 => Self::Invalid(Json(fault.problem())),
            500 => Self::Damaged(Json(fault.problem())),
            _ => Self::Unavailable(Json(fault.problem())),
        }
    }
}

#[OpenApi]
impl Backtests {
    /// Try an alarm rule on the past
    ///
    /// Readings are judged in the order in which they arrived, by what judges them live. Nothing is
    /// written and nobody is told. Scopes, names and units are those of the present. Nobody
    /// acknowledges, so that each time from a raise to a clear counts as an alarm. At most two
    /// backtests run at a time. A plain request must be done within `http.request_timeout`; with
    /// `Accept: application/x-ndjson` or `stream` the answer comes in lines, half a second apart, and
    /// may take ten minutes: `progress`, and at last the answer, or a `problem`. To give up the
    /// request ends the backtest.
    #[oai(
        path = "/api/alarm-rules/backtest",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "backtest_alarm_rule"
    )]
    async fn backtest(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        request: &Request,
        /// Whether the answer comes in lines while the backtest runs
        stream: Query<Option<bool>>,
        body: Body<BacktestRequest>,
    ) -> BacktestAnswer {
        let accepts = request.header(header::ACCEPT).unwrap_or_default();
        let stream = stream.0.unwrap_or_else(|| accepts.contains("application/x-ndjson"));
        let (run, progress) = match self.begin(&api, body.0).await {
            Ok(begun) => begun,
            Err(fault) => return fault.into(),
        };
        if stream {
            return BacktestAnswer::Ran(Content::Lines(Lines::new(run, progress)));
        }
        match run.await {
            Ok(result) => BacktestAnswer::Ran(Content::Whole(Json(Box::new(result)))),
            Err(fault) => fault.into(),
        }
    }
}

/// A backtest that runs while it is waited for.
type Run = Pin<Box<dyn Future<Output = Result<BacktestResult, Fault>> + Send>>;

impl Backtests {
    async fn begin(
        &self,
        api: &Api,
        asked: Result<BacktestRequest, Fault>,
    ) -> Result<(Run, watch::Receiver<Progress>), Fault> {
        let backtest = prepare(api, asked?).await?;
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            let detail = "two backtests run already; try again when one is done";
            return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, detail));
        };
        let (sender, progress) = watch::channel(Progress::default());
        let store = api.store.clone();
        let run = async move {
            let _permit = permit;
            let (range, limitations) = ((backtest.from, backtest.to), limitations(&backtest));
            match timeout(TIME_LIMIT, run(&store, backtest, &sender)).await {
                Ok(report) => Ok(BacktestResult::new(range, &limitations, report?)),
                Err(_) => {
                    let detail = "it took longer than ten minutes; choose a shorter range or fewer \
                                  devices";
                    Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, detail))
                }
            }
        };
        Ok((Box::pin(run), progress))
    }
}

async fn prepare(api: &Api, asked: BacktestRequest) -> Result<Backtest, Fault> {
    let (from, to) = range(api, asked.from.0, asked.to.0)?;
    let BacktestRequest { rule, rule_id, version, .. } = asked;
    let rule = tried(api, BacktestRule { rule, rule_id, version }, "").await?;
    let compare_with = match asked.compare_with {
        Some(other) => Some(tried(api, other, "/compare_with").await?),
        None => None,
    };
    let devices = match asked.devices {
        Some(keys) => devices(api, &keys)?,
        None => api.registry.all(),
    };
    let routing = api.notifier.routing();
    Ok(Backtest { rule, compare_with, from, to, devices, routing })
}

/// The range, up to what has been judged.
fn range(api: &Api, from: Timestamp, to: Timestamp) -> Result<(Timestamp, Timestamp), Fault> {
    if from >= to {
        return Err(Fault::invalid("/from", "from is before to"));
    }
    if to.micros_since(from) > RANGE_MAX {
        return Err(Fault::invalid("/from", "a range is at most 400 days"));
    }
    let now = Timestamp::from_micros(api.clock.unix_micros());
    let to = to.min(Engine::watermark(now, None));
    if from >= to {
        return Err(Fault::invalid("/from", "the range lies in the future"));
    }
    Ok((from, to))
}

fn devices(api: &Api, keys: &[String]) -> Result<Vec<Arc<Device>>, Fault> {
    if keys.len() > DEVICES_MAX {
        return Err(Fault::invalid("/devices", format!("at most {DEVICES_MAX} devices")));
    }
    let mut devices = Vec::with_capacity(keys.len());
    for (place, key) in keys.iter().enumerate() {
        let found = api.registry.get(key);
        let missing = || Fault::invalid(&format!("/devices/{place}"), "there is no such device");
        devices.push(found.ok_or_else(missing)?);
    }
    devices.sort_unstable_by_key(|device| device.id);
    devices.dedup_by_key(|device| device.id);
    Ok(devices)
}

async fn tried(api: &Api, asked: BacktestRule, path: &str) -> Result<Tried, Fault> {
    let wrong = |error: InvalidRule| invalid_rule(&format!("{path}/rule"), error);
    match asked {
        BacktestRule { rule: Some(body), rule_id: None, version: None } => {
            let rule = AlarmRule::from_value(body.value).map_err(wrong)?;
            Tried::new(rule, None).map_err(wrong)
        }
        BacktestRule { rule: None, rule_id: Some(id), version } => {
            let (version, body) = stored(api, id, version).await?;
            let rule = AlarmRule::from_json(&body).map_err(wrong)?;
            Tried::new(rule, Some((id, version))).map_err(wrong)
        }
        _ => {
            let detail = "give either `rule`, or `rule_id` with or without `version`";
            Err(Fault::invalid(&format!("{path}/rule"), detail))
        }
    }
}

/// The body of a stored rule, and its version.
async fn stored(api: &Api, id: i64, version: Option<i64>) -> Result<(i64, String), Fault> {
    let found = match version {
        Some(version) => {
            let found = api.store.alarm_rule_version(id, version).await?;
            found.map(|row| (row.version, row.body))
        }
        None => api.store.alarm_rule(id).await?.map(|row| (row.version, row.body)),
    };
    found.ok_or_else(|| {
        Fault::not_found(if version.is_some() {
            "version of that alarm rule"
        } else {
            "alarm rule"
        })
    })
}

fn invalid_rule(path: &str, error: InvalidRule) -> Fault {
    let field = |problem: crate::alarm::rule::Problem| FieldError {
        pointer: format!("{path}{}", problem.path),
        detail: problem.detail,
    };
    let detail = error.to_string();
    let errors = error.problems.into_iter().map(field).collect();
    Fault { status: StatusCode::UNPROCESSABLE_ENTITY, detail, errors }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The document's examples are bodies that the operations take.
    #[test]
    fn rules_in_examples_are_legal() {
        let examples = include_str!("../../../openapi/examples.json");
        let examples: Value = serde_json::from_str(examples).unwrap();
        let request = |id: &str| examples[id]["request"].clone();
        let asked = BacktestRequest::deserialize(&request("backtest_alarm_rule")).unwrap();
        let compared = asked.compare_with.and_then(|other| other.rule);
        let tried = asked.rule.into_iter().chain(compared).map(|rule| rule.value);
        let made = ["create_alarm_rule", "update_alarm_rule", "validate_alarm_rule"].map(request);
        for rule in tried.chain(made) {
            assert!(AlarmRule::from_value(rule.clone()).is_ok(), "{rule}");
        }
    }
}
