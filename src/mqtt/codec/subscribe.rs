//! SUBSCRIBE, UNSUBSCRIBE and their answers (MQTT 5.0 §3.8–3.11), through the crate's codecs.

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol::{
    self, Packet, Protocol, RetainForwardRule, SubscribeReasonCode, UnsubAckReason, v4::V4, v5::V5,
};

use super::{
    CodecError, Frame,
    check::{self, for_each_property},
    read::Reader,
    write::variable_integer,
};
use crate::mqtt::{
    packet::{
        Incoming, PacketId, QoS, RetainHandling, Subscribe, SubscriptionOptions, Unsubscribe,
        Version,
    },
    reason::ReasonCode,
};

const ALLOWED_IN_SUBSCRIBE: &[u8] = &[check::SUBSCRIPTION_IDENTIFIER, check::USER_PROPERTY];
const ALLOWED_IN_UNSUBSCRIBE: &[u8] = &[check::USER_PROPERTY];

pub(super) fn read_subscribe(frame: Frame, version: Version) -> Result<Incoming, CodecError> {
    let body = frame.into_body();
    let (packet_id, identifier) = check_subscribe(&body, version)?;
    match read_by_crate(0x82, &body, version) {
        Ok(Packet::Subscribe(subscribe, _)) => Ok(Incoming::Subscribe(Subscribe {
            packet_id,
            filters: subscribe
                .filters
                .into_iter()
                .map(|filter| {
                    let options = options(&filter, identifier);
                    (filter.path, options)
                })
                .collect(),
        })),
        _ => Err(CodecError::Malformed("SUBSCRIBE")),
    }
}

pub(super) fn read_unsubscribe(frame: Frame, version: Version) -> Result<Incoming, CodecError> {
    let body = frame.into_body();
    let packet_id = check_unsubscribe(&body, version)?;
    match read_by_crate(0xA2, &body, version) {
        Ok(Packet::Unsubscribe(unsubscribe, _)) => {
            Ok(Incoming::Unsubscribe(Unsubscribe { packet_id, filters: unsubscribe.filters }))
        }
        _ => Err(CodecError::Malformed("UNSUBSCRIBE")),
    }
}

fn check_subscribe(body: &Bytes, version: Version) -> Result<(PacketId, Option<u32>), CodecError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let mut identifier = None;
    if version == Version::V5 {
        let mut list = reader.properties()?;
        for_each_property(&mut list, ALLOWED_IN_SUBSCRIBE, |property, _| {
            if property.id == check::SUBSCRIPTION_IDENTIFIER {
                identifier = Some(property.number);
            }
            Ok(())
        })?;
    }
    if reader.is_empty() {
        return Err(CodecError::Protocol("SUBSCRIBE without a topic filter"));
    }
    while !reader.is_empty() {
        let filter = reader.string()?;
        let bits = reader.u8()?;
        let reserved = match version {
            Version::V4 => bits & 0b1111_1100 != 0,
            Version::V5 => bits & 0b1100_0000 != 0,
        };
        if reserved || bits & 0b11 == 3 {
            return Err(CodecError::Malformed("reserved bits of the subscription options"));
        }
        if bits & 0b0011_0000 == 0b0011_0000 {
            return Err(CodecError::Protocol("retain handling 3"));
        }
        if bits & 0b100 != 0 && filter.starts_with("$share/") {
            return Err(CodecError::Protocol("no local on a shared subscription"));
        }
    }
    Ok((packet_id, identifier))
}

fn check_unsubscribe(body: &Bytes, version: Version) -> Result<PacketId, CodecError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    if version == Version::V5 {
        let mut list = reader.properties()?;
        for_each_property(&mut list, ALLOWED_IN_UNSUBSCRIBE, |_, _| Ok(()))?;
    }
    if reader.is_empty() {
        return Err(CodecError::Protocol("UNSUBSCRIBE without a topic filter"));
    }
    while !reader.is_empty() {
        reader.string()?;
    }
    Ok(packet_id)
}

fn read_by_crate(first: u8, body: &Bytes, version: Version) -> Result<Packet, protocol::Error> {
    let mut frame = BytesMut::with_capacity(body.len() + 5);
    frame.put_u8(first);
    variable_integer(&mut frame, body.len());
    frame.put_slice(body);
    let size_max = frame.len();
    match version {
        Version::V4 => V4.read_mut(&mut frame, size_max),
        Version::V5 => V5.read_mut(&mut frame, size_max),
    }
}

fn options(filter: &protocol::Filter, identifier: Option<u32>) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: match filter.qos {
            protocol::QoS::AtMostOnce => QoS::AtMostOnce,
            protocol::QoS::AtLeastOnce => QoS::AtLeastOnce,
            protocol::QoS::ExactlyOnce => QoS::ExactlyOnce,
        },
        no_local: filter.nolocal,
        retain_as_published: filter.preserve_retain,
        retain_handling: match filter.retain_forward_rule {
            RetainForwardRule::OnEverySubscribe => RetainHandling::SendOnSubscribe,
            RetainForwardRule::OnNewSubscribe => RetainHandling::SendIfNew,
            RetainForwardRule::Never => RetainHandling::DoNotSend,
        },
        identifier,
    }
}

/// Answers a SUBSCRIBE: for each filter the granted QoS or why it was refused.
pub(crate) fn write_suback(
    out: &mut BytesMut,
    version: Version,
    packet_id: PacketId,
    granted: &[Result<QoS, ReasonCode>],
) {
    let return_codes = granted
        .iter()
        .map(|result| match (result, version) {
            (Ok(QoS::AtMostOnce), _) => SubscribeReasonCode::QoS0,
            (Ok(QoS::AtLeastOnce), _) => SubscribeReasonCode::QoS1,
            (Ok(QoS::ExactlyOnce), _) => SubscribeReasonCode::QoS2,
            (Err(_), Version::V4) => SubscribeReasonCode::Failure,
            (Err(reason), Version::V5) => match *reason {
                ReasonCode::NOT_AUTHORIZED => SubscribeReasonCode::NotAuthorized,
                ReasonCode::TOPIC_FILTER_INVALID => SubscribeReasonCode::TopicFilterInvalid,
                ReasonCode::QUOTA_EXCEEDED => SubscribeReasonCode::QuotaExceeded,
                _ => SubscribeReasonCode::Unspecified,
            },
        })
        .collect();
    let packet = Packet::SubAck(protocol::SubAck { pkid: packet_id.get(), return_codes }, None);
    write_by_crate(out, version, packet);
}

/// Answers an UNSUBSCRIBE: for each filter whether there was such a subscription.
pub(crate) fn write_unsuback(
    out: &mut BytesMut,
    version: Version,
    packet_id: PacketId,
    existed: &[bool],
) {
    let reasons = existed
        .iter()
        .map(|existed| match existed {
            true => UnsubAckReason::Success,
            false => UnsubAckReason::NoSubscriptionExisted,
        })
        .collect();
    let packet = Packet::UnsubAck(protocol::UnsubAck { pkid: packet_id.get(), reasons }, None);
    write_by_crate(out, version, packet);
}

fn write_by_crate(out: &mut BytesMut, version: Version, packet: Packet) {
    // Only a packet longer than 256 MiB fails to be written; these answer one that was shorter.
    let _ = match version {
        Version::V4 => V4.write(packet, out),
        Version::V5 => V5.write(packet, out),
    };
}
