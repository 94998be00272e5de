//! A cursor over a frame's body whose every step is checked.

use super::CodecError;

const SHORT: CodecError = CodecError::Malformed("the packet ends too early");
pub(super) const PADDED: CodecError =
    CodecError::Malformed("a variable byte integer longer than it need be");

pub(super) struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, length: bytes.len() }
    }

    /// Bytes consumed so far.
    pub(super) fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, CodecError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Variable byte integer (MQTT 5.0 §1.5.5), which must take no more bytes than it needs.
    pub(super) fn variable_integer(&mut self) -> Result<u32, CodecError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte == 0 && shift > 0 {
                return Err(PADDED);
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::Malformed("variable byte integer of more than four bytes"))
    }

    /// Binary data with its two-byte length.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// UTF-8 string (MQTT 5.0 §1.5.4): well-formed and without U+0000.
    pub(super) fn string(&mut self) -> Result<&'a str, CodecError> {
        let text = std::str::from_utf8(self.binary()?)
            .map_err(|_| CodecError::Malformed("a string that is not UTF-8"))?;
        if text.contains('\0') {
            return Err(CodecError::Malformed("a string with U+0000"));
        }
        Ok(text)
    }

    pub(super) fn packet_id(&mut self) -> Result<std::num::NonZeroU16, CodecError> {
        std::num::NonZeroU16::new(self.u16()?).ok_or(CodecError::Protocol("packet identifier 0"))
    }

    /// The bytes of a property list, without the length before it.
    pub(super) fn properties(&mut self) -> Result<Reader<'a>, CodecError> {
        let length = self.variable_integer()?;
        self.take(length as usize).map(Reader::new)
    }
}
