//! The line above a chart: which colour is which series, and the units of the axes.

use super::{
    Axis, Chart, Series,
    text::{clean, ems, shortened},
};

/// A name with its place, in pixels from the left.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) x: f64,
    pub(super) label: String,
}

/// Between a swatch and its name, and between a name and the next swatch.
pub(super) const SWATCH: f64 = 14.0;
const APART: f64 = 14.0;

/// Which unit an axis has; empty where it has none.
pub(super) fn unit(chart: &Chart, axis: Axis) -> String {
    let mut series = chart.series.iter().filter(|series| series.axis == axis);
    series.find_map(|series| series.unit.as_deref()).map(clean).unwrap_or_default()
}

/// Names of the series between `left` and `right`; devices are named where there is more than one.
pub(super) fn entries(chart: &Chart, (left, right): (f64, f64), size: f64) -> Vec<Entry> {
    if chart.series.len() < 2 {
        return Vec::new();
    }
    let room = (right - left) / chart.series.len() as f64 - SWATCH - APART;
    let mut x = left;
    let mut entries = Vec::with_capacity(chart.series.len());
    for series in &chart.series {
        let label = shortened(&name(chart, series), room / size);
        let width = SWATCH + ems(&label) * size + APART;
        entries.push(Entry { x, label });
        x += width;
    }
    entries
}

/// What a series is called in this chart.
pub(super) fn name(chart: &Chart, series: &Series) -> String {
    let is_one_device = chart.series.iter().all(|other| other.device == series.device);
    let name = clean(&series.name);
    if is_one_device { name } else { format!("{} {name}", clean(&series.device)) }
}
