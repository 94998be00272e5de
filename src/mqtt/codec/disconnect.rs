//! DISCONNECT (MQTT 5.0 §3.14), both ways.

use bytes::{BufMut, BytesMut};

use super::{
    CodecError, Frame,
    check::{self, for_each_property},
    read::Reader,
    write::{string, string_len, variable_integer, variable_integer_len},
};
use crate::mqtt::{
    packet::{Disconnect, Incoming, Version},
    reason::ReasonCode,
};

const ALLOWED: &[u8] = &[check::SESSION_EXPIRY, check::REASON_STRING, check::USER_PROPERTY];

pub(super) fn read(frame: &Frame, version: Version) -> Result<Incoming, CodecError> {
    let mut reader = Reader::new(frame.body());
    let mut disconnect = Disconnect { reason: ReasonCode::SUCCESS, session_expiry: None };
    if version == Version::V5 && !reader.is_empty() {
        disconnect.reason = ReasonCode(reader.u8()?);
        if !matches!(disconnect.reason.0, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x97 | 0x98 | 0x99)
        {
            return Err(CodecError::Malformed(
                "a reason code that a client's DISCONNECT does not have",
            ));
        }
        if !reader.is_empty() {
            let mut list = reader.properties()?;
            for_each_property(&mut list, ALLOWED, |property, _| {
                if property.id == check::SESSION_EXPIRY {
                    disconnect.session_expiry = Some(property.number);
                }
                Ok(())
            })?;
        }
    }
    if !reader.is_empty() {
        return Err(CodecError::Malformed("bytes after the end of DISCONNECT"));
    }
    Ok(Incoming::Disconnect(disconnect))
}

/// Tells a 5.0 client why the connection ends. A 3.1.1 client is never sent a DISCONNECT.
pub(crate) fn write_disconnect(out: &mut BytesMut, reason: ReasonCode, text: Option<&str>) {
    out.put_u8(0xE0);
    let Some(text) = text else {
        out.put_slice(&[1, reason.0]);
        return;
    };
    let properties = 1 + string_len(text);
    variable_integer(out, 1 + variable_integer_len(properties) + properties);
    out.put_u8(reason.0);
    variable_integer(out, properties);
    out.put_u8(check::REASON_STRING);
    string(out, text);
}
