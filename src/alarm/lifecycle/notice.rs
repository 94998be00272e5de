use crate::{alarm::rule::Severity, telemetry::Timestamp};

/// Something to be told about an alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub kind: NoticeKind,
    /// When it is due, by our clock.
    pub at: Timestamp,
    pub severity: Severity,
    pub value: Option<f64>,
    pub event_time: Option<Timestamp>,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    Raised,
    Escalated,
    Cleared,
    Repeated,
}

impl NoticeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated => "escalated",
            Self::Cleared => "cleared",
            Self::Repeated => "repeated",
        }
    }
}
