//! How far a stream has come: in the readings, and in what happened to alarms. Pure.

use std::{fmt, str::FromStr};

use crate::telemetry::{InvalidPosition, Position};

/// Everything at or before it has been published. It is the id of events; to clients its text says
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Of the last reading.
    pub position: Position,
    /// The number of the last line of the alarms' history.
    pub alarm: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.position, self.alarm)
    }
}

impl FromStr for Cursor {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPosition(text.chars().take(80).collect());
        let (position, alarm) = text.rsplit_once('.').ok_or_else(invalid)?;
        let position = position.parse().map_err(|_| invalid())?;
        Ok(Self { position, alarm: alarm.parse().map_err(|_| invalid())? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::{SensorId, Timestamp};

    proptest! {
        #[test]
        fn reads_back_what_it_prints(
            received in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros(),
            sensor in any::<i64>(),
            event in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros(),
            alarm in any::<i64>(),
        ) {
            let position = Position {
                received_at: Timestamp::from_micros(received),
                sensor: SensorId(sensor),
                event_time: Timestamp::from_micros(event),
            };
            let cursor = Cursor { position, alarm };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn nonsense_is_no_cursor(text in "[0-9.x-]{0,30}") {
            if text.parse::<Cursor>().is_ok() {
                prop_assert_eq!(text.split('.').count(), 4);
            }
        }
    }
}
