//! The MQTT broker: 3.1.1 and 5.0 on one port.
//!
//! Knows nothing of devices, readings or SQL. A socket is accepted (`listener`), decrypted and
//! unwrapped (`transport`, `websocket`), becomes a connection (`handshake`, `connection`), whose
//! packets (`codec`) are authorised, offered to the tap and routed (`hooks`, `resolver`, `router`) to
//! the sessions of those who subscribed. The tap decides when a message is routed and acknowledged:
//! that is how an acknowledgement can mean *stored*. What the broker itself must not forget goes to
//! the store in the same way (`journal`, `plan`, `saved`).

mod broker;
mod codec;
mod connection;
mod counters;
mod crowd;
mod entries;
mod handover;
mod handshake;
mod hooks;
mod inbound;
mod inflight;
mod journal;
mod limits;
mod link;
mod listener;
#[cfg(test)]
mod model;
mod outbound;
mod output;
mod pace;
mod packet;
mod plan;
mod publication;
mod queue;
mod reason;
mod replays;
mod resolver;
mod retained;
mod router;
mod saved;
mod session;
mod sessions;
mod shared;
mod subscribing;
pub mod subscriptions;
mod sys;
mod timing;
pub mod topic;
mod transport;
mod upkeep;
mod websocket;
mod will;

pub use broker::{Broker, Hooks, Publisher};
pub use hooks::{
    Authorizer, Client, ConnectAttempt, Explanation, Identity, Offer, Outcome, PublishTap,
    SessionObserver, TappedMessage,
};
pub use journal::{
    Change, Completion, DeliveryFacts, Entry, SessionKey, SessionStore, StoredDelivery,
    StoredMessage, complete_all,
};
pub use limits::Limits;
pub use listener::Listener;
pub use pace::InboundRate;
pub use packet::{ClientId, PacketId, QoS, RetainHandling, SubscriptionOptions, Version};
pub use publication::{Publication, UnixMicros};
pub use reason::ReasonCode;
pub use resolver::Resolver;
pub use saved::{SavedDelivery, SavedReplay, SavedSession, SavedState, SavedSubscription};
pub use shared::SharedDispatch;
pub use sys::SystemTopics;
pub use transport::{ListenerSettings, Transport, WebSocketSettings};
pub use will::SessionWill;
