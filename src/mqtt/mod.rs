//! The MQTT broker: 3.1.1 and 5.0 on one port.
//!
//! Knows nothing of devices, readings or SQL. A socket is accepted (`listener`), decrypted and
//! unwrapped (`transport`, `websocket`), becomes a connection (`handshake`, `connection`), whose packets (`codec`) are authorised, offered to the tap and routed
//! (`hooks`, `resolver`, `router`) to the sessions of those who subscribed. The tap decides when a
//! message is routed and acknowledged: that is how an acknowledgement can mean *stored*.

mod broker;
mod codec;
mod connection;
mod counters;
mod handshake;
mod hooks;
mod inbound;
mod inflight;
mod limits;
mod link;
mod listener;
mod outbound;
mod output;
mod packet;
mod publication;
mod reason;
mod resolver;
mod retained;
mod router;
mod session;
mod shared;
pub mod subscriptions;
pub mod topic;
mod transport;
mod websocket;
mod will;

pub use broker::{Broker, Hooks, Publisher};
pub use hooks::{
    Authorizer, Client, ConnectAttempt, Explanation, Identity, Offer, Outcome, PublishTap,
    SessionObserver, TappedMessage,
};
pub use limits::Limits;
pub use listener::Listener;
pub use packet::{ClientId, PacketId, QoS, RetainHandling, SubscriptionOptions, Version};
pub use publication::{Publication, UnixMicros};
pub use reason::ReasonCode;
pub use resolver::Resolver;
pub use transport::{ListenerSettings, Transport};
