//! When a rule may raise: hours of weekdays in a time zone.
//!
//! [`Schedule`] is what people write; [`Calendar`] is made of it once, with the zones looked up.

use std::fmt;

use jiff::{ToSpan, civil, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::telemetry::Timestamp;

/// Any of these hours; none given: always.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule(pub Vec<Hours>);

/// From a time of day to another, on some weekdays. Hours that run past midnight belong to the day
/// on which they begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// None given: every day.
    #[serde(default)]
    pub weekdays: Vec<Weekday>,
    #[serde(default = "TimeOfDay::midnight")]
    pub from: TimeOfDay,
    #[serde(default = "TimeOfDay::end_of_day")]
    pub to: TimeOfDay,
    #[serde(default = "utc")]
    pub zone: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Minutes since midnight, 0 to 1440, written `"08:30"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

const DAY: u16 = 24 * 60;

fn utc() -> String {
    "UTC".to_owned()
}

impl TimeOfDay {
    fn midnight() -> Self {
        Self(0)
    }

    fn end_of_day() -> Self {
        Self(DAY)
    }

    fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        let is_two_digits =
            |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if !is_two_digits(hours) || !is_two_digits(minutes) {
            return None;
        }
        let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
        let total = hours * 60 + minutes;
        (minutes < 60 && total <= DAY).then_some(Self(total))
    }

    /// The time on a day, and the first minute of the next for 24:00.
    fn on(self, date: civil::Date) -> Option<civil::DateTime> {
        date.at(0, 0, 0, 0).checked_add(i64::from(self.0).minutes()).ok()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("{text:?} is no time of day from \"00:00\" to \"24:00\""))
        })
    }
}

struct OneOrMore;

impl<'de> de::Visitor<'de> for OneOrMore {
    type Value = Schedule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{weekdays, from, to, zone} or a list of such")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Schedule, E> {
        Ok(Schedule::default())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
        let hours = Hours::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Schedule(vec![hours]))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Schedule, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(Schedule)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [hours] => hours.serialize(serializer),
            list => list.serialize(serializer),
        }
    }
}

impl Weekday {
    fn of(date: civil::Date) -> Self {
        match date.weekday() {
            civil::Weekday::Monday => Self::Mon,
            civil::Weekday::Tuesday => Self::Tue,
            civil::Weekday::Wednesday => Self::Wed,
            civil::Weekday::Thursday => Self::Thu,
            civil::Weekday::Friday => Self::Fri,
            civil::Weekday::Saturday => Self::Sat,
            civil::Weekday::Sunday => Self::Sun,
        }
    }
}

/// A schedule that can be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar(Vec<(Hours, TimeZone)>);

impl Calendar {
    /// `None` for a schedule without hours, which is always open.
    ///
    /// # Errors
    /// The index of the hours whose zone is not known.
    pub fn new(schedule: &Schedule) -> Result<Option<Self>, usize> {
        let mut hours = Vec::new();
        for (index, entry) in schedule.0.iter().enumerate() {
            let zone = TimeZone::get(&entry.zone).map_err(|_| index)?;
            hours.push((entry.clone(), zone));
        }
        Ok((!hours.is_empty()).then_some(Self(hours)))
    }

    pub fn contains(&self, at: Timestamp) -> bool {
        let Some(at) = instant(at) else { return false };
        self.0.iter().any(|(hours, zone)| hours.contain(zone.to_datetime(at)))
    }

    /// The first moment after `at` at which [`Calendar::contains`] changes; `None` when it does not
    /// within the next eight days, in which every hour of a week has passed.
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let mut candidates = Vec::new();
        for (hours, zone) in &self.0 {
            hours.edges(instant(at)?, zone, &mut candidates);
        }
        candidates.retain(|candidate| *candidate > at);
        candidates.sort_unstable();
        let is_open = self.contains(at);
        candidates.into_iter().find(|candidate| self.contains(*candidate) != is_open)
    }
}

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(at.as_micros()).ok()
}

impl Hours {
    fn contain(&self, local: civil::DateTime) -> bool {
        let begins_on = |date: civil::Date| {
            self.weekdays.is_empty() || self.weekdays.contains(&Weekday::of(date))
        };
        let minute = TimeOfDay(local.hour() as u16 * 60 + local.minute() as u16);
        let date = local.date();
        if self.from < self.to {
            return begins_on(date) && self.from <= minute && minute < self.to;
        }
        let yesterday = date.yesterday().is_ok_and(begins_on);
        (begins_on(date) && self.from <= minute) || (yesterday && minute < self.to)
    }

    /// Moments at which it may begin or end; where clocks are turned, that moment too, since the
    /// local time jumps there.
    fn edges(&self, at: jiff::Timestamp, zone: &TimeZone, into: &mut Vec<Timestamp>) {
        let today = zone.to_datetime(at).date();
        let mut add = |at: jiff::Timestamp| into.push(Timestamp::from_micros(at.as_microsecond()));
        for days in -1..=8 {
            let Ok(date) = today.checked_add(days.days()) else { continue };
            for edge in [self.from.on(date), self.to.on(date)].into_iter().flatten() {
                let ambiguous = zone.to_ambiguous_timestamp(edge);
                ambiguous.earlier().into_iter().for_each(&mut add);
                ambiguous.later().into_iter().for_each(&mut add);
            }
        }
        let turned = zone.following(at).next().map(|turned| turned.timestamp());
        turned.into_iter().for_each(&mut add);
    }
}
