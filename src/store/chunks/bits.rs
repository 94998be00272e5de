//! Integers as bytes: varints, and runs packed by a fixed number of bits. Pure.
//!
//! Reading never panics and never reads past the end, whatever the bytes are.

use super::Damage;

/// Bytes being read, front to back.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn byte(&mut self) -> Result<u8, Damage> {
        let (first, rest) = self.0.split_first().ok_or(Damage("it ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damage("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Damage> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damage("a number is too long"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, Damage> {
        Ok(from_zigzag(self.unsigned()?))
    }

    /// A count of things of which each takes a byte or more elsewhere; bounded, so that a damaged one
    /// asks for no more memory than is sane.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, Damage> {
        let count = usize::try_from(self.unsigned()?).unwrap_or(usize::MAX);
        if count > most { Err(Damage("a count is out of range")) } else { Ok(count) }
    }
}

pub(super) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, to_zigzag(value));
}

/// Small numbers of either sign to small numbers.
pub(super) fn to_zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn from_zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bits that a number needs.
pub(super) fn bit_length(value: u64) -> usize {
    64 - value.leading_zeros() as usize
}

/// Bytes that `count` numbers of `width` bits take.
pub(super) fn packed_length(count: usize, width: usize) -> usize {
    (count * width).div_ceil(8)
}

/// Appends each number with `width` bits, at most 64, the lowest first.
pub(super) fn pack(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>, width: usize) {
    let (mut gathered, mut bits) = (0_u128, 0);
    for number in numbers {
        gathered |= u128::from(number) << bits;
        bits += width;
        if bits >= 64 {
            out.extend_from_slice(&(gathered as u64).to_le_bytes());
            gathered >>= 64;
            bits -= 64;
        }
    }
    out.extend(gathered.to_le_bytes().iter().take(bits.div_ceil(8)));
}

/// The numbers that [`pack`] wrote; `bytes` is as long as [`packed_length`] says.
pub(super) fn unpack(bytes: &[u8], count: usize, width: usize) -> Vec<u64> {
    if width == 0 {
        return vec![0; count];
    }
    let mask = u64::MAX >> (64 - width.min(64));
    let (mut gathered, mut bits) = (0_u128, 0);
    let mut words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(word)
    });
    (0..count)
        .map(|_| {
            if bits < width {
                gathered |= u128::from(words.next().unwrap_or(0)) << bits;
                bits += 64;
            }
            let number = gathered as u64 & mask;
            gathered >>= width;
            bits -= width;
            number
        })
        .collect()
}
