//! CONNECT and CONNACK (MQTT 5.0 §3.1, §3.2).
//!
//! The crate reads the packet once its login is cut off: it takes an empty user name for an absent
//! one and wants passwords to be UTF-8. What it does not check is checked before.

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol::{
    self, ConnAckProperties, ConnectReturnCode, Packet, Protocol, v4::V4, v5::V5,
};

use super::{
    CodecError, Frame,
    check::{self, for_each_property},
    publish::read_properties,
    read::Reader,
    write::variable_integer,
};
use crate::mqtt::{
    packet::{ConnAck, Connect, Incoming, PublishProperties, QoS, Version, Will},
    reason::ReasonCode,
};

const ALLOWED: &[u8] = &[
    check::SESSION_EXPIRY,
    check::AUTHENTICATION_METHOD,
    check::AUTHENTICATION_DATA,
    check::REQUEST_PROBLEM_INFORMATION,
    check::REQUEST_RESPONSE_INFORMATION,
    check::RECEIVE_MAXIMUM,
    check::TOPIC_ALIAS_MAXIMUM,
    check::USER_PROPERTY,
    check::MAXIMUM_PACKET_SIZE,
];

const ALLOWED_IN_WILL: &[u8] = &[
    check::WILL_DELAY,
    check::PAYLOAD_FORMAT,
    check::MESSAGE_EXPIRY,
    check::CONTENT_TYPE,
    check::RESPONSE_TOPIC,
    check::CORRELATION_DATA,
    check::USER_PROPERTY,
];

const WILL: u8 = 0b0000_0100;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// What a walk over the frame finds: that it is sound, and the parts that the crate can't give.
struct Layout {
    version: Version,
    flags: u8,
    flags_at: usize,
    will: Option<(PublishProperties, u32)>,
    login_at: usize,
    user_name: Option<String>,
    password: Option<Bytes>,
}

pub(super) fn read(frame: Frame) -> Result<Incoming, CodecError> {
    if frame.flags() != 0 {
        return Err(CodecError::Malformed("reserved flags of the fixed header"));
    }
    let body = frame.into_body();
    let layout = walk(&body)?;
    let mut without_login = frame_without_login(&body, &layout);
    let size_max = without_login.len();
    let packet = match layout.version {
        Version::V4 => V4.read_mut(&mut without_login, size_max),
        Version::V5 => V5.read_mut(&mut without_login, size_max),
    };
    match packet {
        Ok(Packet::Connect(connect, properties, will, _, _)) => {
            Ok(Incoming::Connect(Box::new(assemble(layout, connect, properties, will))))
        }
        _ => Err(CodecError::Malformed("CONNECT")),
    }
}

fn walk(body: &Bytes) -> Result<Layout, CodecError> {
    let mut reader = Reader::new(body);
    let name = reader.binary()?;
    let level = reader.u8()?;
    let version = match (name, level) {
        (b"MQTT", 4) => Version::V4,
        (b"MQTT", 5) => Version::V5,
        (b"MQTT" | b"MQIsdp", level) => return Err(CodecError::UnsupportedVersion(level)),
        _ => return Err(CodecError::Malformed("the protocol name is not MQTT")),
    };
    let flags_at = reader.position();
    let flags = reader.u8()?;
    check_flags(flags, version)?;
    reader.u16()?;
    if version == Version::V5 {
        check_properties(&mut reader)?;
    }
    reader.string()?;
    let mut will = None;
    if flags & WILL != 0 {
        will = Some(match version {
            Version::V4 => (PublishProperties::default(), 0),
            Version::V5 => read_properties(body, &mut reader, ALLOWED_IN_WILL)?,
        });
        reader.string()?;
        reader.binary()?;
    }
    let login_at = reader.position();
    let user_name = match flags & USER_NAME {
        0 => None,
        _ => Some(reader.string()?.to_owned()),
    };
    let password = match flags & PASSWORD {
        0 => None,
        _ => Some(Bytes::copy_from_slice(reader.binary()?)),
    };
    if !reader.is_empty() {
        return Err(CodecError::Malformed("bytes after the end of CONNECT"));
    }
    Ok(Layout { version, flags, flags_at, will, login_at, user_name, password })
}

fn check_flags(flags: u8, version: Version) -> Result<(), CodecError> {
    let has_will = flags & WILL != 0;
    if flags & 1 != 0 {
        return Err(CodecError::Malformed("reserved connect flag"));
    }
    if !has_will && flags & (WILL_QOS | WILL_RETAIN) != 0 {
        return Err(CodecError::Malformed("will QoS or will retain without a will"));
    }
    if flags & WILL_QOS == WILL_QOS {
        return Err(CodecError::Malformed("will QoS 3"));
    }
    if version == Version::V4 && flags & PASSWORD != 0 && flags & USER_NAME == 0 {
        return Err(CodecError::Malformed("a password without a user name"));
    }
    Ok(())
}

fn check_properties(reader: &mut Reader<'_>) -> Result<(), CodecError> {
    let mut list = reader.properties()?;
    let (mut method, mut data) = (false, false);
    for_each_property(&mut list, ALLOWED, |property, _| {
        method |= property.id == check::AUTHENTICATION_METHOD;
        data |= property.id == check::AUTHENTICATION_DATA;
        Ok(())
    })?;
    if data && !method {
        return Err(CodecError::Protocol("authentication data without a method"));
    }
    Ok(())
}

fn frame_without_login(body: &Bytes, layout: &Layout) -> BytesMut {
    let mut frame = BytesMut::with_capacity(layout.login_at + 5);
    frame.put_u8(0x10);
    variable_integer(&mut frame, layout.login_at);
    let header_len = frame.len();
    frame.put_slice(body.get(..layout.login_at).unwrap_or(&[]));
    if let Some(flags) = frame.get_mut(header_len + layout.flags_at) {
        *flags = layout.flags & !(USER_NAME | PASSWORD);
    }
    frame
}

fn assemble(
    layout: Layout,
    connect: protocol::Connect,
    properties: Option<protocol::ConnectProperties>,
    will: Option<protocol::LastWill>,
) -> Connect {
    let will = will.zip(layout.will).map(|(will, (properties, delay))| Will {
        topic: String::from_utf8_lossy(&will.topic).into_owned(),
        payload: will.message,
        qos: QoS::from_bits((layout.flags & WILL_QOS) >> 3).unwrap_or(QoS::AtMostOnce),
        retain: will.retain,
        delay,
        properties,
    });
    let default_expiry = match layout.version {
        Version::V4 if !connect.clean_session => u32::MAX,
        _ => 0,
    };
    let properties = properties.as_ref();
    Connect {
        version: layout.version,
        client_id: connect.client_id,
        clean_start: connect.clean_session,
        keep_alive: connect.keep_alive,
        session_expiry: properties
            .and_then(|p| p.session_expiry_interval)
            .unwrap_or(default_expiry),
        receive_maximum: properties.and_then(|p| p.receive_maximum).unwrap_or(u16::MAX),
        packet_size_max: properties.and_then(|p| p.max_packet_size),
        topic_alias_max: properties.and_then(|p| p.topic_alias_max).unwrap_or(0),
        wants_problem_information: properties.and_then(|p| p.request_problem_info) != Some(0),
        authentication_method: properties.and_then(|p| p.authentication_method.clone()),
        will,
        user_name: layout.user_name,
        password: layout.password,
    }
}

/// Answers a CONNECT. A 3.1.1 client gets the return code that comes nearest, or nothing.
pub(crate) fn write_connack(out: &mut BytesMut, version: Version, connack: &ConnAck) {
    let session_present = connack.session_present && connack.reason == ReasonCode::SUCCESS;
    if version == Version::V4 {
        if let Some(code) = connack.reason.as_v4_connack() {
            out.put_slice(&[0x20, 2, u8::from(session_present), code]);
        }
        return;
    }
    let limits = connack.limits.as_ref();
    let properties = ConnAckProperties {
        session_expiry_interval: limits.and_then(|l| l.session_expiry),
        receive_max: limits.map(|l| l.receive_maximum),
        max_packet_size: limits.map(|l| l.packet_size_max),
        assigned_client_identifier: limits
            .and_then(|l| l.assigned_client_id.as_deref().map(str::to_owned)),
        topic_alias_max: limits.map(|l| l.topic_alias_max),
        server_keep_alive: limits.and_then(|l| l.keep_alive),
        reason_string: connack.reason_string.map(str::to_owned),
        ..ConnAckProperties::default()
    };
    let packet = protocol::ConnAck { session_present, code: return_code(connack.reason) };
    // Only a packet longer than 256 MiB fails to be written.
    let _ = V5.write(Packet::ConnAck(packet, Some(properties)), out);
}

fn return_code(reason: ReasonCode) -> ConnectReturnCode {
    use ConnectReturnCode as C;
    match reason {
        ReasonCode::SUCCESS => C::Success,
        ReasonCode::MALFORMED_PACKET => C::MalformedPacket,
        ReasonCode::PROTOCOL_ERROR => C::ProtocolError,
        ReasonCode::IMPLEMENTATION_SPECIFIC => C::ImplementationSpecificError,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => C::UnsupportedProtocolVersion,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => C::ClientIdentifierNotValid,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD => C::BadUserNamePassword,
        ReasonCode::NOT_AUTHORIZED => C::NotAuthorized,
        ReasonCode::SERVER_UNAVAILABLE => C::ServerUnavailable,
        ReasonCode::SERVER_BUSY => C::ServerBusy,
        ReasonCode::BAD_AUTHENTICATION_METHOD => C::BadAuthenticationMethod,
        ReasonCode::TOPIC_NAME_INVALID => C::TopicNameInvalid,
        ReasonCode::PACKET_TOO_LARGE => C::PacketTooLarge,
        ReasonCode::QUOTA_EXCEEDED => C::QuotaExceeded,
        ReasonCode::CONNECTION_RATE_EXCEEDED => C::ConnectionRateExceeded,
        ReasonCode::PAYLOAD_FORMAT_INVALID => C::PayloadFormatInvalid,
        _ => C::UnspecifiedError,
    }
}

/// The version in whose form a refusal of this CONNECT is understood; `None` when it is no CONNECT.
pub(crate) fn claimed_version(frame: &Frame) -> Option<Version> {
    if frame.packet_type() != 1 {
        return None;
    }
    let mut reader = Reader::new(frame.body());
    reader.binary().ok()?;
    match reader.u8().ok()? {
        0..=4 => Some(Version::V4),
        _ => Some(Version::V5),
    }
}
