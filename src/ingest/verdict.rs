//! What becomes of a message, and how its sender is told.

use crate::{
    mqtt::{Explanation, Outcome, ReasonCode},
    telemetry::Timestamp,
};

use super::rejection::{Rejection, RejectionReason};

/// Refused sensors named in one acknowledgement.
const NAMED_MAX: usize = 20;

/// The outcome of a message. Anything but `Unavailable` is final.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Verdict {
    /// All of it is stored. `accepted` counts readings, duplicates included; `event_time` is the
    /// first one's.
    Stored { accepted: usize, duplicates: usize, event_time: Option<Timestamp> },
    /// Some of it is stored, some refused.
    Partial { accepted: usize, rejections: Vec<Rejection> },
    /// Kept until somebody approves the device.
    Held,
    /// None of it is stored, and a resend would not change that.
    Refused(Vec<Rejection>),
    /// Not stored; a resend may be.
    #[default]
    Unavailable,
}

impl Verdict {
    /// A metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Stored { .. } => "stored",
            Self::Partial { .. } => "partial",
            Self::Held => "held",
            Self::Refused(_) => "refused",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether subscribers get the message.
    pub(super) fn is_routed(&self) -> bool {
        matches!(self, Self::Stored { .. } | Self::Held | Self::Partial { .. })
    }

    /// Whether it is for the device's standing that nothing was taken, whatever the message says.
    pub(super) fn is_for_the_device(&self) -> bool {
        use RejectionReason::{BlockedDevice, UnknownDevice};
        match self {
            Self::Held => true,
            Self::Refused(rejections) => {
                rejections.iter().any(|r| matches!(r.reason, BlockedDevice | UnknownDevice))
            }
            Self::Stored { .. } | Self::Partial { .. } | Self::Unavailable => false,
        }
    }

    pub fn accepted(&self) -> usize {
        match self {
            Self::Stored { accepted, .. } | Self::Partial { accepted, .. } => *accepted,
            Self::Held | Self::Refused(_) | Self::Unavailable => 0,
        }
    }

    pub fn rejections(&self) -> &[Rejection] {
        match self {
            Self::Partial { rejections, .. } | Self::Refused(rejections) => rejections,
            Self::Stored { .. } | Self::Held | Self::Unavailable => &[],
        }
    }

    /// In a sentence.
    pub fn summary(&self) -> String {
        match self {
            Self::Stored { accepted, .. } => format!("{accepted} stored"),
            Self::Partial { accepted, rejections } => {
                format!("{accepted} stored, {} refused", rejections.len())
            }
            Self::Held => "held until the device is approved".to_owned(),
            Self::Refused(rejections) => {
                rejections.first().map_or_else(|| "refused".to_owned(), ToString::to_string)
            }
            Self::Unavailable => "the store does not answer".to_owned(),
        }
    }

    /// As an acknowledgement says it. `claims_utf8`: the message's format indicator does.
    pub(super) fn outcome(&self, claims_utf8: bool) -> Outcome {
        match self {
            Self::Stored { .. } | Self::Held => Outcome::Accepted,
            Self::Partial { .. } => Outcome::Partial(self.explanation()),
            Self::Refused(rejections) => {
                let first = rejections.first().map(|rejection| rejection.reason);
                let reason = match first {
                    Some(RejectionReason::NotUtf8) if claims_utf8 => {
                        ReasonCode::PAYLOAD_FORMAT_INVALID
                    }
                    Some(RejectionReason::UnknownDevice | RejectionReason::BlockedDevice) => {
                        ReasonCode::NOT_AUTHORIZED
                    }
                    Some(RejectionReason::DeviceId) => ReasonCode::TOPIC_NAME_INVALID,
                    Some(RejectionReason::HoldFull) => ReasonCode::QUOTA_EXCEEDED,
                    _ => ReasonCode::IMPLEMENTATION_SPECIFIC,
                };
                Outcome::Refused(reason, self.explanation())
            }
            Self::Unavailable => Outcome::Unavailable,
        }
    }

    fn explanation(&self) -> Explanation {
        let rejections = self.rejections();
        let mut user_properties = vec![
            ("accepted".to_owned(), self.accepted().to_string()),
            ("rejected".to_owned(), rejections.len().to_string()),
        ];
        user_properties.extend(
            rejections.iter().take(NAMED_MAX).filter_map(|rejection| {
                Some((rejection.sensor.clone()?, rejection.detail.clone()))
            }),
        );
        Explanation { reason_string: Some(self.summary()), user_properties }
    }
}
