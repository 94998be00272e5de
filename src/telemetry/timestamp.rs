use std::{fmt, str::FromStr};

/// A point in time: UTC microseconds since 1970-01-01T00:00:00Z, years 0001 to 9999.
///
/// Written as RFC 3339 with milliseconds, or with microseconds where they are not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time such as 2025-12-19T06:30:00Z")]
pub struct InvalidTimestamp(pub String);

impl Timestamp {
    pub const UNIX_EPOCH: Self = Self(0);
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// Clamped to the years 0001 to 9999.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    pub fn as_micros(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to here; negative when `earlier` is later.
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.rem_euclid(1_000_000);
        let seconds = self.0.div_euclid(1_000_000);
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.")?;
        match micros % 1_000 {
            0 => write!(f, "{:03}Z", micros / 1_000),
            _ => write!(f, "{micros:06}Z"),
        }
    }
}

/// The proleptic Gregorian date of a day number (0 is 1970-01-01), by counting in 400-year eras.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// RFC 3339 with an offset; what has none is not accepted here (see `ingest::decode` for naive times).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>()
            .map(|time| Self::from_micros(time.as_microsecond()))
            .map_err(|_| InvalidTimestamp(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prints_milliseconds_unless_there_are_microseconds() {
        assert_eq!(
            Timestamp::from_micros(1_766_125_800_000_000).to_string(),
            "2025-12-19T06:30:00.000Z"
        );
        assert_eq!(
            Timestamp::from_micros(1_766_125_800_000_001).to_string(),
            "2025-12-19T06:30:00.000001Z"
        );
        assert_eq!(Timestamp::from_micros(-1_000).to_string(), "1969-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(micros in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        }
    }
}
