//! What a client says and hears, as bytes: written and read here apart from the broker's own codec, so
//! that a mistake there does not hide itself.

use crate::mqtt::packet::{QoS, RetainHandling, SubscriptionOptions, Version};

/// What a client is sent, as far as the model looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    ConnAck {
        present: bool,
        code: u8,
    },
    Publish(Incoming),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP, by its first byte.
    Ack {
        first: u8,
        id: u16,
        reason: u8,
    },
    SubAck {
        id: u16,
        codes: Vec<u8>,
    },
    UnsubAck {
        id: u16,
    },
    PingResp,
    Disconnect(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) id: u16,
    pub(super) qos: QoS,
    pub(super) dup: bool,
    pub(super) retain: bool,
    pub(super) topic: String,
    pub(super) identifiers: Vec<u32>,
    pub(super) payload: Vec<u8>,
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7F) as u8;
        length >>= 7;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

pub(super) fn disconnect(ends_session: bool) -> Vec<u8> {
    let expiry: &[u8] = if ends_session { &[0, 5, 0x11, 0, 0, 0, 0] } else { &[] };
    packet(0xE0, expiry)
}

pub(super) fn text(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u16).to_be_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

pub(super) fn connect(
    version: Version,
    client_id: &str,
    clean: bool,
    expiry: u32,
    window: u16,
) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([if version == Version::V5 { 5 } else { 4 }, u8::from(clean) << 1, 0, 0]);
    if version == Version::V5 {
        body.extend([8, 0x11]);
        body.extend(expiry.to_be_bytes());
        body.push(0x21);
        body.extend(window.to_be_bytes());
    }
    body.extend(text(client_id));
    packet(0x10, &body)
}

pub(super) fn publish(
    version: Version,
    message: &super::spec::Message,
    id: u16,
    dup: bool,
) -> Vec<u8> {
    let mut body = text(message.topic);
    if message.qos != QoS::AtMostOnce {
        body.extend(id.to_be_bytes());
    }
    if version == Version::V5 {
        match message.expiry {
            None => body.push(0),
            Some(seconds) => {
                body.extend([5, 2]);
                body.extend(seconds.to_be_bytes());
            }
        }
    }
    body.extend(message.payload());
    let flags = u8::from(dup) << 3 | (message.qos as u8) << 1 | u8::from(message.retain);
    packet(0x30 | flags, &body)
}

pub(super) fn subscribe(
    version: Version,
    id: u16,
    filter: &str,
    options: SubscriptionOptions,
) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    let mut bits = options.qos as u8;
    if version == Version::V5 {
        match options.identifier {
            None => body.push(0),
            Some(identifier) => body.extend([2, 0x0B, identifier as u8]),
        }
        let handling = match options.retain_handling {
            RetainHandling::SendOnSubscribe => 0,
            RetainHandling::SendIfNew => 1,
            RetainHandling::DoNotSend => 2,
        };
        bits |= u8::from(options.no_local) << 2
            | u8::from(options.retain_as_published) << 3
            | handling << 4;
    }
    body.extend(text(filter));
    body.push(bits);
    packet(0x82, &body)
}

pub(super) fn unsubscribe(version: Version, id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(text(filter));
    packet(0xA2, &body)
}

/// An acknowledgement without properties.
pub(super) fn ack(version: Version, first: u8, id: u16, reason: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 && reason != 0 {
        body.push(reason);
    }
    packet(first, &body)
}

/// Takes the next complete packet off `bytes`.
pub(super) fn next(bytes: &mut Vec<u8>, version: Version) -> Option<Heard> {
    let (mut length, mut header) = (0usize, 1);
    loop {
        let byte = *bytes.get(header)?;
        length |= usize::from(byte & 0x7F) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if bytes.len() < header + length {
        return None;
    }
    let whole: Vec<u8> = bytes.drain(..header + length).collect();
    Some(heard(whole[0], &whole[header..], version))
}

fn heard(first: u8, body: &[u8], version: Version) -> Heard {
    let id = || u16::from_be_bytes([body[0], body[1]]);
    let is_v5 = version == Version::V5;
    match first >> 4 {
        2 => Heard::ConnAck { present: body[0] == 1, code: body[1] },
        3 => Heard::Publish(incoming(first, body, is_v5)),
        4..=7 => Heard::Ack { first, id: id(), reason: body.get(2).copied().unwrap_or(0) },
        9 => Heard::SubAck { id: id(), codes: body[2 + usize::from(is_v5)..].to_vec() },
        11 => Heard::UnsubAck { id: id() },
        13 => Heard::PingResp,
        14 => Heard::Disconnect(body.first().copied().unwrap_or(0)),
        other => panic!("a packet of type {other}: {body:?}"),
    }
}

fn incoming(first: u8, body: &[u8], is_v5: bool) -> Incoming {
    let qos = QoS::from_bits(first >> 1 & 3).expect("a QoS");
    let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..topic_end].to_vec()).expect("UTF-8");
    let (mut at, mut id) = (topic_end, 0);
    if qos != QoS::AtMostOnce {
        id = u16::from_be_bytes([body[at], body[at + 1]]);
        at += 2;
    }
    let mut identifiers = Vec::new();
    if is_v5 {
        let end = at + 1 + usize::from(body[at]);
        at += 1;
        while at < end {
            match body[at] {
                2 => at += 5,
                0x0B => {
                    identifiers.push(u32::from(body[at + 1]));
                    at += 2;
                }
                other => panic!("property {other:#x} in {body:?}"),
            }
        }
    }
    let (dup, retain) = (first & 8 != 0, first & 1 != 0);
    Incoming { id, qos, dup, retain, topic, identifiers, payload: body[at..].to_vec() }
}
