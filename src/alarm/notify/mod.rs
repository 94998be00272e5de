//! Notifications: from a row of the outbox to a mail, a request, a message or a line of the log.
//!
//! Pure: who is told (`target`, `matcher`, `routing`, `silence`), what goes out together (`group`),
//! when it is tried again (`retry`, `pace`), how it reads (`render`). Stages: the `worker` keeps one
//! `lane` a target, which reads the target's due rows, groups them, and hands each message to the
//! target's `channel`. The rows are the only state: a lane that ends anywhere leaves them waiting.
//! At least once: a row is marked as begun before it is sent and as sent afterwards, and every try of
//! a message bears the same key.

mod address;
mod channel;
mod channel_settings;
mod group;
mod lane;
mod matcher;
mod notice;
mod notifier;
mod outbox;
mod pace;
mod reload;
mod render;
mod retry;
mod routing;
mod secret;
mod silence;
mod stored;
mod target;
mod worker;

pub use channel::{Channels, Failure, Message};
pub use channel_settings::{
    ChannelSettings, EmailSettings, LogSettings, MqttSettings, Security, WebhookSettings,
};
pub use group::{group_key, idempotency_key};
pub use matcher::Matcher;
pub use notice::{DeviceRef, LastValue, Notice, NoticeKind, RuleRef, SensorRef};
pub use notifier::Notifier;
pub use outbox::{Due, Outbox, Waiting, WaitingSummary};
pub use reload::SilenceBody;
pub use render::Look;
pub use retry::Retry;
pub use routing::Routing;
pub use secret::Secret;
pub use silence::Silence;
pub use target::{ChannelKind, InvalidTarget, Target};
pub use worker::{Keeping, TARGETS_MAX, Worker};

pub use super::rule::Severity;
