//! Backtests: what a rule would have done in a time that is past.
//!
//! Readings come from the store in the order of their arrival, the broker's down-times with them, and
//! go through the functions that judge live (`replay`). Nothing is written and nobody is told. A
//! warm-up before the range brings states to where they would be; what it leads to is not reported.
//! Memory is bounded: devices are taken a slice at a time, and lists are cut (`report`). Dropping the
//! future of [`run`] ends the backtest.

mod episode;
mod limitations;
mod replay;
mod report;

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};

pub use episode::TriedAlarm;
pub use limitations::limitations;
pub use report::{
    ALARMS_MAX, Difference, EVENTS_MAX, NoticeCounts, Report, RuleReport, TriedEvent,
};

use self::{
    replay::{Range, Replay},
    report::Findings,
};
use super::{
    engine::{Originator, Rule, SLACK, downs, originators_of_rule},
    notify::Routing,
    rule::{AlarmRule, InvalidRule},
};
use crate::{
    registry::{Device, Sensor},
    store::{ArrivalQuery, Store, StoreError, StoredReading},
    telemetry::Timestamp,
};

/// Sensors that are read at a time; a device's sensors stay together.
const SENSORS_AT_ONCE: usize = 256;
/// Chunks of readings that wait to be judged.
const CHUNKS_AHEAD: usize = 2;
/// How much further back than the range readings are looked for that a device took and sent later
/// (31 days). Of a rule that judges late readings all are looked for.
const BACKFILL: i64 = 31 * 86_400 * 1_000_000;

/// A rule to be tried.
#[derive(Debug, Clone)]
pub struct Tried {
    rule: Arc<Rule>,
}

impl Tried {
    /// `stored`: number and version of a rule that is stored.
    ///
    /// # Errors
    /// What is wrong with the rule.
    pub fn new(body: AlarmRule, stored: Option<(i64, i64)>) -> Result<Self, InvalidRule> {
        let rule = Rule::of(body, stored.unwrap_or_default(), Timestamp::MIN)?;
        Ok(Self { rule: Arc::new(rule) })
    }
}

/// What is to be tried on what.
#[derive(Debug, Clone)]
pub struct Backtest {
    pub rule: Tried,
    /// The rule that it is compared with.
    pub compare_with: Option<Tried>,
    /// By arrival: from `from` on,
    pub from: Timestamp,
    /// and before `to`, which is not in the future.
    pub to: Timestamp,
    /// Those of them that a rule is for are looked at.
    pub devices: Vec<Arc<Device>>,
    /// For whom would be told.
    pub routing: Arc<Routing>,
}

/// How far a backtest is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Of the whole, 0 to 1.
    pub share: f64,
    /// Readings so far.
    pub readings: u64,
}

impl Backtest {
    fn rules(&self) -> Vec<Arc<Rule>> {
        let compared = self.compare_with.as_ref();
        [Some(&self.rule), compared].into_iter().flatten().map(|tried| tried.rule.clone()).collect()
    }
}

/// Whom of one device the rules are for, and the sensors that matter to them.
struct Looked {
    /// With the rule's place.
    originators: Vec<(usize, Originator)>,
    device: Arc<Device>,
    sensors: Vec<Arc<Sensor>>,
}

/// Runs a backtest; where it stands is told by `progress`.
///
/// # Errors
/// What the store says.
pub async fn run(
    store: &Store,
    backtest: Backtest,
    progress: &watch::Sender<Progress>,
) -> Result<Report, StoreError> {
    let rules = backtest.rules();
    let range = Range { from: backtest.from, to: backtest.to };
    let downs = downs(&store.runs(Timestamp::MIN, Timestamp::MAX).await?, None);
    let looked: Vec<Looked> = backtest.devices.iter().map(|it| look_at(&rules, it)).collect();
    let mut findings = Findings::new(&backtest);
    let slices = slices(looked);
    let count = slices.len().max(1) as f64;
    for (place, slice) in slices.into_iter().enumerate() {
        let shares = (place as f64 / count, 1.0 / count);
        let sensors: Vec<_> = slice.iter().flat_map(|looked| &looked.sensors).cloned().collect();
        let mut replay = Replay::new(&rules, range, findings);
        for looked in slice {
            replay.add(looked.originators, &looked.device, &looked.sensors);
        }
        replay.set_downs(downs.clone());
        findings = run_slice(store, replay, (&rules, &sensors), (range, shares), progress).await?;
    }
    Ok(findings.into_report())
}

fn look_at(rules: &[Arc<Rule>], device: &Arc<Device>) -> Looked {
    let mut originators = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        originators.extend(originators_of_rule(rule, device).into_iter().map(|it| (place, it)));
    }
    let matters = |sensor: &Arc<Sensor>| {
        originators.iter().any(|(place, originator)| match &originator.sensor {
            Some(own) => own.id == sensor.id,
            None => rules.get(*place).is_some_and(|rule| {
                rule.compiled.asks_signs() || rule.compiled.slot(sensor.name.as_str()).is_some()
            }),
        })
    };
    let sensors = device.sensors().into_iter().filter(matters).collect();
    Looked { device: device.clone(), sensors, originators }
}

/// Devices that are judged together; those that no rule is for are left out.
fn slices(looked: Vec<Looked>) -> Vec<Vec<Looked>> {
    let mut slices = Vec::new();
    let (mut slice, mut sensors) = (Vec::new(), 0);
    for looked in looked.into_iter().filter(|looked| !looked.originators.is_empty()) {
        let weight = looked.sensors.len().max(1);
        if sensors + weight > SENSORS_AT_ONCE && !slice.is_empty() {
            slices.push(std::mem::take(&mut slice));
            sensors = 0;
        }
        sensors += weight;
        slice.push(looked);
    }
    slices.push(slice);
    slices.retain(|slice| !slice.is_empty());
    slices
}

/// Reads what a slice needs and judges it beside, in a thread of its own.
async fn run_slice(
    store: &Store,
    mut replay: Replay,
    (rules, sensors): (&[Arc<Rule>], &[Arc<Sensor>]),
    (range, (done, share)): (Range, (f64, f64)),
    progress: &watch::Sender<Progress>,
) -> Result<Findings, StoreError> {
    let warm_up = WarmUp::of(rules, range.from);
    let known = warm_up.known_before(store, sensors).await?;
    let oldest_event = warm_up.oldest_event(rules, &known);
    let (sender, mut chunks) = mpsc::channel::<Vec<StoredReading>>(CHUNKS_AHEAD);
    let judging = spawn_blocking(move || {
        known.iter().for_each(|reading| replay.reading(reading));
        // Without its sender: the end, or nobody waits for the findings any more.
        while let Some(chunk) = chunks.blocking_recv() {
            chunk.iter().for_each(|reading| replay.reading(reading));
        }
        replay.finish()
    });
    let mut arrivals = store
        .readings_by_arrival(ArrivalQuery {
            sensors: sensors.iter().map(|sensor| sensor.id).collect(),
            from: warm_up.from,
            to: range.to,
            oldest_event,
        })
        .await?;
    let length = range.to.micros_since(warm_up.from).max(1) as f64;
    while let Some(chunk) = arrivals.next().await? {
        let passed = chunk.last().map_or(0, |last| last.received_at.micros_since(warm_up.from));
        let readings = chunk.len() as u64;
        if sender.send(chunk).await.is_err() {
            break;
        }
        progress.send_modify(|progress| {
            progress.readings += readings;
            progress.share = done + share * passed as f64 / length;
        });
    }
    drop(sender);
    progress.send_modify(|progress| progress.share = done + share);
    judging.await.map_err(|_| StoreError::Unavailable("the backtest's thread died".to_owned()))
}

/// What is fed before the range.
struct WarmUp {
    /// Everything that arrived from here on is fed.
    from: Timestamp,
    /// So many readings of each sensor from before that, too.
    readings: u64,
}

impl WarmUp {
    fn of(rules: &[Arc<Rule>], from: Timestamp) -> Self {
        let horizons = || rules.iter().map(|rule| rule.compiled.horizon());
        let micros = horizons().map(|horizon| horizon.micros).max().unwrap_or_default();
        let readings = horizons().map(|horizon| horizon.readings).max().unwrap_or_default();
        let back = if micros > 0 { micros.saturating_add(SLACK) } else { 0 };
        // Those without a usable value don't count. The newest tells at least what is late.
        let readings = if readings == 0 { 1 } else { u64::from(readings) * 2 + 8 };
        Self { from: from.plus_micros(-back), readings }
    }

    /// What sensors had last when the warm-up begins, in the order of arrival.
    async fn known_before(
        &self,
        store: &Store,
        sensors: &[Arc<Sensor>],
    ) -> Result<Vec<StoredReading>, StoreError> {
        let mut known = Vec::new();
        for sensor in sensors {
            known.extend(store.last_arrived(sensor.id, self.from, self.readings).await?);
        }
        known.sort_by_key(|reading| (reading.received_at, reading.sensor));
        Ok(known)
    }

    /// How far back to look for back-fill: further where a device's clock was known to be behind.
    fn oldest_event(&self, rules: &[Arc<Rule>], known: &[StoredReading]) -> Option<Timestamp> {
        if rules.iter().any(|rule| rule.body.judges_late) {
            return None;
        }
        let lags = known.iter().map(|reading| reading.received_at.micros_since(reading.event_time));
        let lag = lags.max().unwrap_or_default().max(0);
        Some(self.from.plus_micros(-BACKFILL.saturating_add(lag)))
    }
}

#[cfg(test)]
mod tests;
