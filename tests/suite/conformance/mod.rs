//! Conformance to MQTT 3.1.1 and 5.0, statement by statement, through raw sockets.
//!
//! One module for each part of the specifications; what shows which statement stands in
//! docs/mqtt-conformance.md. A case that both versions have is run in both.

mod auth;
mod connack;
mod connect;
mod delivery;
mod packets;
mod ping_disconnect;
mod property;
mod publish;
mod retain;
mod sessions;
mod subscribe;
mod unsubscribe;
mod wills;
