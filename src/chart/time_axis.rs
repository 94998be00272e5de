//! The axis of time: round ticks of the clocks and calendars of a zone, and their labels.

use std::ops::Range;

use jiff::{
    Span, Timestamp as Moment, ToSpan,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::Locale;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// More are never shown.
const TICKS_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Micros(i64),
    Hours(i64),
    Days(i64),
    Months(i64),
    Years(i64),
}

/// From what is nearly nothing to what lasts.
const STEPS: [Step; 42] = [
    Step::Micros(1_000),
    Step::Micros(2_000),
    Step::Micros(5_000),
    Step::Micros(10_000),
    Step::Micros(20_000),
    Step::Micros(50_000),
    Step::Micros(100_000),
    Step::Micros(200_000),
    Step::Micros(500_000),
    Step::Micros(SECOND),
    Step::Micros(2 * SECOND),
    Step::Micros(5 * SECOND),
    Step::Micros(10 * SECOND),
    Step::Micros(15 * SECOND),
    Step::Micros(30 * SECOND),
    Step::Micros(60 * SECOND),
    Step::Micros(120 * SECOND),
    Step::Micros(300 * SECOND),
    Step::Micros(600 * SECOND),
    Step::Micros(900 * SECOND),
    Step::Micros(1_800 * SECOND),
    Step::Hours(1),
    Step::Hours(2),
    Step::Hours(3),
    Step::Hours(6),
    Step::Hours(12),
    Step::Days(1),
    Step::Days(2),
    Step::Days(7),
    Step::Days(14),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Years(1),
    Step::Years(2),
    Step::Years(5),
    Step::Years(10),
    Step::Years(50),
    Step::Years(100),
    Step::Years(500),
    Step::Years(1_000),
];

#[derive(Debug, Clone)]
pub(super) struct TimeAxis {
    from: i64,
    to: i64,
    step: Step,
    zone: TimeZone,
    locale: Locale,
    ticks: Vec<i64>,
}

impl TimeAxis {
    /// From `from` to `to` (microseconds) with at most about `ticks` ticks.
    pub(super) fn new((from, to): (i64, i64), ticks: u32, zone: &TimeZone, locale: Locale) -> Self {
        let to = to.max(from.saturating_add(1));
        let least = to.saturating_sub(from) / i64::from(ticks.max(1));
        let step = STEPS.into_iter().find(|step| step.micros() >= least);
        let step = step.unwrap_or(Step::Years(1_000));
        let mut axis = Self { from, to, step, zone: zone.clone(), locale, ticks: Vec::new() };
        axis.ticks = axis.make_ticks();
        axis
    }

    pub(super) fn ticks(&self) -> &[i64] {
        &self.ticks
    }

    fn civil(&self, micros: i64) -> DateTime {
        let moment = Moment::from_microsecond(micros).unwrap_or(Moment::UNIX_EPOCH);
        self.zone.to_datetime(moment)
    }

    fn make_ticks(&self) -> Vec<i64> {
        let mut ticks: Vec<i64> = Vec::new();
        let start = self.civil(self.from);
        for n in 0..=TICKS_MAX {
            let Some(tick) = self.tick(start, n) else { break };
            if tick > self.to {
                break;
            }
            if tick >= self.from && ticks.last().is_none_or(|last| *last < tick) {
                ticks.push(tick);
            }
        }
        ticks
    }

    /// The tick of that number from the last before the start on.
    fn tick(&self, start: DateTime, n: usize) -> Option<i64> {
        let n = i64::try_from(n).ok()?;
        let (floor, span) = match self.step {
            Step::Micros(step) => {
                let moment = Moment::from_microsecond(self.from).ok()?;
                let offset = i64::from(self.zone.to_offset(moment).seconds()) * SECOND;
                let local = self.from.checked_add(offset)?;
                let floor = local.checked_sub(local.rem_euclid(step))?;
                return floor.checked_sub(offset)?.checked_add(n.checked_mul(step)?);
            }
            Step::Hours(step) => {
                let hour = start.hour() - start.hour() % i8::try_from(step).ok()?;
                (start.date().at(hour, 0, 0, 0), n.checked_mul(step)?.hours())
            }
            Step::Days(step) => {
                // 5 January 1970 was a Monday.
                let monday = Date::new(1970, 1, 5).ok()?;
                let days = i64::from(start.date().since(monday).ok()?.get_days());
                let back = days.rem_euclid(step);
                let date = start.date().checked_sub(Span::new().try_days(back).ok()?).ok()?;
                (date.at(0, 0, 0, 0), Span::new().try_days(n.checked_mul(step)?).ok()?)
            }
            Step::Months(step) => {
                let month = i64::from(start.month()) - 1;
                let month = i8::try_from(month - month % step + 1).ok()?;
                let date = Date::new(start.year(), month, 1).ok()?;
                (date.at(0, 0, 0, 0), Span::new().try_months(n.checked_mul(step)?).ok()?)
            }
            Step::Years(step) => {
                let year = i64::from(start.year());
                let floor = i16::try_from(year - year.rem_euclid(step)).ok()?.max(1);
                let date = Date::new(floor, 1, 1).ok()?;
                (date.at(0, 0, 0, 0), Span::new().try_years(n.checked_mul(step)?).ok()?)
            }
        };
        let civil = floor.checked_add(span).ok()?;
        let moment = self.zone.to_ambiguous_timestamp(civil).compatible().ok()?;
        Some(moment.as_microsecond())
    }

    /// What stands at a tick.
    pub(super) fn label(&self, micros: i64) -> String {
        let at = self.civil(micros);
        let date = (at.month(), at.day());
        match self.step {
            Step::Micros(step) if step < SECOND => {
                let (h, m, s) = (at.hour(), at.minute(), at.second());
                format!("{h:02}:{m:02}:{s:02}.{:03}", at.millisecond())
            }
            Step::Micros(step) if step < 60 * SECOND => {
                format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
            }
            Step::Micros(_) | Step::Hours(_) => format!("{:02}:{:02}", at.hour(), at.minute()),
            Step::Days(_) => self.day(date),
            Step::Months(_) => self.month(at.month()),
            Step::Years(_) => at.year().to_string(),
        }
    }

    /// What stands below a tick's label where it differs from that of the tick before.
    pub(super) fn context(&self, micros: i64) -> Option<String> {
        let at = self.civil(micros);
        let year = match self.locale {
            Locale::English => at.year().to_string(),
            Locale::Chinese => format!("{}年", at.year()),
        };
        match self.step {
            Step::Micros(_) | Step::Hours(_) => {
                let day = self.day((at.month(), at.day()));
                Some(match self.locale {
                    Locale::English => format!("{day} {year}"),
                    Locale::Chinese => format!("{year}{day}"),
                })
            }
            Step::Days(_) | Step::Months(_) => Some(year),
            Step::Years(_) => None,
        }
    }

    fn day(&self, (month, day): (i8, i8)) -> String {
        match self.locale {
            Locale::English => format!("{day} {}", self.month(month)),
            Locale::Chinese => format!("{month}月{day}日"),
        }
    }

    fn month(&self, month: i8) -> String {
        const NAMES: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        match self.locale {
            Locale::English => {
                let at = usize::try_from(month - 1).unwrap_or_default();
                NAMES.get(at).copied().unwrap_or_default().to_owned()
            }
            Locale::Chinese => format!("{month}月"),
        }
    }
}

impl Step {
    /// About how long it is.
    fn micros(self) -> i64 {
        match self {
            Self::Micros(micros) => micros,
            Self::Hours(hours) => hours * HOUR,
            Self::Days(days) => days * DAY,
            Self::Months(months) => months * 30 * DAY,
            Self::Years(years) => years * 365 * DAY,
        }
    }
}

impl Ranged for TimeAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = i64;

    fn map(&self, micros: &i64, (from, to): (i32, i32)) -> i32 {
        let length = self.to.saturating_sub(self.from) as f64;
        let share = micros.saturating_sub(self.from) as f64 / length;
        from.saturating_add((share * f64::from(to.saturating_sub(from))).round() as i32)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<i64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<i64> {
        self.from..self.to
    }
}

impl ValueFormatter<i64> for TimeAxis {
    fn format_ext(&self, micros: &i64) -> String {
        self.label(*micros)
    }
}
