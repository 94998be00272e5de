//! Series over time as SVG: data in, text out.
//!
//! Pure: no clock, no store. What is drawn stands beside the drawing as JSON, so that a page can show the
//! values under a pointer and let the chart grow without asking again. Names come from devices: every
//! character of them is escaped, and none that XML does not know gets in.

mod draw;
mod gaps;
mod legend;
mod metadata;
mod text;
mod theme;
mod time_axis;
mod value_axis;

#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;

pub use text::Locale;
pub use theme::Theme;

use crate::telemetry::{Quality, SensorId, Timestamp};

/// Series that one chart tells apart by colour.
pub const SERIES_MAX: usize = 8;
pub const WIDTH: std::ops::RangeInclusive<u32> = 200..=4_000;
pub const HEIGHT: std::ops::RangeInclusive<u32> = 120..=2_000;

/// What is to be drawn.
#[derive(Debug, Clone)]
pub struct Chart {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Length of the pieces that points stand for.
    pub bucket_micros: i64,
    /// In pixels; within [`WIDTH`] and [`HEIGHT`].
    pub width: u32,
    pub height: u32,
    pub theme: Theme,
    pub locale: Locale,
    pub zone: TimeZone,
    /// At most [`SERIES_MAX`].
    pub series: Vec<Series>,
    pub limits: Vec<Limit>,
    pub markers: Vec<Marker>,
}

#[derive(Debug, Clone)]
pub struct Series {
    pub sensor: SensorId,
    pub device: String,
    pub name: String,
    pub unit: Option<String>,
    pub axis: Axis,
    /// In the order of time.
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    Left,
    Right,
}

/// The readings of one piece of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    /// `None`: none of them has a value.
    pub values: Option<Values>,
    /// The worst of them.
    pub quality: Quality,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Values {
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

/// Where a rule raises an alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    pub rule: i64,
    pub axis: Axis,
    /// A word; see [`Theme`] for those that have a colour of their own.
    pub severity: &'static str,
    /// Where it is raised: from here on; `None`: from below everything.
    pub low: Option<f64>,
    /// Up to here; `None`: above everything.
    pub high: Option<f64>,
}

/// Something that happened to an alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Marker {
    pub alarm: i64,
    pub at: Timestamp,
    pub severity: &'static str,
    pub is_raised: bool,
}

/// A chart that can't be drawn; none is known.
#[derive(Debug, thiserror::Error)]
#[error("the chart can't be drawn: {0}")]
pub struct ChartError(String);

impl Point {
    /// Where it stands.
    fn at(&self) -> i64 {
        let (first, last) = (self.first.as_micros(), self.last.as_micros());
        first.saturating_add(last.saturating_sub(first) / 2)
    }
}

impl Chart {
    /// The chart as an SVG document.
    ///
    /// # Errors
    /// [`ChartError`].
    pub fn svg(&self) -> Result<String, ChartError> {
        draw::svg(self)
    }
}

/// The length of pieces that suits a chart: a round one, so that a chart that moves on keeps its pieces;
/// at least so long that `range_micros` has no more than `max` of them.
pub fn bucket_micros(range_micros: i64, max: u32) -> i64 {
    const MILLISECOND: i64 = 1_000;
    const SECOND: i64 = 1_000 * MILLISECOND;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const ROUND: [(i64, &[i64]); 5] = [
        (MILLISECOND, &[1, 2, 5, 10, 20, 50, 100, 200, 500]),
        (SECOND, &[1, 2, 5, 10, 15, 30]),
        (MINUTE, &[1, 2, 5, 10, 15, 30]),
        (HOUR, &[1, 2, 3, 6, 12]),
        (DAY, &[1, 2, 5, 10, 20, 50, 100]),
    ];
    let least = range_micros.max(1) / i64::from(max.max(1));
    let mut round = ROUND.iter().flat_map(|(unit, counts)| counts.iter().map(move |n| n * unit));
    round.find(|length| *length >= least).unwrap_or(least / DAY * DAY + DAY)
}
