//! Messages to subscribers of `alarms/{device}/{severity}/{rule}`, retained while the alarm is active.
//!
//! What the broker retains is the only memory. A topic that a notice makes stale is found by looking,
//! so a change of severity that was missed is mended by what is told next.

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Failure, Message};
use crate::{
    alarm::{
        notify::{
            Notice, NoticeKind,
            render::topic::{retained_after, topic},
        },
        rule::Severity,
    },
    mqtt::{Publisher, QoS, topic::InvalidTopic},
};

pub(super) struct Mqtt {
    publisher: Publisher,
    /// Held from reading what is retained to replacing it: two targets may be of this channel.
    turn: Mutex<()>,
}

impl Mqtt {
    pub(super) fn new(publisher: Publisher) -> Self {
        Self { publisher, turn: Mutex::default() }
    }

    /// A notice whose names make no legal topic is told to the log; the others go.
    pub(super) fn send(&self, message: &Message) -> Result<(), Failure> {
        let _turn = self.turn.lock();
        let mut refused = None;
        let mut published = 0;
        for notice in &message.notices {
            match self.publish(notice) {
                Ok(()) => published += 1,
                Err(error) => {
                    let (rule, device) = (&notice.rule.name, &notice.device.key);
                    tracing::warn!(rule, device, %error, "an alarm has no topic");
                    refused = Some(error);
                }
            }
        }
        match refused {
            Some(error) if published == 0 => Err(Failure::permanent(error.to_string())),
            _ => Ok(()),
        }
    }

    /// The alarm's own topic first: who watches sees it somewhere at any time.
    fn publish(&self, notice: &Notice) -> Result<(), InvalidTopic> {
        let own = topic(notice, notice.severity);
        if notice.kind == NoticeKind::Test {
            let payload = serde_json::to_vec(notice).unwrap_or_default();
            return self.publisher.publish(&own, payload.into(), QoS::AtLeastOnce, false);
        }
        self.replace(&own, notice, true)?;
        for severity in Severity::ALL {
            if severity != notice.severity {
                self.replace(&topic(notice, severity), notice, false)?;
            }
        }
        Ok(())
    }

    fn replace(&self, topic: &str, notice: &Notice, is_own: bool) -> Result<(), InvalidTopic> {
        let retained = self.publisher.retained(topic).unwrap_or_default();
        match retained_after(&retained, notice, is_own) {
            Some(payload) => {
                self.publisher.publish(topic, Bytes::from(payload), QoS::AtLeastOnce, true)
            }
            None => Ok(()),
        }
    }
}
