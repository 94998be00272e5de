use crate::telemetry::{Quality, Timestamp};

/// The place of a sensor among those that a rule looks at (see [`super::CompiledRule::slot`]); 0 in
/// a rule that has one state per sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Slot(pub u8);

/// One reading as a rule sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgedReading {
    pub sensor: Slot,
    pub event_time: Timestamp,
    pub received_at: Timestamp,
    pub value: Option<f64>,
    pub quality: Quality,
    /// Filled in afterwards: older than the sensor's newest event time and than `received_at` less
    /// the tolerance.
    pub late: bool,
}

/// What a rule's state is fed with, in order of arrival. Of one message the status comes first, then
/// its readings in their order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input<'a> {
    Reading(JudgedReading),
    /// Any message of the device; a reading or a status is one without saying so.
    Sign {
        at: Timestamp,
    },
    Presence {
        online: bool,
        at: Timestamp,
    },
    /// The status text that the device reports.
    Status {
        text: &'a str,
        at: Timestamp,
    },
    /// Everything that arrived before `watermark` has been fed.
    Tick {
        watermark: Timestamp,
    },
    /// The broker was not running; silence does not count meanwhile.
    Down {
        from: Timestamp,
        to: Timestamp,
    },
    /// An operator clears the alarm: no level is raised again before its condition was false.
    Clear {
        at: Timestamp,
    },
}
