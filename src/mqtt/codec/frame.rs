//! Cutting the byte stream into frames: the fixed header (MQTT 5.0 §2.1) and its remaining length.

use bytes::{Bytes, BytesMut};

use super::CodecError;

/// One complete control packet.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    bytes: Bytes,
    header_len: usize,
}

impl Frame {
    pub(crate) fn packet_type(&self) -> u8 {
        self.first_byte() >> 4
    }

    pub(crate) fn flags(&self) -> u8 {
        self.first_byte() & 0x0F
    }

    /// Bytes of the whole packet.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the remaining length takes more bytes than it needs: MQTT 5.0 forbids it
    /// ([MQTT-1.5.5-1]), 3.1.1 does not.
    pub(super) fn has_padded_length(&self) -> bool {
        self.header_len > 2 && self.bytes.get(self.header_len - 1) == Some(&0)
    }

    fn first_byte(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(0)
    }

    /// All after the fixed header.
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(self.header_len..).unwrap_or(&[])
    }

    pub(crate) fn into_body(mut self) -> Bytes {
        self.bytes.split_off(self.header_len.min(self.bytes.len()))
    }
}

/// Takes the next complete frame off `buffer`. `Ok(None)`: more bytes are needed.
///
/// # Errors
/// A remaining length of more than four bytes, or a whole packet larger than `size_max` bytes
/// (known from the header alone, before its body is read).
pub(crate) fn next_frame(
    buffer: &mut BytesMut,
    size_max: usize,
) -> Result<Option<Frame>, CodecError> {
    let mut remaining = 0usize;
    for (index, byte) in buffer.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let header_len = index + 2;
            let total = header_len + remaining;
            if total > size_max {
                return Err(CodecError::TooLarge);
            }
            if buffer.len() < total {
                return Ok(None);
            }
            let bytes = buffer.split_to(total).freeze();
            return Ok(Some(Frame { bytes, header_len }));
        }
    }
    if buffer.len() >= 5 {
        return Err(CodecError::Malformed("remaining length of more than four bytes"));
    }
    Ok(None)
}
