use std::{fmt, str::FromStr};

use super::{SensorId, Timestamp};

/// Where a reading stands in the order in which readings were stored.
///
/// Later messages have later times of receipt, so whoever knows the position of the last reading that
/// it saw knows which it has not seen, whatever has been restarted since. Written as three numbers with
/// dots between them; to clients they say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    pub received_at: Timestamp,
    pub sensor: SensorId,
    pub event_time: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id of a stream's event")]
pub struct InvalidPosition(pub String);

impl Position {
    /// After everything that was received by then.
    pub fn end_of(received_at: Timestamp) -> Self {
        Self { received_at, sensor: SensorId(i64::MAX), event_time: Timestamp::MAX }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (received_at, event_time) = (self.received_at.as_micros(), self.event_time.as_micros());
        write!(f, "{received_at}.{}.{event_time}", self.sensor.0)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split('.').map(str::parse::<i64>);
        let mut next = || numbers.next().and_then(Result::ok);
        let parts = (next(), next(), next());
        match (parts, numbers.next()) {
            ((Some(received_at), Some(sensor), Some(event_time)), None) => Ok(Self {
                received_at: Timestamp::from_micros(received_at),
                sensor: SensorId(sensor),
                event_time: Timestamp::from_micros(event_time),
            }),
            _ => Err(InvalidPosition(text.chars().take(80).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_back_what_it_prints(
            received in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros(),
            sensor in any::<i64>(),
            event in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros(),
        ) {
            let position = Position {
                received_at: Timestamp::from_micros(received),
                sensor: SensorId(sensor),
                event_time: Timestamp::from_micros(event),
            };
            prop_assert_eq!(position.to_string().parse::<Position>(), Ok(position));
        }

        #[test]
        fn nonsense_is_no_position(text in "[0-9.x-]{0,30}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(text.split('.').count(), 3);
                prop_assert!(position.received_at >= Timestamp::MIN);
            }
        }
    }
}
