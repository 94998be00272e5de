use super::Transition;
use crate::telemetry::Timestamp;

/// What operators do to an alarm, and the engine for rules that suppress one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command<'a> {
    Acknowledge,
    Unacknowledge,
    /// With the transition that [`super::Input::Clear`] gave.
    Clear(&'a Transition),
    Shelve {
        until: Timestamp,
    },
    Unshelve,
    /// Clears a latched alarm whose condition is gone.
    Reset,
    TakeOutOfService,
    PutInService,
    Suppress,
    Unsuppress,
    /// The rule was disabled or deleted: the alarm is cleared.
    DisableRule {
        /// [`super::State::worst`] until then.
        worst: Option<f64>,
    },
}

impl Command<'_> {
    /// The worst value that was read before the command ends the alarm.
    pub(super) fn worst(self) -> Option<f64> {
        match self {
            Self::Clear(transition) => transition.peak,
            Self::DisableRule { worst } => worst,
            _ => None,
        }
    }
}

/// Why a command does not fit the alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("there is no such alarm")]
    NoAlarm,
    #[error("the alarm is closed")]
    Closed,
    #[error("the alarm is acknowledged already")]
    AlreadyAcknowledged,
    #[error("the alarm is not acknowledged")]
    NotAcknowledged,
    #[error("the alarm is not active")]
    NotActive,
    #[error("the alarm is not latched, or its condition still holds")]
    NotLatched,
    #[error("an alarm is shelved until a time to come")]
    ShelvedInPast,
    #[error("the alarm is not shelved")]
    NotShelved,
    #[error("the alarm is out of service already")]
    AlreadyOutOfService,
    #[error("the alarm is in service")]
    InService,
}
