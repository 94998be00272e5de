//! A message on its way to the committer: what it says, whose it is, who waits for the verdict.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    decode::Decoded,
    outcome::{Detailed, ImportTerms, OnConflict},
    rejection::Rejection,
    verdict::Verdict,
};
use crate::{
    alarm::engine::Order,
    mqtt::{Change, Completion, Entry, Publisher, QoS, TappedMessage, Version},
    registry::Device,
    routes::MessageKind,
    telemetry::{DeviceKey, DeviceKind, Timestamp},
};

/// What the committer is handed, in order.
pub(super) enum Task {
    Message(Box<Submission>),
    /// A message that is to be handled and then forgotten.
    Rehearsal(Box<Submission>),
    /// Somebody wants something of the alarms.
    Order(Box<Order>),
    /// What the broker wants kept.
    Broker(Box<Entry>),
}

impl Task {
    /// Bytes that it holds on to while it waits.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Message(submission) | Self::Rehearsal(submission) => submission.weight(),
            Self::Broker(entry) => entry.weight(),
            Self::Order(order) => order.weight(),
        }
    }

    pub(super) fn into_order(self) -> Option<Order> {
        match self {
            Self::Order(order) => Some(*order),
            Self::Message(_) | Self::Rehearsal(_) | Self::Broker(_) => None,
        }
    }

    pub(super) fn into_rehearsal(self) -> Option<Box<Submission>> {
        match self {
            Self::Rehearsal(submission) => Some(submission),
            Self::Message(_) | Self::Broker(_) | Self::Order(_) => None,
        }
    }

    pub(super) fn received_at(&self) -> Option<Timestamp> {
        match self {
            Self::Message(submission) => Some(submission.received_at),
            Self::Rehearsal(_) | Self::Broker(_) | Self::Order(_) => None,
        }
    }
}

pub(super) struct Submission {
    pub(super) device: DeviceRef,
    pub(super) kind: MessageKind,
    pub(super) content: Result<Decoded, Rejection>,
    pub(super) received_at: Timestamp,
    /// The same on the monotonic scale.
    pub(super) received: Duration,
    pub(super) origin: Origin,
    pub(super) reply: Reply,
    /// Set for readings that do not come from their device at this moment: they are no sign of its
    /// life, are not in its last report, and are never held or quarantined.
    pub(super) import: Option<ImportTerms>,
}

/// Whose message it is.
pub(super) enum DeviceRef {
    Known(Arc<Device>),
    /// Not registered when the message came in.
    New(DeviceKey, DeviceKind),
    /// What stands in its place is no device id.
    Illegal,
}

impl DeviceRef {
    pub(super) fn key(&self) -> Option<&DeviceKey> {
        match self {
            Self::Known(device) => Some(&device.key),
            Self::New(key, _) => Some(key),
            Self::Illegal => None,
        }
    }
}

/// Where a message came from, for the quarantine and for telling a resend from a new message.
pub(super) struct Origin {
    pub(super) source: &'static str,
    /// The MQTT topic or the HTTP path.
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    /// The route's number, for the metrics; `None` for HTTP.
    pub(super) route: Option<usize>,
    /// A message that was kept before: it is not to be kept again when it is refused again.
    pub(super) is_kept_already: bool,
    /// A message that came before, and was not taken then.
    pub(super) is_replayed: bool,
    /// The message of the hold that this is: it leaves it in the transaction that takes it.
    pub(super) held: Option<i64>,
}

/// Identifies a message of a persistent session across reconnects.
pub(super) struct Delivery<'a> {
    pub(super) client_id: &'a str,
    pub(super) packet_id: u16,
    /// The client says that it may have sent it before.
    pub(super) is_resend: bool,
}

/// Who waits for the verdict. Dropped, both read as "not stored".
pub(super) enum Reply {
    Mqtt(TappedMessage),
    Waiting(oneshot::Sender<Verdict>),
    /// Wants to know of each reading.
    Detailed(oneshot::Sender<Detailed>),
}

impl Submission {
    /// Whether nobody waits for the verdict any more.
    pub(super) fn is_given_up(&self) -> bool {
        match &self.reply {
            Reply::Mqtt(_) => false,
            Reply::Waiting(sender) => sender.is_closed(),
            Reply::Detailed(sender) => sender.is_closed(),
        }
    }

    pub(super) fn delivery(&self) -> Option<Delivery<'_>> {
        let Reply::Mqtt(message) = &self.reply else {
            return None;
        };
        let packet_id = message.packet_id?.get();
        message.client.session_is_persistent.then(|| Delivery {
            client_id: &message.client.client_id,
            packet_id,
            is_resend: message.dup && !message.client.clean_start,
        })
    }

    pub(super) fn client_id(&self) -> Option<&str> {
        match &self.reply {
            Reply::Mqtt(message) => Some(&message.client.client_id),
            Reply::Waiting(_) | Reply::Detailed(_) => None,
        }
    }

    pub(super) fn connection(&self) -> Option<u64> {
        match &self.reply {
            Reply::Mqtt(message) => Some(message.client.connection),
            Reply::Waiting(_) | Reply::Detailed(_) => None,
        }
    }

    /// What the broker wants kept with the message, should it be accepted.
    pub(super) fn changes(&self) -> &[Change] {
        match &self.reply {
            Reply::Mqtt(message) => message.resolver.changes(),
            Reply::Waiting(_) | Reply::Detailed(_) => &[],
        }
    }

    /// Whether alarm rules are to see its readings.
    pub(super) fn is_judged(&self) -> bool {
        // What a device said while it waited for its approval is no news.
        !self.origin.is_replayed && self.import.is_none_or(|terms| terms.is_judged)
    }

    pub(super) fn on_conflict(&self) -> OnConflict {
        self.import.map_or(OnConflict::Keep, |terms| terms.on_conflict)
    }

    pub(super) fn wants_details(&self) -> bool {
        matches!(self.reply, Reply::Detailed(_))
    }

    fn weight(&self) -> usize {
        let imported = match (&self.import, &self.content) {
            (Some(_), Ok(decoded)) => decoded.readings.len() * 64,
            _ => 0,
        };
        self.origin.topic.len() + self.origin.payload.len() + imported + 256
    }

    /// Tells whoever waits; an MQTT message's resolver comes back, to be answered with its batch.
    pub(super) fn answer(self, told: Detailed, publisher: &Publisher) -> Option<Completion> {
        let message = match self.reply {
            // Where nobody waits any more, the request was given up.
            Reply::Waiting(sender) => {
                let _ = sender.send(told.verdict);
                return None;
            }
            Reply::Detailed(sender) => {
                let _ = sender.send(told);
                return None;
            }
            Reply::Mqtt(message) => message,
        };
        let verdict = told.verdict;
        let is_deaf = message.client.version == Version::V4 || message.qos() == QoS::AtMostOnce;
        if is_deaf
            && !verdict.rejections().is_empty()
            && let Some(device) = self.device.key()
        {
            publish_errors(publisher, device, &message, &verdict, self.received_at);
        }
        let outcome = verdict.outcome(message.publication.is_utf8);
        Some(Completion::Message(message.resolver, outcome))
    }
}

/// Tells a sender whose acknowledgement can't say it, on the device's own topic.
fn publish_errors(
    publisher: &Publisher,
    device: &DeviceKey,
    message: &TappedMessage,
    verdict: &Verdict,
    received_at: Timestamp,
) {
    let rejected: Vec<_> = verdict
        .rejections()
        .iter()
        .map(|rejection| json!({"sensor": rejection.sensor, "detail": rejection.detail}))
        .collect();
    let body = json!({
        "topic": message.publication.topic.as_str(),
        "received_at": received_at.to_string(),
        "reason": verdict.rejections().first().map(|rejection| rejection.reason.label()),
        "accepted": verdict.accepted(),
        "rejected": rejected,
        "packet_id": message.packet_id.map(std::num::NonZero::get),
    });
    let topic = format!("devices/{device}/errors");
    let payload = Bytes::from(body.to_string());
    if let Err(error) = publisher.publish(&topic, payload, QoS::AtMostOnce, false) {
        tracing::debug!(%error, topic, "a verdict could not be published");
    }
}
