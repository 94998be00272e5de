//! Property lists (MQTT 5.0 §2.2.2): each property known, allowed in its packet, at most once where
//! the specification says so, of a legal value, and inside the list's length.

use super::{CodecError, read::Reader};

pub(super) const PAYLOAD_FORMAT: u8 = 1;
pub(super) const MESSAGE_EXPIRY: u8 = 2;
pub(super) const CONTENT_TYPE: u8 = 3;
pub(super) const RESPONSE_TOPIC: u8 = 8;
pub(super) const CORRELATION_DATA: u8 = 9;
pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 11;
pub(super) const SESSION_EXPIRY: u8 = 17;
pub(super) const AUTHENTICATION_METHOD: u8 = 21;
pub(super) const AUTHENTICATION_DATA: u8 = 22;
pub(super) const REQUEST_PROBLEM_INFORMATION: u8 = 23;
pub(super) const WILL_DELAY: u8 = 24;
pub(super) const REQUEST_RESPONSE_INFORMATION: u8 = 25;
pub(super) const REASON_STRING: u8 = 31;
pub(super) const RECEIVE_MAXIMUM: u8 = 33;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 34;
pub(super) const TOPIC_ALIAS: u8 = 35;
pub(super) const USER_PROPERTY: u8 = 38;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 39;

/// One property: its identifier and, where it is a number, its value.
pub(super) struct Property {
    pub(super) id: u8,
    pub(super) number: u32,
}

/// Walks a property list and hands each property to `visit`, with the list's bytes of it.
///
/// # Errors
/// What is not allowed in this packet is malformed; twice what may stand once is a protocol error.
pub(super) fn for_each_property(
    list: &mut Reader<'_>,
    allowed: &[u8],
    mut visit: impl FnMut(Property, std::ops::Range<usize>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let mut seen = 0u64;
    while !list.is_empty() {
        let start = list.position();
        let id = list.u8()?;
        if !allowed.contains(&id) {
            return Err(CodecError::Malformed("a property that does not belong in this packet"));
        }
        let bit = 1u64 << (id & 63);
        if seen & bit != 0 && id != USER_PROPERTY {
            return Err(CodecError::Protocol("a property given twice"));
        }
        seen |= bit;
        let number = value(list, id)?;
        visit(Property { id, number }, start..list.position())?;
    }
    Ok(())
}

fn value(list: &mut Reader<'_>, id: u8) -> Result<u32, CodecError> {
    let number = match id {
        PAYLOAD_FORMAT | REQUEST_PROBLEM_INFORMATION | REQUEST_RESPONSE_INFORMATION => {
            match list.u8()? {
                bit @ (0 | 1) => u32::from(bit),
                _ => return Err(CodecError::Protocol("a property that must be 0 or 1")),
            }
        }
        MESSAGE_EXPIRY | SESSION_EXPIRY | WILL_DELAY => list.u32()?,
        MAXIMUM_PACKET_SIZE => match list.u32()? {
            0 => return Err(CodecError::Protocol("maximum packet size 0")),
            size => size,
        },
        TOPIC_ALIAS_MAXIMUM | TOPIC_ALIAS => u32::from(list.u16()?),
        RECEIVE_MAXIMUM => match list.u16()? {
            0 => return Err(CodecError::Protocol("receive maximum 0")),
            count => u32::from(count),
        },
        SUBSCRIPTION_IDENTIFIER => match list.variable_integer()? {
            0 => return Err(CodecError::Protocol("subscription identifier 0")),
            identifier => identifier,
        },
        CORRELATION_DATA | AUTHENTICATION_DATA => {
            list.binary()?;
            0
        }
        USER_PROPERTY => {
            list.string()?;
            list.string()?;
            0
        }
        RESPONSE_TOPIC => {
            let topic = list.string()?;
            if topic.is_empty() || topic.contains(['+', '#']) {
                return Err(CodecError::Protocol("a response topic that is no topic name"));
            }
            0
        }
        _ => {
            list.string()?;
            0
        }
    };
    Ok(number)
}
