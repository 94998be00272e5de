//! Conformance to MQTT 3.1.1 and 5.0, statement by statement, through raw sockets.
//!
//! One module for each part of the specifications; what shows which statement stands in
//! docs/mqtt-conformance.md. A case that both versions have is run in both.

mod connack;
mod connect;
mod packets;
mod property;
