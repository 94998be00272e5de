//! A backtest as it runs, in lines of JSON. Whoever stops reading ends it.

use std::time::Duration;

use futures_util::stream::unfold;
use poem::{Body, IntoResponse, Response};
use poem_openapi::{
    Object,
    payload::Payload,
    registry::{MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};
use tokio::{sync::watch, time::sleep};

use super::{Run, view::BacktestResult};
use crate::{
    alarm::backtest::Progress,
    api::problem::{Fault, Problem},
};

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// One line of a backtest that runs. The last line is the answer itself, or has a `problem`.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct BacktestLine {
    progress: Option<BacktestProgress>,
    problem: Option<Problem>,
}

/// How far a backtest is
#[derive(Debug, Clone, Object)]
struct BacktestProgress {
    /// Of the whole, 0 to 1
    share: f64,
    /// Readings so far, those of the warm-up before the range among them
    readings: u64,
}

/// `application/x-ndjson`.
pub(super) struct Lines(Body);

impl Lines {
    pub(super) fn new(run: Run, progress: watch::Receiver<Progress>) -> Self {
        Self(Body::from_bytes_stream(unfold(Some((run, progress)), |running| async {
            let (mut run, progress) = running?;
            let line = tokio::select! {
                biased;
                ended = &mut run => return Some((Ok::<_, std::io::Error>(last(ended)), None)),
                () = sleep(PROGRESS_EVERY) => {
                    let Progress { share, readings } = *progress.borrow();
                    let progress = Some(BacktestProgress { share, readings });
                    line(&BacktestLine { progress, problem: None })
                }
            };
            Some((Ok(line), Some((run, progress))))
        })))
    }
}

fn last(ended: Result<BacktestResult, Fault>) -> String {
    match ended {
        Ok(result) => line(&result),
        Err(fault) => line(&BacktestLine { progress: None, problem: Some(fault.problem()) }),
    }
}

fn line(value: &impl ToJSON) -> String {
    value.to_json_string() + "\n"
}

impl Payload for Lines {
    const CONTENT_TYPE: &'static str = "application/x-ndjson";

    fn schema_ref() -> MetaSchemaRef {
        BacktestLine::schema_ref()
    }

    fn register(registry: &mut Registry) {
        BacktestLine::register(registry);
    }
}

impl IntoResponse for Lines {
    fn into_response(self) -> Response {
        Response::builder().content_type(Self::CONTENT_TYPE).body(self.0)
    }
}
