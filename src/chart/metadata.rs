//! What is drawn, as JSON: for the values under a pointer, and for a chart that grows.

use serde_json::{Value, json};

use super::{Axis, Chart, Point, text::clean, theme::hex};

/// From the bottom to the top of the plot.
type Bounds = (f64, f64);

pub(super) fn json(chart: &Chart, (left, right): (Bounds, Option<Bounds>)) -> String {
    let bounds = |(low, high): Bounds| json!({"low": low, "high": high});
    let series = chart.series.iter().enumerate().map(|(at, series)| {
        json!({
            "sensor_id": series.sensor.0,
            "device": clean(&series.device),
            "sensor": clean(&series.name),
            "unit": series.unit.as_deref().map(clean),
            "axis": word(series.axis),
            "color": hex(chart.theme.series(at)),
            "points": series.points.iter().map(point).collect::<Value>(),
        })
    });
    let limits = chart.limits.iter().map(|limit| {
        json!({
            "rule_id": limit.rule,
            "axis": word(limit.axis),
            "severity": limit.severity,
            "low": limit.low,
            "high": limit.high,
        })
    });
    let markers = chart.markers.iter().map(|marker| {
        json!({
            "alarm_id": marker.alarm,
            "at": millis(marker.at.as_micros()),
            "severity": marker.severity,
            "kind": if marker.is_raised { "raised" } else { "cleared" },
        })
    });
    let whole = json!({
        "bucket_ms": chart.bucket_micros as f64 / 1_000.0,
        "axes": {"left": bounds(left), "right": right.map(bounds)},
        "series": series.collect::<Value>(),
        "limits": limits.collect::<Value>(),
        "markers": markers.collect::<Value>(),
    });
    whole.to_string()
}

fn point(point: &Point) -> Value {
    let values = point.values;
    let [min, mean, max] = [values.map(|v| v.min), values.map(|v| v.mean), values.map(|v| v.max)];
    json!([millis(point.at()), min, mean, max, point.quality.as_str()])
}

fn word(axis: Axis) -> &'static str {
    match axis {
        Axis::Left => "left",
        Axis::Right => "right",
    }
}

pub(super) fn millis(micros: i64) -> i64 {
    micros.div_euclid(1_000)
}
