//! The partitions of `reading` on PostgreSQL: one a month (UTC) by event time, made before the first
//! reading that needs it, and a month ahead. What lies far out shares one at either end.

use std::collections::BTreeSet;

use super::{StoreError, StoredReading, Transaction};
use crate::telemetry::Timestamp;

/// The first month with a partition of its own, and the first after the last.
const FIRST: Month = Month { year: 2015, month: 1 };
const END: Month = Month { year: 2060, month: 1 };

/// A month of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// `None`: it shares a partition with all that is as far out.
    fn of(time: Timestamp) -> Option<Self> {
        let time = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?;
        let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
        let month = Self { year: date.year(), month: date.month() };
        (FIRST <= month && month < END).then_some(month)
    }

    fn next(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 },
            month => Self { month: month + 1, ..self },
        }
    }

    /// Its first moment, in microseconds.
    fn start(self) -> Option<i64> {
        let date = jiff::civil::Date::new(self.year, self.month, 1).ok()?;
        let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(start.timestamp().as_microsecond())
    }

    fn table(self) -> String {
        format!("reading_{:04}_{:02}", self.year, self.month)
    }
}

pub(in crate::store) const PARTITIONS: &str = "SELECT c.relname::text FROM pg_inherits i \
    JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'reading'::regclass";

/// Makes what partitions these readings need.
pub(super) fn ensure(
    transaction: &Transaction<'_>,
    readings: &[StoredReading],
) -> Result<(), StoreError> {
    let mut needed: BTreeSet<Month> = BTreeSet::new();
    let mut last = None;
    for reading in readings {
        let month = Month::of(reading.event_time);
        if month != last {
            needed.extend(month.into_iter().flat_map(|month| [month, month.next()]));
            last = month;
        }
    }
    needed.retain(|month| !transaction.knows_partition(&month.table()));
    if needed.is_empty() {
        return Ok(());
    }
    let existing = transaction.query(PARTITIONS, &[], |row| row.text(0))?;
    for month in needed {
        let table = month.table();
        if !existing.contains(&table)
            && let Some((start, end)) = month.start().zip(month.next().start())
        {
            transaction.run_query(&partition(&table, start, end), |_| Ok(()))?;
            tracing::info!(table, "a partition for readings was made");
        }
        transaction.note_partition(table);
    }
    Ok(())
}

/// The partitions that readings of these times need, each with what makes it.
pub(in crate::store) fn partitions_of(
    times: impl Iterator<Item = Timestamp>,
) -> Vec<(String, String)> {
    let mut months = BTreeSet::new();
    let mut last = None;
    for time in times {
        // Most lie close together.
        let day = time.as_micros().div_euclid(86_400_000_000);
        if last != Some(day) {
            months.extend(Month::of(time));
            last = Some(day);
        }
    }
    let made = |month: Month| {
        let (start, end) = month.start().zip(month.next().start())?;
        Some((month.table(), partition(&month.table(), start, end)))
    };
    months.into_iter().filter_map(made).collect()
}

/// A table that is attached afterwards: readers of others are not stopped by it.
fn partition(table: &str, start: i64, end: i64) -> String {
    format!(
        "CREATE TABLE {table} (LIKE reading INCLUDING DEFAULTS INCLUDING CONSTRAINTS); \
         ALTER TABLE reading ATTACH PARTITION {table} FOR VALUES FROM ({start}) TO ({end})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_micros(time.as_microsecond())
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let december = Month::of(at("2026-12-31T23:59:59.999999Z")).unwrap();
        assert_eq!(december.table(), "reading_2026_12");
        let january = Month::of(at("2027-01-01T00:00:00Z")).unwrap();
        assert_eq!(december.next(), january);
        assert_eq!(january.start(), Some(at("2027-01-01T00:00:00Z").as_micros()));
    }

    #[test]
    fn what_lies_far_out_has_no_month() {
        assert_eq!(Month::of(at("2014-12-31T23:59:59Z")), None);
        assert_eq!(Month::of(at("2060-01-01T00:00:00Z")), None);
        assert_eq!(Month::of(Timestamp::MIN), None);
        assert_eq!(Month::of(Timestamp::MAX), None);
    }
}
