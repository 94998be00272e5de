//! The axis of values: its range, round ticks, labels.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// Values beyond that are drawn there, so that differences stay finite.
const FARTHEST: f64 = 1e300;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ValueAxis {
    low: f64,
    high: f64,
    step: f64,
}

impl ValueAxis {
    /// For values from `low` to `high`, with about `ticks` ticks. `None`: nothing to be shown.
    pub(super) fn new(values: Option<(f64, f64)>, ticks: u32) -> Self {
        let (low, high) = values.unwrap_or((0.0, 1.0));
        let (low, high) = (within(low.min(high)), within(high.max(low)));
        let (low, high) = if high - low > low.abs().max(high.abs()) * 1e-9 {
            (low, high)
        } else {
            let room = (low.abs() * 0.05).max(0.5);
            (low - room, high + room)
        };
        let step = round_step((high - low) / f64::from(ticks.max(1)));
        let room = (high - low) * 0.05;
        // What is never negative is not shown to be.
        let bottom = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
        let top = if high <= 0.0 { (high + room).min(0.0) } else { high + room };
        Self { low: bottom, high: top, step }
    }

    pub(super) fn bounds(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    pub(super) fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step).ceil();
        let mut ticks = Vec::new();
        for n in 0..64 {
            let tick = (first + f64::from(n)) * self.step;
            if tick.is_nan() || tick > self.high {
                break;
            }
            // Not -0.
            ticks.push(if tick == 0.0 { 0.0 } else { tick });
        }
        ticks
    }

    pub(super) fn label(&self, value: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        let exponent = self.step.log10().floor();
        if largest >= 1e9 || exponent < -6.0 {
            let digits = (largest.log10().floor() - exponent).clamp(0.0, 15.0) as usize;
            let digits = if value == 0.0 { 0 } else { digits };
            return format!("{value:.digits$e}").replace('-', "\u{2212}");
        }
        let halves = self.step / 10_f64.powf(exponent) % 1.0 > 0.1;
        let decimals = (-exponent).max(0.0) as usize + usize::from(halves && exponent <= 0.0);
        grouped(&format!("{value:.decimals$}"))
    }
}

impl Ranged for ValueAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (within(*value) - self.low) / (self.high - self.low);
        from.saturating_add((share * f64::from(to.saturating_sub(from))).round() as i32)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for ValueAxis {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

fn within(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-FARTHEST, FARTHEST) }
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let mut round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|n| n * power);
    round.find(|step| *step >= least * 0.999_999).unwrap_or(least)
}

/// With separators between thousands, and a minus that is as wide as a plus.
fn grouped(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("\u{2212}", rest));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let mut shown = sign.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && whole.len() > 4 && (whole.len() - at) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    if let Some(fraction) = fraction {
        shown.push('.');
        shown.push_str(fraction);
    }
    shown
}
