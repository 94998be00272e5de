//! Writing by hand what the crate does wrongly or too slowly.

use bytes::{BufMut, BytesMut};

pub(super) fn variable_integer(out: &mut BytesMut, mut value: usize) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.put_u8(byte);
            return;
        }
        out.put_u8(byte | 0x80);
    }
}

/// Bytes that `value` takes as a variable byte integer.
pub(super) fn variable_integer_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// A string or binary datum with its two-byte length; cut at 65,535 bytes, on a character.
pub(super) fn string(out: &mut BytesMut, text: &str) {
    let text = fitting(text);
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

pub(super) fn string_len(text: &str) -> usize {
    2 + fitting(text).len()
}

fn fitting(text: &str) -> &str {
    let end = text.floor_char_boundary(usize::from(u16::MAX));
    text.get(..end).unwrap_or("")
}

pub(crate) fn write_pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}
