//! Makes roll-ups on a server, in steps that ingest gets between.
//!
//! A step says first, under the gate, which hours it is about, so that whoever changes them from then on
//! marks them; then it reads, without the gate; then it writes what it has made and takes away the marks
//! that are older than its reading.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{
    Rolled, Upkeep,
    marks::{Hour, unmark_text},
    rows::{self, ReadingRow, Series},
};
use crate::{
    store::{
        Store, StoreError,
        chunks::{DAY, HOUR, Rollup, Span},
    },
    telemetry::{SensorId, Timestamp},
};

/// Sensors, or runs of marked hours, of one step.
const JOBS: usize = 32;
/// Marks that are passed over in one step.
const PUT_OFF: usize = 1_000;
/// Late hours of one step, which are read under the gate.
const LATE: usize = 16;
/// A step ends when it has read so many readings or made so many hours.
const READINGS_MAX: usize = 50_000;
const HOURS_MAX: usize = 500;
/// Readings of one query.
const PAGE: i64 = 20_000;
/// Marks of one round.
const MARKS: i64 = 100_000;

const VALUES: &str = "SELECT event_time, value, quality FROM reading WHERE sensor_id = ?1 AND \
    event_time >= ?2 AND event_time < ?3 ORDER BY event_time LIMIT ?4";
const STALE: &str = "SELECT sensor_id, hour FROM reading_stale ORDER BY sensor_id, hour LIMIT ?1";
const COUNT_STALE: &str = "SELECT count(*) AS number FROM reading_stale";

#[derive(FromQueryResult)]
struct MarkRow {
    sensor_id: i64,
    hour: i64,
}

/// What is left to do of a round.
#[derive(Debug, Default)]
pub struct RollUps {
    upto: i64,
    marked: VecDeque<Hour>,
    sensors: VecDeque<i64>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RolledUp {
    pub hours: u64,
    pub has_more: bool,
}

/// Hours of a sensor that are to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// All from its `rolled_upto` on; that is stored even where no reading is found, if it has to be.
    Onward { sensor: i64, upto: i64, is_asked: bool },
    /// Those between two times, again.
    Again { sensor: i64, from: i64, upto: i64 },
}

/// What was made of a job.
struct Made {
    sensor: i64,
    /// Hours by number: those it is about.
    range: (i64, i64),
    hours: Vec<Rollup>,
    days: Vec<Rollup>,
    gone_hours: Vec<Hour>,
    gone_days: Vec<Hour>,
    series: Option<Series>,
    readings: usize,
    /// What of the job is left.
    rest: Option<Job>,
}

impl RollUps {
    pub fn has_more(&self) -> bool {
        !self.marked.is_empty() || !self.sensors.is_empty()
    }

    /// Sensors, and hours that are to be made again, which have not been looked at yet.
    pub fn waiting(&self) -> usize {
        self.marked.len() + self.sensors.len()
    }

    /// The next jobs, one a sensor at most, whose days would not be right else; or hours that only late
    /// readings are left of.
    fn next(&mut self, series: &HashMap<i64, Series>, rolled: &Rolled) -> Next {
        let (mut jobs, mut put_off) = (Vec::new(), Vec::new());
        let mut late = Vec::new();
        while jobs.len() < JOBS
            && late.len() < LATE
            && put_off.len() < PUT_OFF
            && let Some((sensor, hour)) = self.marked.pop_front()
        {
            let start = hour.saturating_mul(HOUR);
            let known = series.get(&sensor).copied().unwrap_or_default();
            if known.raw_from.is_some_and(|raw_from| start < raw_from) {
                late.push((sensor, hour));
                continue;
            }
            let job = if known.rolled_upto.is_some_and(|upto| start < upto) {
                Job::Again { sensor, from: start, upto: start.saturating_add(HOUR) }
            } else {
                let upto = rolled.guarded_upto(sensor).unwrap_or(start + HOUR);
                Job::Onward { sensor, upto, is_asked: false }
            };
            if !join(&mut jobs, job) {
                put_off.push((sensor, hour));
            }
        }
        while let Some(mark) = put_off.pop() {
            self.marked.push_front(mark);
        }
        if !late.is_empty() {
            jobs.iter().rev().for_each(|job| self.put_back(*job));
            return Next::Late(late);
        }
        let mut waiting = Vec::new();
        while jobs.len() < JOBS
            && let Some(sensor) = self.sensors.pop_front()
        {
            let job = Job::Onward { sensor, upto: self.upto, is_asked: false };
            if !join(&mut jobs, job) {
                waiting.push(sensor);
            }
        }
        self.sensors.extend(waiting);
        Next::Jobs(jobs)
    }

    fn put_back(&mut self, job: Job) {
        match job {
            Job::Onward { sensor, .. } => self.sensors.push_front(sensor),
            Job::Again { sensor, from, upto } => {
                let hours = (from.div_euclid(HOUR)..upto.div_euclid(HOUR)).rev();
                hours.for_each(|hour| self.marked.push_front((sensor, hour)));
            }
        }
    }
}

enum Next {
    Jobs(Vec<Job>),
    Late(Vec<Hour>),
}

/// `false`: its sensor has another.
fn join(jobs: &mut Vec<Job>, job: Job) -> bool {
    let Some(other) = jobs.iter_mut().find(|other| other.sensor() == job.sensor()) else {
        jobs.push(job);
        return true;
    };
    match (other, job) {
        (Job::Again { from, upto, .. }, Job::Again { from: next, upto: end, .. })
            if *from <= next && end - *from <= DAY =>
        {
            *upto = end.max(*upto);
            true
        }
        (Job::Onward { upto, .. }, Job::Onward { upto: other, .. }) => {
            *upto = other.max(*upto);
            true
        }
        _ => false,
    }
}

impl Store {
    /// What is to be rolled up of these sensors before a time, which is taken down to an hour, and what is
    /// to be made again. `None` on SQLite.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn begin_roll_up(
        &self,
        upto: Timestamp,
        sensors: &[SensorId],
    ) -> Result<Option<RollUps>, StoreError> {
        if self.rolled().is_none() {
            return Ok(None);
        }
        let statement = self.engine.statement(STALE, [MARKS.into()]);
        let marks = MarkRow::find_by_statement(statement).all(&self.readers).await?;
        Ok(Some(RollUps {
            upto: upto.as_micros().div_euclid(HOUR) * HOUR,
            marked: marks.into_iter().map(|mark| (mark.sensor_id, mark.hour)).collect(),
            sensors: sensors.iter().map(|sensor| sensor.0).collect(),
        }))
    }

    /// Does a step of a round. What it was about when it fails is left to the next round.
    ///
    /// # Errors
    /// As above.
    pub async fn roll_up_some(&self, round: &mut RollUps) -> Result<RolledUp, StoreError> {
        let Some(rolled) = self.rolled() else { return Ok(RolledUp::default()) };
        let mut upkeep = rolled.upkeep.lock().await;
        let hours = match round.next(upkeep.series(self).await?, rolled) {
            Next::Late(hours) => self.take_in_late(&mut upkeep, &hours).await?,
            Next::Jobs(jobs) => {
                let (hours, rest) = self.roll(rolled, &mut upkeep, jobs).await?;
                rest.into_iter().for_each(|job| round.put_back(job));
                hours
            }
        };
        Ok(RolledUp { hours, has_more: round.has_more() })
    }

    /// Hours whose roll-up is to be made again. `None` on SQLite.
    ///
    /// # Errors
    /// As above.
    pub async fn stale_hours(&self) -> Result<Option<u64>, StoreError> {
        if self.rolled().is_none() {
            return Ok(None);
        }
        let row = self.readers.query_one_raw(self.engine.statement(COUNT_STALE, [])).await?;
        let number: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        Ok(number.map(|number| u64::try_from(number).unwrap_or(0)))
    }

    /// Makes what jobs want; returns how many hours, and what is left of the jobs.
    pub(super) async fn roll(
        &self,
        rolled: &Rolled,
        upkeep: &mut Upkeep,
        jobs: Vec<Job>,
    ) -> Result<(u64, Vec<Job>), StoreError> {
        let series = upkeep.series(self).await?;
        let of = |sensor: i64| series.get(&sensor).copied().unwrap_or_default();
        let is_due = |job: &Job| match job {
            Job::Onward { sensor, upto, .. } => of(*sensor).rolled_upto < Some(*upto),
            Job::Again { .. } => true,
        };
        let jobs: Vec<Job> = jobs.into_iter().filter(is_due).collect();
        if jobs.is_empty() {
            return Ok((0, Vec::new()));
        }
        let gate = self.gate.lock().await;
        rolled.guard(jobs.iter().map(|job| match *job {
            Job::Onward { sensor, upto, .. } | Job::Again { sensor, upto, .. } => (sensor, upto),
        }));
        drop(gate);
        let sensors: Vec<SensorId> = jobs.iter().map(|job| SensorId(job.sensor())).collect();
        let marks = self.marks_of(&sensors).await?;
        let (mut made, mut rest) = (Vec::new(), Vec::new());
        let (mut readings, mut hours) = (0, 0);
        for job in jobs {
            if readings >= READINGS_MAX || hours >= HOURS_MAX {
                rest.push(job);
                continue;
            }
            let one = self.make(of(job.sensor()), job).await?;
            (readings, hours) = (readings + one.readings, hours + one.hours.len());
            rest.extend(one.rest);
            made.push(one);
        }
        self.keep(rolled, upkeep, (&made, &marks)).await?;
        rest.reverse();
        Ok((hours as u64, rest))
    }

    async fn marks_of(&self, sensors: &[SensorId]) -> Result<Vec<Hour>, StoreError> {
        let list = super::to_sql(sensors);
        let sql = format!("SELECT sensor_id, hour FROM reading_stale WHERE sensor_id IN ({list})");
        let statement = self.engine.statement(&sql, []);
        let marks = MarkRow::find_by_statement(statement).all(&self.readers).await?;
        Ok(marks.into_iter().map(|mark| (mark.sensor_id, mark.hour)).collect())
    }

    /// Reads, and rolls up.
    async fn make(&self, series: Series, job: Job) -> Result<Made, StoreError> {
        let sensor = job.sensor();
        let (from, to, is_onward) = match job {
            Job::Onward { upto, .. } => (series.rolled_upto.unwrap_or(i64::MIN), upto, true),
            Job::Again { from, upto, .. } => (from, upto, false),
        };
        let (hours, upto, readings) = self.read_hours(sensor, (from, to)).await?;
        let rest = (upto < to).then_some(match job {
            Job::Onward { .. } => job,
            Job::Again { .. } => Job::Again { sensor, from: upto, upto: to },
        });
        let is_asked = matches!(job, Job::Onward { is_asked: true, .. });
        let is_kept = is_onward && (is_asked || !hours.is_empty());
        let rolled_upto = if is_kept { Some(upto) } else { series.rolled_upto };
        let mut made = Made {
            sensor,
            range: (from.div_euclid(HOUR), upto.div_euclid(HOUR)),
            hours,
            days: Vec::new(),
            gone_hours: Vec::new(),
            gone_days: Vec::new(),
            series: is_kept.then_some(Series { rolled_upto, ..series }),
            readings,
            rest,
        };
        if is_kept || !is_onward {
            self.make_days(&mut made, Series { rolled_upto, ..series }, is_onward).await?;
        }
        Ok(made)
    }

    /// Days that are over, of their hours.
    async fn make_days(
        &self,
        made: &mut Made,
        series: Series,
        is_onward: bool,
    ) -> Result<(), StoreError> {
        let (first, end) = made.range;
        let rolled_day = series.rolled_upto.unwrap_or(i64::MIN).div_euclid(DAY);
        let number = |rollup: &Rollup| rollup.start.as_micros().div_euclid(HOUR);
        let first_day = match made.hours.first() {
            Some(hour) if first == i64::MIN.div_euclid(HOUR) => number(hour).div_euclid(24),
            _ => first.div_euclid(24),
        };
        // What goes on within a day that is not over touches none.
        if first_day >= rolled_day {
            if !is_onward {
                self.find_gone(made).await?;
            }
            return Ok(());
        }
        let last_day = (end - 1).div_euclid(24);
        let whole = (SensorId(made.sensor), Span::Hour);
        let range = (first_day * 24, (last_day + 1) * 24);
        let stored = rows::between(&self.readers, self.engine, whole, range).await?;
        let mut all: BTreeMap<i64, Rollup> =
            stored.into_iter().map(|hour| (number(&hour), hour)).collect();
        let fresh: BTreeSet<i64> = made.hours.iter().map(number).collect();
        let gone = all.range(first.max(range.0)..end).filter(|(hour, _)| !fresh.contains(hour));
        made.gone_hours = gone.map(|(hour, _)| (made.sensor, *hour)).collect();
        for (_, hour) in &made.gone_hours {
            all.remove(hour);
        }
        all.extend(made.hours.iter().map(|hour| (number(hour), hour.clone())));
        made.days = days_of(all.values());
        let hours_from = series.hours_from.unwrap_or(i64::MIN);
        let day_of = |day: &Rollup| day.start.as_micros().div_euclid(DAY);
        made.days.retain(|day| day_of(day) < rolled_day && day.start.as_micros() >= hours_from);
        if !is_onward {
            let there: BTreeSet<i64> = made.days.iter().map(day_of).collect();
            let gone = (first_day..=last_day).filter(|day| !there.contains(day));
            made.gone_days = gone.map(|day| (made.sensor, day)).collect();
        }
        Ok(())
    }

    async fn find_gone(&self, made: &mut Made) -> Result<(), StoreError> {
        let whole = (SensorId(made.sensor), Span::Hour);
        let stored = rows::between(&self.readers, self.engine, whole, made.range).await?;
        let fresh: BTreeSet<Timestamp> = made.hours.iter().map(|hour| hour.start).collect();
        let gone = stored.iter().filter(|hour| !fresh.contains(&hour.start));
        made.gone_hours =
            gone.map(|hour| (made.sensor, hour.start.as_micros().div_euclid(HOUR))).collect();
        Ok(())
    }

    /// The hours of a range, up to which time, of how many readings.
    async fn read_hours(
        &self,
        sensor: i64,
        (from, to): (i64, i64),
    ) -> Result<(Vec<Rollup>, i64, usize), StoreError> {
        let (mut hours, mut readings, mut after): (Vec<Rollup>, _, _) = (Vec::new(), 0, from);
        loop {
            let values = [sensor.into(), after.into(), to.into(), PAGE.into()];
            let statement = self.engine.statement(VALUES, values);
            let page = ReadingRow::find_by_statement(statement).all(&self.readers).await?;
            add_hours(&mut hours, &page);
            readings += page.len();
            let is_last = (page.len() as i64) < PAGE;
            if is_last && hours.len() <= HOURS_MAX {
                return Ok((hours, to, readings));
            }
            if hours.len() > HOURS_MAX || (readings >= READINGS_MAX && hours.len() > 1) {
                // The last one may have more.
                let kept = HOURS_MAX.min(hours.len() - 1);
                let end = hours.split_off(kept);
                let upto = end.first().map_or(to, |hour| hour.start.as_micros());
                return Ok((hours, upto, readings));
            }
            after = page.last().map_or(to, |row| row.event_time.saturating_add(1));
        }
    }

    /// Writes what was made, in one transaction.
    async fn keep(
        &self,
        rolled: &Rolled,
        upkeep: &mut Upkeep,
        (made, marks): (&[Made], &[Hour]),
    ) -> Result<(), StoreError> {
        let is_covered = |(sensor, hour): &Hour| {
            made.iter()
                .any(|one| one.sensor == *sensor && (one.range.0..one.range.1).contains(hour))
        };
        let covered: Vec<Hour> = marks.iter().copied().filter(is_covered).collect();
        let is_nothing =
            |one: &Made| one.hours.is_empty() && one.gone_hours.is_empty() && one.series.is_none();
        if covered.is_empty() && made.iter().all(is_nothing) {
            drop(rolled.touched());
            return Ok(());
        }
        let write = self.begin().await?;
        let touched = rolled.touched();
        let transaction = &write.transaction;
        let each = |of: fn(&Made) -> &Vec<Rollup>| -> Vec<(i64, &Rollup)> {
            made.iter().flat_map(|one| of(one).iter().map(|rollup| (one.sensor, rollup))).collect()
        };
        let all = |of: fn(&Made) -> &Vec<Hour>| -> Vec<Hour> {
            made.iter().flat_map(|one| of(one).iter().copied()).collect()
        };
        rows::remove(transaction, Span::Hour, &all(|one| &one.gone_hours)).await?;
        rows::remove(transaction, Span::Day, &all(|one| &one.gone_days)).await?;
        rows::put(transaction, self.engine, Span::Hour, &each(|one| &one.hours)).await?;
        rows::put(transaction, self.engine, Span::Day, &each(|one| &one.days)).await?;
        let series: Vec<(i64, Series)> =
            made.iter().filter_map(|one| Some((one.sensor, one.series?))).collect();
        rows::put_series(transaction, self.engine, &series).await?;
        let done: Vec<Hour> = covered.into_iter().filter(|hour| !touched.contains(hour)).collect();
        for text in unmark_text(&done) {
            transaction.execute_unprepared(&text).await?;
        }
        // Until the commit's outcome is known, nothing is.
        let mut known = upkeep.series.take();
        write.commit().await?;
        if let Some(known) = &mut known {
            known.extend(series);
        }
        upkeep.series = known;
        Ok(())
    }
}

impl Job {
    fn sensor(self) -> i64 {
        match self {
            Self::Onward { sensor, .. } | Self::Again { sensor, .. } => sensor,
        }
    }
}

fn add_hours(hours: &mut Vec<Rollup>, page: &[ReadingRow]) {
    for row in page {
        let start = Timestamp::from_micros(row.event_time.div_euclid(HOUR).saturating_mul(HOUR));
        match hours.last_mut().filter(|last| last.start == start) {
            Some(last) => last.add(&row.sample()),
            None => {
                let mut hour = Rollup::new(start);
                hour.add(&row.sample());
                hours.push(hour);
            }
        }
    }
}

/// Days of hours in order.
pub(super) fn days_of<'a>(hours: impl Iterator<Item = &'a Rollup>) -> Vec<Rollup> {
    let mut days: Vec<Rollup> = Vec::new();
    for hour in hours {
        let day = hour.start.as_micros().div_euclid(DAY).saturating_mul(DAY);
        let start = Timestamp::from_micros(day);
        if days.last().is_none_or(|last| last.start != start) {
            days.push(Rollup::new(start));
        }
        let Some(day) = days.last_mut() else { continue };
        day.merge(hour);
        if hour.valued > 0 {
            day.last = hour.last;
        }
    }
    days
}
