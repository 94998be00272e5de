//! Conformance to MQTT 3.1.1 and 5.0, statement by statement, through raw sockets.
//!
//! One module for each part of the specifications; what shows which statement stands in
//! docs/mqtt-conformance.md. A case that both versions have is run in both.

mod alias;
mod auth;
mod connack;
mod connect;
mod delivery;
mod flow;
mod malformed;
mod packets;
mod ping_disconnect;
mod properties;
mod property;
mod publish;
mod retain;
mod sessions;
mod shared;
mod subscribe;
mod topics;
mod unsubscribe;
mod wills;
