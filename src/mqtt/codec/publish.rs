//! PUBLISH (MQTT 5.0 §3.3): the hot frame. The payload is a slice of what was read.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    CodecError, Frame,
    check::{self, for_each_property},
    read::Reader,
    write::{variable_integer, variable_integer_len},
};
use crate::mqtt::packet::{Incoming, PacketId, Publish, PublishProperties, QoS, Version};

const ALLOWED: &[u8] = &[
    check::PAYLOAD_FORMAT,
    check::MESSAGE_EXPIRY,
    check::CONTENT_TYPE,
    check::RESPONSE_TOPIC,
    check::CORRELATION_DATA,
    check::SUBSCRIPTION_IDENTIFIER,
    check::TOPIC_ALIAS,
    check::USER_PROPERTY,
];

pub(super) fn read(frame: Frame, version: Version) -> Result<Incoming, CodecError> {
    let flags = frame.flags();
    let body = frame.into_body();
    let mut reader = Reader::new(&body);
    let qos = QoS::from_bits(flags >> 1 & 0b11).ok_or(CodecError::Malformed("QoS 3"))?;
    let dup = flags & 0b1000 != 0;
    if dup && qos == QoS::AtMostOnce {
        return Err(CodecError::Malformed("DUP on QoS 0"));
    }
    let topic = slice(&body, reader.binary()?);
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        _ => Some(reader.packet_id()?),
    };
    let properties = match version {
        Version::V4 => PublishProperties::default(),
        Version::V5 => read_properties(&body, &mut reader, ALLOWED)?.0,
    };
    let payload = body.slice(reader.position()..);
    Ok(Incoming::Publish(Publish {
        topic,
        payload,
        qos,
        retain: flags & 1 != 0,
        dup,
        packet_id,
        properties,
    }))
}

fn slice(body: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() { Bytes::new() } else { body.slice_ref(part) }
}

/// Reads the properties of a PUBLISH or a will; for a will also its delay in seconds.
pub(super) fn read_properties(
    body: &Bytes,
    reader: &mut Reader<'_>,
    allowed: &[u8],
) -> Result<(PublishProperties, u32), CodecError> {
    let mut list = reader.properties()?;
    let end = reader.position();
    let mut properties = PublishProperties::default();
    if list.is_empty() {
        return Ok((properties, 0));
    }
    let mut delay = 0;
    let mut forwarded: Vec<std::ops::Range<usize>> = Vec::new();
    for_each_property(&mut list, allowed, |property, range| {
        match property.id {
            check::MESSAGE_EXPIRY => properties.message_expiry = Some(property.number),
            check::WILL_DELAY => delay = property.number,
            check::SUBSCRIPTION_IDENTIFIER => {
                return Err(CodecError::Protocol("a subscription identifier from a client"));
            }
            check::TOPIC_ALIAS => {
                properties.topic_alias = Some(property.number as u16);
            }
            id => {
                properties.is_utf8 |= id == check::PAYLOAD_FORMAT && property.number == 1;
                match forwarded.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => forwarded.push(range),
                }
            }
        }
        Ok(())
    })?;
    let start = end - list.position();
    let list = body.slice(start..end);
    properties.forwarded = match forwarded.as_slice() {
        [] => Bytes::new(),
        [whole] => list.slice(whole.clone()),
        parts => parts
            .iter()
            .fold(BytesMut::new(), |mut joined, part| {
                joined.put_slice(list.get(part.clone()).unwrap_or(&[]));
                joined
            })
            .freeze(),
    };
    Ok((properties, delay))
}

/// All of an outgoing PUBLISH but the payload.
pub(crate) struct PublishHead<'a> {
    /// Empty where the alias stands for it.
    pub(crate) topic: &'a str,
    pub(crate) topic_alias: Option<u16>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) forwarded: &'a [u8],
    pub(crate) message_expiry: Option<u32>,
    pub(crate) subscription_identifiers: &'a [u32],
    pub(crate) payload_len: usize,
}

impl PublishHead<'_> {
    fn properties_len(&self) -> usize {
        self.forwarded.len()
            + self.message_expiry.map_or(0, |_| 5)
            + self.topic_alias.map_or(0, |_| 3)
            + self
                .subscription_identifiers
                .iter()
                .map(|id| 1 + variable_integer_len(*id as usize))
                .sum::<usize>()
    }

    fn remaining_len(&self, version: Version) -> usize {
        let properties = match version {
            Version::V4 => 0,
            Version::V5 => {
                let length = self.properties_len();
                variable_integer_len(length) + length
            }
        };
        2 + self.topic.len() + self.packet_id.map_or(0, |_| 2) + properties + self.payload_len
    }

    /// Bytes of the whole packet, payload included.
    pub(crate) fn packet_len(&self, version: Version) -> usize {
        let remaining = self.remaining_len(version);
        1 + variable_integer_len(remaining) + remaining
    }
}

/// Writes everything up to the payload, which the caller appends.
pub(crate) fn write_publish_head(out: &mut BytesMut, head: &PublishHead<'_>, version: Version) {
    let flags = u8::from(head.dup) << 3 | (head.qos as u8) << 1 | u8::from(head.retain);
    out.put_u8(0x30 | flags);
    variable_integer(out, head.remaining_len(version));
    out.put_u16(head.topic.len() as u16);
    out.put_slice(head.topic.as_bytes());
    if let Some(packet_id) = head.packet_id {
        out.put_u16(packet_id.get());
    }
    if version == Version::V5 {
        variable_integer(out, head.properties_len());
        if let Some(seconds) = head.message_expiry {
            out.put_u8(check::MESSAGE_EXPIRY);
            out.put_u32(seconds);
        }
        if let Some(alias) = head.topic_alias {
            out.put_u8(check::TOPIC_ALIAS);
            out.put_u16(alias);
        }
        for identifier in head.subscription_identifiers {
            out.put_u8(check::SUBSCRIPTION_IDENTIFIER);
            variable_integer(out, *identifier as usize);
        }
        out.put_slice(head.forwarded);
    }
}
