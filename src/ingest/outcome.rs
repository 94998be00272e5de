//! What became of each reading of a message, for senders who are told one by one.

use super::{
    rejection::{Rejection, RejectionReason},
    verdict::Verdict,
};
use crate::{
    alarm::engine::Happened,
    telemetry::{Quality, Timestamp},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingResult {
    Stored,
    /// Stored in place of another value of that time.
    Replaced,
    /// The same value is stored already.
    Duplicate,
    Refused(RejectionReason),
}

impl ReadingResult {
    pub fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Replaced => "replaced",
            Self::Duplicate => "duplicate",
            Self::Refused(_) => "refused",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ReadingOutcome {
    /// Of a refused part of a message: its place, where it has no name.
    pub sensor: String,
    pub result: ReadingResult,
    /// The following of what is stored.
    pub event_time: Option<Timestamp>,
    pub value: Option<f64>,
    pub quality: Option<Quality>,
    /// Why it was refused.
    pub detail: Option<String>,
}

/// A verdict with what it rests on. The default: not stored, nothing known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detailed {
    pub verdict: Verdict,
    /// In the order of the message, what could not be read last. An import has one for each of its
    /// readings.
    pub readings: Vec<ReadingOutcome>,
    /// Registered with this message.
    pub registers_device: bool,
    pub registers_sensors: Vec<String>,
    /// Of a message that was only tried out: what would have happened to alarms.
    pub alarms: Vec<Happened>,
}

impl ReadingOutcome {
    pub(super) fn refused(rejection: &Rejection) -> Self {
        Self {
            sensor: rejection.sensor.clone().unwrap_or_default(),
            result: ReadingResult::Refused(rejection.reason),
            event_time: None,
            value: None,
            quality: None,
            detail: Some(rejection.detail.clone()),
        }
    }
}

/// What is done with a reading for whose sensor and time another value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Keep,
    /// It takes the other's place.
    Replace,
}

/// On what terms readings are taken that do not come from their device at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportTerms {
    pub on_conflict: OnConflict,
    /// Whether alarm rules see them.
    pub is_judged: bool,
}
