//! PUBACK, PUBREC, PUBREL, PUBCOMP (MQTT 5.0 §3.4–3.7), both ways.

use bytes::{BufMut, BytesMut};

use super::{
    CodecError, Frame,
    check::{self, for_each_property},
    read::Reader,
    write::{string, string_len, variable_integer, variable_integer_len},
};
use crate::mqtt::{
    hooks::Explanation,
    packet::{Ack, AckKind, Incoming, PacketId, Version},
    reason::ReasonCode,
};

const ALLOWED: &[u8] = &[check::REASON_STRING, check::USER_PROPERTY];

pub(super) fn read(frame: &Frame, version: Version) -> Result<Incoming, CodecError> {
    let kind = match frame.packet_type() {
        4 => AckKind::PubAck,
        5 => AckKind::PubRec,
        6 => AckKind::PubRel,
        _ => AckKind::PubComp,
    };
    let mut reader = Reader::new(frame.body());
    let packet_id = reader.packet_id()?;
    let mut reason = ReasonCode::SUCCESS;
    if version == Version::V5 && !reader.is_empty() {
        reason = ReasonCode(reader.u8()?);
        if !is_legal(kind, reason) {
            return Err(CodecError::Malformed("a reason code that this packet does not have"));
        }
        if !reader.is_empty() {
            let mut list = reader.properties()?;
            for_each_property(&mut list, ALLOWED, |_, _| Ok(()))?;
        }
    }
    if !reader.is_empty() {
        return Err(CodecError::Malformed("bytes after the end of an acknowledgement"));
    }
    Ok(Incoming::Ack(Ack { kind, packet_id, reason }))
}

fn is_legal(kind: AckKind, reason: ReasonCode) -> bool {
    match kind {
        AckKind::PubAck | AckKind::PubRec => {
            matches!(reason.0, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        AckKind::PubRel | AckKind::PubComp => matches!(reason.0, 0x00 | 0x92),
    }
}

/// Writes an acknowledgement. `explanation` goes to 5.0 clients only, in full or, where the packet
/// would pass `size_max`, first without its user properties and then without its reason string.
pub(crate) fn write_ack(
    out: &mut BytesMut,
    version: Version,
    kind: AckKind,
    packet_id: PacketId,
    reason: ReasonCode,
    explanation: Option<&Explanation>,
    size_max: usize,
) {
    let first = match kind {
        AckKind::PubAck => 0x40,
        AckKind::PubRec => 0x50,
        AckKind::PubRel => 0x62,
        AckKind::PubComp => 0x70,
    };
    out.put_u8(first);
    if version == Version::V4 || (reason == ReasonCode::SUCCESS && explanation.is_none()) {
        out.put_u8(2);
        out.put_u16(packet_id.get());
        return;
    }
    let (text, pairs) = fitting(explanation, size_max);
    let properties = properties_len(text, pairs);
    if properties == 0 {
        out.put_u8(3);
        out.put_u16(packet_id.get());
        out.put_u8(reason.0);
        return;
    }
    variable_integer(out, 3 + variable_integer_len(properties) + properties);
    out.put_u16(packet_id.get());
    out.put_u8(reason.0);
    variable_integer(out, properties);
    if let Some(text) = text {
        out.put_u8(check::REASON_STRING);
        string(out, text);
    }
    for (name, value) in pairs {
        out.put_u8(check::USER_PROPERTY);
        string(out, name);
        string(out, value);
    }
}

fn fitting(
    explanation: Option<&Explanation>,
    size_max: usize,
) -> (Option<&str>, &[(String, String)]) {
    let Some(explanation) = explanation else {
        return (None, &[]);
    };
    let text = explanation.reason_string.as_deref();
    let pairs = explanation.user_properties.as_slice();
    // Fixed header, packet id, reason code and property length take at most 12 bytes.
    if properties_len(text, pairs) + 12 <= size_max {
        (text, pairs)
    } else if properties_len(text, &[]) + 12 <= size_max {
        (text, &[])
    } else {
        (None, &[])
    }
}

fn properties_len(text: Option<&str>, pairs: &[(String, String)]) -> usize {
    text.map_or(0, |text| 1 + string_len(text))
        + pairs.iter().map(|(k, v)| 1 + string_len(k) + string_len(v)).sum::<usize>()
}
