//! What a state remembers for one condition: a window, a run of equal values, bits, a timer, a flag.

use std::sync::Arc;

use super::{Slot, check::Check, moments::Sample, window::Window};
use crate::{
    alarm::rule::Function,
    telemetry::{Quality, Timestamp},
};

/// What a cell is for; equal ones are one cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CellSpec {
    Value { slot: Slot },
    Window { slot: Slot, micros: i64 },
    Stuck { slot: Slot, micros: i64 },
    CountOf { slot: Slot, n: u32, m: u32, check: Check },
    Missing { slot: Slot, micros: i64 },
    Silent { micros: i64 },
    Offline,
    BadQuality { slot: Slot },
    Status { text: String, equals: bool },
}

#[derive(Debug, Clone)]
pub(super) enum Cell {
    /// The last value.
    Value(Option<f64>),
    Window(Arc<Window>),
    /// Readings in a row with one value: their first and last event times.
    Run {
        value: f64,
        first: Timestamp,
        last: Timestamp,
    },
    /// The last readings, the newest in the lowest bit.
    Bits(u64),
    Timer(Timer),
    Flag(Option<bool>),
}

/// Runs from the last sign of life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Timer {
    Idle,
    Running(Timestamp),
    Fired,
}

/// What is asked of a cell that holds numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ask {
    Value,
    Aggregate(Function),
    /// Per so many microseconds.
    Slope {
        per: i64,
    },
}

/// A reading that is judged, as cells see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) slot: Slot,
    pub(super) event_time: Timestamp,
    pub(super) arrival: Timestamp,
    /// `None`: not usable.
    pub(super) value: Option<f64>,
    pub(super) quality: Quality,
}

impl CellSpec {
    /// Whether its answer does not wait for a reading.
    pub(super) fn holds_at_rest(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::Silent { .. } | Self::Offline | Self::Status { .. }
        )
    }

    pub(super) fn empty(&self) -> Cell {
        match self {
            Self::Value { .. } => Cell::Value(None),
            Self::Window { micros, .. } => Cell::Window(Arc::new(Window::new(*micros))),
            Self::Stuck { .. } => {
                Cell::Run { value: f64::NAN, first: Timestamp::MAX, last: Timestamp::MIN }
            }
            Self::CountOf { .. } => Cell::Bits(0),
            Self::Missing { .. } | Self::Silent { .. } => Cell::Timer(Timer::Idle),
            Self::Offline | Self::BadQuality { .. } | Self::Status { .. } => Cell::Flag(None),
        }
    }
}

impl Cell {
    /// Takes in a judged reading.
    pub(super) fn observe(&mut self, spec: &CellSpec, seen: &Seen) {
        match (self, spec, seen.value) {
            (Self::Value(value), CellSpec::Value { slot }, Some(new)) if *slot == seen.slot => {
                *value = Some(new);
            }
            (Self::Window(window), CellSpec::Window { slot, .. }, Some(value))
                if *slot == seen.slot =>
            {
                Arc::make_mut(window).add(Sample { time: seen.event_time.as_micros(), value });
            }
            (Self::Run { value, first, last }, CellSpec::Stuck { slot, .. }, Some(new))
                if *slot == seen.slot =>
            {
                if *value != new {
                    (*value, *first, *last) = (new, Timestamp::MAX, Timestamp::MIN);
                }
                *first = seen.event_time.min(*first);
                *last = seen.event_time.max(*last);
            }
            (Self::Bits(bits), CellSpec::CountOf { slot, check, .. }, Some(value))
                if *slot == seen.slot =>
            {
                *bits = (*bits << 1) | u64::from(check.is_met(value, false));
            }
            (Self::Timer(timer), CellSpec::Missing { slot, micros }, _) if *slot == seen.slot => {
                *timer = Timer::Running(seen.arrival.plus_micros(*micros));
            }
            (Self::Flag(flag), CellSpec::BadQuality { slot }, value) if *slot == seen.slot => {
                *flag = Some(value.is_none() || seen.quality == Quality::Bad);
            }
            _ => {}
        }
    }

    /// Takes in a sign of the device.
    pub(super) fn observe_sign(&mut self, spec: &CellSpec, at: Timestamp) {
        if let (Self::Timer(timer), CellSpec::Silent { micros }) = (self, spec) {
            *timer = Timer::Running(at.plus_micros(*micros));
        }
    }

    pub(super) fn observe_presence(&mut self, spec: &CellSpec, online: bool) {
        if let (Self::Flag(flag), CellSpec::Offline) = (self, spec) {
            *flag = Some(!online);
        }
    }

    pub(super) fn observe_status(&mut self, spec: &CellSpec, status: &str) {
        if let (Self::Flag(flag), CellSpec::Status { text, equals }) = (self, spec) {
            *flag = Some((text == status) == *equals);
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Timer(Timer::Running(deadline)) => Some(*deadline),
            _ => None,
        }
    }

    pub(super) fn fire(&mut self) {
        if let Self::Timer(timer) = self {
            *timer = Timer::Fired;
        }
    }

    pub(super) fn shift(&mut self, micros: i64) {
        if let Self::Timer(Timer::Running(deadline)) = self {
            *deadline = deadline.plus_micros(micros);
        }
    }

    /// The answer of a cell that is a yes or no; `None`: not known.
    pub(super) fn flag(&self, spec: &CellSpec) -> Option<bool> {
        match (self, spec) {
            (Self::Flag(flag), _) => *flag,
            (Self::Timer(timer), _) => Some(*timer == Timer::Fired),
            (Self::Run { first, last, .. }, CellSpec::Stuck { micros, .. }) => {
                (first <= last).then(|| last.micros_since(*first) >= *micros)
            }
            (Self::Bits(bits), CellSpec::CountOf { n, m, .. }) => {
                let mask = u64::MAX >> (64 - (*m).clamp(1, 64));
                Some((bits & mask).count_ones() >= *n)
            }
            _ => None,
        }
    }

    /// The number that a cell holds; `None`: not known.
    pub(super) fn number(&self, ask: Ask) -> Option<f64> {
        match (self, ask) {
            (Self::Value(value), Ask::Value) => *value,
            (Self::Window(window), Ask::Slope { per }) => {
                let is_wide = window.span() >= window.width() / 2;
                let slope = window.moments().slope().filter(|_| is_wide)?;
                Some(slope * per as f64)
            }
            (Self::Window(window), Ask::Aggregate(function)) if window.len() > 0 => {
                let moments = window.moments();
                match function {
                    Function::Mean => Some(moments.mean),
                    Function::Min => Some(moments.min),
                    Function::Max => Some(moments.max),
                    Function::Count => Some(moments.count),
                    Function::Stddev => moments.stddev(),
                }
            }
            _ => None,
        }
    }
}
