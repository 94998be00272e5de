//! Bytes to packets and back, for MQTT 3.1.1 and 5.0.
//!
//! Stands between the socket and `connection`. The packet forms that `rumqttd::protocol` reads and
//! writes soundly are left to it; every complete frame is checked here first (`check`), because that
//! crate does not bound property loops, accepts duplicates and reserved bits. PUBLISH, the
//! acknowledgements and DISCONNECT are done by hand: PUBLISH without copying the payload.
//!
//! Invariants: an error on a complete frame is final, never "wait for more"; no input panics.

mod ack;
mod check;
mod connect;
mod disconnect;
mod frame;
mod publish;
mod read;
mod subscribe;
mod write;

pub(crate) use ack::write_ack;
pub(crate) use connect::claimed_version;
pub(crate) use connect::write_connack;
pub(crate) use disconnect::write_disconnect;
pub(crate) use frame::{Frame, next_frame};
pub(crate) use publish::{PublishHead, write_publish_head};
pub(crate) use subscribe::{write_suback, write_unsuback};
pub(crate) use write::write_pingresp;

use super::packet::{Incoming, Version};
use super::reason::ReasonCode;

/// Why a frame was refused. Each carries what was wrong in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    #[error("packet larger than the maximum packet size")]
    TooLarge,
    #[error("protocol name or level {0} is not supported")]
    UnsupportedVersion(u8),
}

impl CodecError {
    pub(crate) fn reason(self) -> ReasonCode {
        match self {
            Self::Malformed(_) => ReasonCode::MALFORMED_PACKET,
            Self::Protocol(_) => ReasonCode::PROTOCOL_ERROR,
            Self::TooLarge => ReasonCode::PACKET_TOO_LARGE,
            Self::UnsupportedVersion(_) => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        }
    }
}

/// Decodes the first frame of a connection, which must be a CONNECT.
pub(crate) fn decode_connect(frame: Frame) -> Result<Incoming, CodecError> {
    match frame.packet_type() {
        1 if frame.has_padded_length() && claimed_version(&frame) == Some(Version::V5) => {
            Err(read::PADDED)
        }
        1 => connect::read(frame),
        _ => Err(CodecError::Protocol("the first packet must be CONNECT")),
    }
}

/// Decodes any later frame.
pub(crate) fn decode(frame: Frame, version: Version) -> Result<Incoming, CodecError> {
    if version == Version::V5 && frame.has_padded_length() {
        return Err(read::PADDED);
    }
    let flags = frame.flags();
    let expected_flags = match frame.packet_type() {
        6 | 8 | 10 => 0b0010,
        _ => 0,
    };
    if frame.packet_type() != 3 && flags != expected_flags {
        return Err(CodecError::Malformed("reserved flags of the fixed header"));
    }
    match frame.packet_type() {
        1 => Err(CodecError::Protocol("a second CONNECT")),
        3 => publish::read(frame, version),
        4..=7 => ack::read(&frame, version),
        8 => subscribe::read_subscribe(frame, version),
        10 => subscribe::read_unsubscribe(frame, version),
        12 if frame.body().is_empty() => Ok(Incoming::PingReq),
        12 => Err(CodecError::Malformed("PINGREQ with a body")),
        14 => disconnect::read(&frame, version),
        15 if version == Version::V5 => Ok(Incoming::Auth),
        0 | 15 => Err(CodecError::Malformed("a packet type that does not exist")),
        _ => Err(CodecError::Protocol("a packet that only a server sends")),
    }
}
