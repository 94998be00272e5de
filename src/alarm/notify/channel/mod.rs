//! The channels: each takes a message and says whether it arrived.
//!
//! No channel waits for another: every target has its own lane, and every try its own time.

mod email;
mod log;
mod mqtt;
mod signature;
mod webhook;

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use self::{email::Email, mqtt::Mqtt, webhook::Webhook};
use super::{ChannelSettings, Look, Notice, Target, group};
use crate::{clock::Clock, mqtt::Publisher, telemetry::Timestamp, tls::TlsClient};

pub(super) use self::email::is_mailbox;

/// What goes out at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The same for every try, different for every other message.
    pub key: String,
    pub target: String,
    pub group_key: String,
    /// Oldest first; at least one.
    pub notices: Vec<Notice>,
}

/// Why a message did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Worth another try, not before `after` where the other side said so.
    #[error("{why}")]
    Temporary { why: String, after: Option<Duration> },
    /// The same message will never be taken.
    #[error("{why}")]
    Permanent { why: String },
}

impl Failure {
    fn temporary(why: impl Into<String>) -> Self {
        Self::Temporary { why: why.into(), after: None }
    }

    fn permanent(why: impl Into<String>) -> Self {
        Self::Permanent { why: why.into() }
    }
}

/// All channels; one for the process.
pub struct Channels {
    email: Email,
    webhook: Webhook,
    mqtt: Mqtt,
    look: Look,
    clock: Clock,
}

impl Channels {
    pub fn new(publisher: Publisher, look: Look, clock: Clock) -> Self {
        let tls = Arc::new(TlsClient::default());
        Self {
            email: Email::new(tls.clone()),
            webhook: Webhook::new(tls),
            mqtt: Mqtt::new(publisher),
            look,
            clock,
        }
    }

    /// One try, no longer than the target's time.
    ///
    /// # Errors
    /// Why it did not arrive; where it is not known whether it did, that is a failure, too.
    pub async fn send(&self, target: &Target, message: &Message) -> Result<(), Failure> {
        let time = target.channel.timeout();
        match timeout(time, self.try_once(target, message)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::temporary(format!("no answer within {time:?}"))),
        }
    }

    async fn try_once(&self, target: &Target, message: &Message) -> Result<(), Failure> {
        match &target.channel {
            ChannelSettings::Email(settings) => {
                self.email.send(settings, message, &self.look).await
            }
            ChannelSettings::Webhook(settings) => {
                let now = self.clock.unix_micros();
                self.webhook.send(settings, message, &self.look, now).await
            }
            ChannelSettings::Mqtt(_) => self.mqtt.send(message),
            ChannelSettings::Log(_) => {
                log::send(message);
                Ok(())
            }
        }
    }

    /// Sends a test at once, past the outbox.
    ///
    /// # Errors
    /// Why it did not arrive.
    pub async fn send_test(&self, target: &Target) -> Result<(), Failure> {
        let now = Timestamp::from_micros(self.clock.unix_micros());
        let message = Message {
            key: group::idempotency_key(&format!("test:{}", now.as_micros()), &target.name),
            target: target.name.clone(),
            group_key: "{}".to_owned(),
            notices: vec![Notice::test(&target.name, now)],
        };
        self.send(target, &message).await
    }
}
