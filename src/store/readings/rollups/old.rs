//! What goes on a server: raw readings while their roll-ups stay, hours while days stay, days, a range of all
//! of them; and what comes late for where readings are gone.

use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{
    Rolled, Upkeep,
    maker::{Job, days_of},
    marks::{Hour, mark_text, unmark_text},
    rows::{self, ReadingRow, Series},
};
use crate::{
    store::{
        SeldomWrite, Store, StoreError,
        chunks::{DAY, HOUR, Rollup, Span},
        engine::Engine,
        readings::{Removed, TimeRange},
    },
    telemetry::{SensorId, Timestamp},
};

/// Rows deleted in one go: a batch of ingest waits for one such step, which takes milliseconds. Raw readings
/// go by whole hours, however many one has.
const STEP: i64 = 2_000;

const FIRST: &str = "SELECT event_time FROM reading WHERE sensor_id = ?1 AND \
    event_time < ?2 ORDER BY event_time LIMIT 1";
const STEP_END: &str = "SELECT event_time FROM reading WHERE sensor_id = ?1 AND \
    event_time < ?2 ORDER BY event_time LIMIT 1 OFFSET 2000";
const MARKED: &str =
    "SELECT hour FROM reading_stale WHERE sensor_id = ?1 AND hour < ?2 ORDER BY hour LIMIT 16";
const DELETE_BEFORE: &str = "DELETE FROM reading WHERE sensor_id = ?1 AND event_time < ?2";
const DELETE_BETWEEN: &str =
    "DELETE FROM reading WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3";
const VALUES: &str = "SELECT event_time, value, quality FROM reading WHERE sensor_id = ?1 AND \
    event_time >= ?2 AND event_time < ?3 ORDER BY event_time";
const DELETE_SOME_POSTGRES: &str = "DELETE FROM reading WHERE sensor_id = ?1 AND event_time \
    IN (SELECT event_time FROM reading WHERE sensor_id = ?1 AND event_time >= ?2 AND \
    event_time < ?3 LIMIT ?4) RETURNING event_time";
/// It would read all of the sensor's rows for the other.
const DELETE_SOME_MARIADB: &str = "DELETE FROM reading WHERE sensor_id = ?1 AND event_time >= ?2 \
    AND event_time < ?3 LIMIT ?4 RETURNING event_time";

impl Store {
    /// Deletes some of a sensor's readings of a range, then what was made of those that are gone already.
    pub(in crate::store::readings) async fn delete_rows(
        &self,
        rolled: &Rolled,
        sensor: SensorId,
        (from, to): TimeRange,
    ) -> Result<Removed, StoreError> {
        let mut upkeep = rolled.upkeep.lock().await;
        let (from, to) = (from.as_micros(), to.as_micros());
        let sql = match self.engine {
            Engine::MariaDb => DELETE_SOME_MARIADB,
            Engine::Sqlite | Engine::Postgres => DELETE_SOME_POSTGRES,
        };
        let values = [sensor.0.into(), from.into(), to.into(), STEP.into()];
        let write = self.begin().await?;
        let rows = write.transaction.query_all_raw(self.engine.statement(sql, values)).await?;
        let times: Result<Vec<i64>, _> = rows.iter().map(|row| row.try_get_by_index(0)).collect();
        let hours = rolled.to_mark(times?.into_iter().map(|time| (sensor.0, time)));
        for text in mark_text(self.engine, &hours) {
            write.transaction.execute_unprepared(&text).await?;
        }
        write.commit().await?;
        let has_more = rows.len() as i64 == STEP;
        if !has_more {
            let series = upkeep.series(self).await?.get(&sensor.0).copied().unwrap_or_default();
            self.forget(sensor, series, (from, to)).await?;
        }
        Ok(Removed { readings: rows.len() as u64, has_more })
    }

    /// Takes out roll-ups that lie in a range as a whole, where raw readings are dropped.
    async fn forget(
        &self,
        sensor: SensorId,
        series: Series,
        (from, to): (i64, i64),
    ) -> Result<(), StoreError> {
        let Some(raw_from) = series.raw_from.filter(|raw_from| from < *raw_from) else {
            return Ok(());
        };
        let up = |time: i64, micros: i64| time.saturating_add(micros - 1).div_euclid(micros);
        let end = to.min(raw_from);
        let write = self.begin().await?;
        let delete = |span: Span, (first, end): (i64, i64)| {
            let (table, column) = span.names();
            let sql = format!(
                "DELETE FROM {table} WHERE sensor_id = ?1 AND {column} >= ?2 AND {column} < ?3"
            );
            self.engine.statement(&sql, [sensor.0.into(), first.into(), end.into()])
        };
        let hours = (up(from, HOUR), end.div_euclid(HOUR));
        let days = (up(from, DAY), end.div_euclid(DAY));
        for (span, range) in [(Span::Hour, hours), (Span::Day, days)] {
            if range.0 < range.1 {
                write.transaction.execute_raw(delete(span, range)).await?;
            }
        }
        let edges = [from.div_euclid(DAY), end.saturating_sub(1).div_euclid(DAY)];
        for day in edges.into_iter().filter(|day| !(days.0..days.1).contains(day)) {
            self.make_day_again(&write, sensor, series, day).await?;
        }
        write.commit().await
    }

    /// Of the hours that it has; nothing where these are dropped.
    async fn make_day_again(
        &self,
        write: &SeldomWrite<'_>,
        sensor: SensorId,
        series: Series,
        day: i64,
    ) -> Result<(), StoreError> {
        let (start, end) = (day.saturating_mul(DAY), (day + 1).saturating_mul(DAY));
        let is_over = series.rolled_upto.is_some_and(|upto| end <= upto);
        if !is_over || series.hours_from.is_some_and(|hours_from| start < hours_from) {
            return Ok(());
        }
        let (transaction, hours) = (&write.transaction, (day * 24, day * 24 + 24));
        let hours = rows::between(transaction, self.engine, (sensor, Span::Hour), hours).await?;
        match days_of(hours.iter()).first() {
            Some(made) => rows::put(transaction, self.engine, Span::Day, &[(sensor.0, made)]).await,
            None => rows::remove(transaction, Span::Day, &[(sensor.0, day)]).await,
        }
    }

    /// Takes what has come late for hours whose readings are dropped into their roll-ups.
    pub(super) async fn take_in_late(
        &self,
        upkeep: &mut Upkeep,
        hours: &[Hour],
    ) -> Result<u64, StoreError> {
        let series = upkeep.series(self).await?;
        let write = self.begin().await?;
        for (sensor, hour) in hours {
            let series = series.get(sensor).copied().unwrap_or_default();
            self.take_in_hour(&write, (SensorId(*sensor), *hour), series).await?;
        }
        for text in unmark_text(hours) {
            write.transaction.execute_unprepared(&text).await?;
        }
        write.commit().await?;
        Ok(hours.len() as u64)
    }

    async fn take_in_hour(
        &self,
        write: &SeldomWrite<'_>,
        (sensor, hour): (SensorId, i64),
        series: Series,
    ) -> Result<(), StoreError> {
        let (engine, transaction) = (self.engine, &write.transaction);
        let (start, end) = (hour.saturating_mul(HOUR), (hour + 1).saturating_mul(HOUR));
        let values = || [sensor.0.into(), start.into(), end.into()];
        let statement = engine.statement(VALUES, values());
        let late = ReadingRow::find_by_statement(statement).all(transaction).await?;
        if late.is_empty() {
            return Ok(());
        }
        let is_kept = series.hours_from.is_none_or(|hours_from| start >= hours_from);
        let span = if is_kept { Span::Hour } else { Span::Day };
        let number = span.of(start);
        let one = (number, number.saturating_add(1));
        let there = rows::between(transaction, engine, (sensor, span), one).await?.pop();
        let start = Timestamp::from_micros(number.saturating_mul(span.micros()));
        let mut of_late = Rollup::new(start);
        late.iter().for_each(|row| of_late.add(&row.sample()));
        let rollup = match there {
            Some(mut there) => {
                there.merge(&of_late);
                there
            }
            None => of_late,
        };
        rows::put(transaction, engine, span, &[(sensor.0, &rollup)]).await?;
        if is_kept {
            self.make_day_again(write, sensor, series, hour.div_euclid(24)).await?;
        }
        transaction.execute_raw(engine.statement(DELETE_BETWEEN, values())).await?;
        Ok(())
    }

    /// Drops some of a sensor's raw readings from before an hour, which are rolled up first.
    pub(in crate::store::readings) async fn drop_raw_rows(
        &self,
        rolled: &Rolled,
        sensor: SensorId,
        before: i64,
    ) -> Result<Removed, StoreError> {
        let more = Ok(Removed { readings: 0, has_more: true });
        let mut upkeep = rolled.upkeep.lock().await;
        let Some(first) = self.time_of(FIRST, sensor, before).await? else {
            return Ok(Removed { readings: 0, has_more: false });
        };
        let series = upkeep.series(self).await?.get(&sensor.0).copied().unwrap_or_default();
        if series.rolled_upto < Some(before) {
            let job = Job::Onward { sensor: sensor.0, upto: before, is_asked: true };
            self.roll(rolled, &mut upkeep, vec![job]).await?;
            return more;
        }
        let marked = self.marked(&self.readers, sensor, before).await?;
        if !marked.is_empty() {
            self.make_marked(rolled, &mut upkeep, (sensor, series), &marked).await?;
            return more;
        }
        let step = self.time_of(STEP_END, sensor, before).await?;
        let down = |time: i64| time.div_euclid(HOUR) * HOUR;
        let end = step.map_or(before, |time| down(time).max(down(first) + HOUR)).min(before);
        let write = self.begin().await?;
        // What came late a moment ago is not in the roll-up yet.
        if !self.marked(&write.transaction, sensor, end).await?.is_empty() {
            return more;
        }
        let delete = self.engine.statement(DELETE_BEFORE, [sensor.0.into(), end.into()]);
        let readings = write.transaction.execute_raw(delete).await?.rows_affected();
        let raw_from = series.raw_from.map_or(end, |raw_from| raw_from.max(end));
        let series = Series { raw_from: Some(raw_from), ..series };
        rows::put_series(&write.transaction, self.engine, &[(sensor.0, series)]).await?;
        commit(write, &mut upkeep, (sensor, series)).await?;
        Ok(Removed { readings, has_more: step.is_some() })
    }

    async fn make_marked(
        &self,
        rolled: &Rolled,
        upkeep: &mut Upkeep,
        (sensor, series): (SensorId, Series),
        marked: &[i64],
    ) -> Result<(), StoreError> {
        let raw_from = series.raw_from.unwrap_or(i64::MIN);
        let (late, stale): (Vec<i64>, Vec<i64>) =
            marked.iter().partition(|hour| hour.saturating_mul(HOUR) < raw_from);
        let late: Vec<Hour> = late.into_iter().map(|hour| (sensor.0, hour)).collect();
        if !late.is_empty() {
            self.take_in_late(upkeep, &late).await?;
        }
        // One by one: two at once would make their day of different hours.
        for hour in stale {
            let from = hour.saturating_mul(HOUR);
            let job = Job::Again { sensor: sensor.0, from, upto: from.saturating_add(HOUR) };
            self.roll(rolled, upkeep, vec![job]).await?;
        }
        Ok(())
    }

    /// The first marked hours before a time.
    async fn marked(
        &self,
        connection: &impl ConnectionTrait,
        sensor: SensorId,
        before: i64,
    ) -> Result<Vec<i64>, StoreError> {
        let values = [sensor.0.into(), before.div_euclid(HOUR).into()];
        let rows = connection.query_all_raw(self.engine.statement(MARKED, values)).await?;
        Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
    }

    async fn time_of(
        &self,
        sql: &str,
        sensor: SensorId,
        before: i64,
    ) -> Result<Option<i64>, StoreError> {
        let statement = self.engine.statement(sql, [sensor.0.into(), before.into()]);
        let row = self.readers.query_one_raw(statement).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
    }

    /// Drops some of a sensor's hours from before a time, by whole days, where raw readings are dropped.
    pub(in crate::store::readings) async fn drop_hour_rows(
        &self,
        rolled: &Rolled,
        sensor: SensorId,
        before: i64,
    ) -> Result<Removed, StoreError> {
        let mut upkeep = rolled.upkeep.lock().await;
        let mut series = upkeep.series(self).await?.get(&sensor.0).copied().unwrap_or_default();
        let Some(raw_from) = series.raw_from else {
            return Ok(Removed { readings: 0, has_more: false });
        };
        let before = before.min(raw_from).div_euclid(DAY) * DAY;
        let Some(write) = self.delete_old(Span::Hour, sensor, before.div_euclid(HOUR)).await?
        else {
            return Ok(Removed { readings: 0, has_more: false });
        };
        let (write, rows) = write;
        if series.hours_from.is_none_or(|from| from < before) {
            series.hours_from = Some(before);
            rows::put_series(&write.transaction, self.engine, &[(sensor.0, series)]).await?;
        }
        commit(write, &mut upkeep, (sensor, series)).await?;
        Ok(Removed { readings: rows, has_more: rows as i64 == STEP })
    }

    /// Drops some of a sensor's days from before a time, where hours are dropped.
    pub(in crate::store::readings) async fn drop_day_rows(
        &self,
        rolled: &Rolled,
        sensor: SensorId,
        before: i64,
    ) -> Result<Removed, StoreError> {
        let mut upkeep = rolled.upkeep.lock().await;
        let series = upkeep.series(self).await?.get(&sensor.0).copied().unwrap_or_default();
        let before = before.min(series.hours_from.unwrap_or(i64::MIN)).div_euclid(DAY);
        let Some((write, rows)) = self.delete_old(Span::Day, sensor, before).await? else {
            return Ok(Removed { readings: 0, has_more: false });
        };
        write.commit().await?;
        Ok(Removed { readings: rows, has_more: rows as i64 == STEP })
    }

    /// Deletes some spans before a number; `None` where there are none.
    async fn delete_old(
        &self,
        span: Span,
        sensor: SensorId,
        before: i64,
    ) -> Result<Option<(SeldomWrite<'_>, u64)>, StoreError> {
        let (table, column) = span.names();
        let sql = format!(
            "SELECT {column} FROM {table} WHERE sensor_id = ?1 AND {column} < ?2 \
             ORDER BY {column} LIMIT {STEP}"
        );
        let statement = self.engine.statement(&sql, [sensor.0.into(), before.into()]);
        let rows = self.readers.query_all_raw(statement).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        let last: i64 = last.try_get_by_index(0)?;
        let write = self.begin().await?;
        let sql = format!("DELETE FROM {table} WHERE sensor_id = ?1 AND {column} <= ?2");
        let statement = self.engine.statement(&sql, [sensor.0.into(), last.into()]);
        let rows = write.transaction.execute_raw(statement).await?.rows_affected();
        Ok(Some((write, rows)))
    }
}

/// Commits a change of a sensor's series. Until its outcome is known, nothing is.
async fn commit(
    write: SeldomWrite<'_>,
    upkeep: &mut Upkeep,
    (sensor, series): (SensorId, Series),
) -> Result<(), StoreError> {
    let mut known = upkeep.series.take();
    write.commit().await?;
    if let Some(known) = &mut known {
        known.insert(sensor.0, series);
    }
    upkeep.series = known;
    Ok(())
}
