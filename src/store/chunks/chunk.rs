//! A chunk: some thousand readings of one sensor as one blob. Pure.
//!
//! A checksum over all of it, a directory of its blocks, the blocks. A block holds a thousand readings
//! by columns and is read by itself, so that few readings cost little. What is read is checked: damage
//! becomes an error, never a wrong reading.

use super::{
    Damage, Sample,
    bits::{Input, put_signed, put_unsigned},
    column::{put_values, put_whole_numbers, values, whole_numbers},
};
use crate::telemetry::{Quality, Timestamp};

/// Readings of a block.
const BLOCK: usize = if cfg!(test) { 16 } else { 1_024 };
/// More than a chunk ever has.
const READINGS_MAX: usize = 1 << 20;
const VERSION: u8 = 1;

/// All readings have a value; all are of good quality.
const VALUED: u8 = 1;
const GOOD: u8 = 2;

/// A chunk, its checksum and directory read.
pub(super) struct Chunk<'a> {
    pub(super) blocks: Vec<Block<'a>>,
}

pub(super) struct Block<'a> {
    pub(super) count: usize,
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    pub(super) min_received: i64,
    pub(super) max_received: i64,
    body: &'a [u8],
}

/// Samples in the order of their event times, each time once, as a blob.
pub(super) fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut directory = Vec::new();
    let mut bodies = Vec::with_capacity(samples.len() * 3);
    put_unsigned(&mut directory, samples.len().div_ceil(BLOCK) as u64);
    let mut last = 0;
    for block in samples.chunks(BLOCK) {
        let begin = bodies.len();
        put_body(&mut bodies, block);
        let times = || block.iter().map(|sample| sample.event_time.as_micros());
        let received = || block.iter().map(|sample| sample.received_at.as_micros());
        let (first_time, last_time) = (times().next(), times().next_back());
        let (first_time, last_time) = (first_time.unwrap_or(0), last_time.unwrap_or(0));
        let (from, to) = (received().min().unwrap_or(0), received().max().unwrap_or(0));
        put_unsigned(&mut directory, block.len() as u64);
        put_unsigned(&mut directory, (bodies.len() - begin) as u64);
        put_signed(&mut directory, first_time - last);
        put_signed(&mut directory, last_time - first_time);
        put_signed(&mut directory, from - first_time);
        put_signed(&mut directory, to - from);
        last = last_time;
    }
    let mut sum = crc32fast::Hasher::new();
    sum.update(&directory);
    sum.update(&bodies);
    let mut blob = Vec::with_capacity(5 + directory.len() + bodies.len());
    blob.push(VERSION);
    blob.extend(sum.finalize().to_le_bytes());
    blob.append(&mut directory);
    blob.append(&mut bodies);
    blob
}

fn put_body(out: &mut Vec<u8>, block: &[Sample]) {
    let values: Vec<f64> = block.iter().filter_map(|sample| sample.value).collect();
    let is_valued = values.len() == block.len();
    let is_good = block.iter().all(|sample| sample.quality == Quality::Good);
    out.push(if is_valued { VALUED } else { 0 } | if is_good { GOOD } else { 0 });
    let mut column = |number: fn(&Sample) -> i64| {
        put_whole_numbers(out, &block.iter().map(number).collect::<Vec<_>>());
    };
    column(|sample| sample.event_time.as_micros());
    column(|sample| sample.received_at.micros_since(sample.event_time));
    if !is_valued {
        column(|sample| i64::from(sample.value.is_some()));
    }
    if !is_good {
        column(|sample| sample.quality.code());
    }
    put_values(out, &values);
}

impl<'a> Chunk<'a> {
    pub(super) fn parse(blob: &'a [u8]) -> Result<Self, Damage> {
        let mut input = Input::new(blob);
        if input.byte()? != VERSION {
            return Err(Damage("it has an unknown version"));
        }
        let sum: [u8; 4] = input.take(4)?.try_into().map_err(|_| Damage("it ends too early"))?;
        if crc32fast::hash(input.rest()) != u32::from_le_bytes(sum) {
            return Err(Damage("its checksum is wrong"));
        }
        let count = input.count(READINGS_MAX / BLOCK)?;
        let mut lengths = Vec::with_capacity(count);
        let mut blocks = Vec::with_capacity(count);
        let mut last = 0_i64;
        for _ in 0..count {
            let count = input.count(BLOCK)?;
            lengths.push(input.count(READINGS_MAX)?);
            let first_time = last.wrapping_add(input.signed()?);
            let last_time = first_time.wrapping_add(input.signed()?);
            let min_received = first_time.wrapping_add(input.signed()?);
            let max_received = min_received.wrapping_add(input.signed()?);
            let body: &[u8] = &[];
            blocks.push(Block { count, first_time, last_time, min_received, max_received, body });
            last = last_time;
        }
        for (block, length) in blocks.iter_mut().zip(lengths) {
            block.body = input.take(length)?;
        }
        Ok(Self { blocks })
    }

    /// All of its readings.
    pub(super) fn decode(&self) -> Result<Vec<Sample>, Damage> {
        let mut samples = Vec::with_capacity(self.blocks.iter().map(|block| block.count).sum());
        self.blocks.iter().try_for_each(|block| block.decode(&mut samples))?;
        Ok(samples)
    }

    /// Its readings with event times from the first on, before the second; and at most a block's
    /// more on either side.
    pub(super) fn decode_about(&self, from: i64, to: i64) -> Result<Vec<Sample>, Damage> {
        let mut samples = Vec::new();
        let touched = |block: &&Block<'_>| block.last_time >= from && block.first_time < to;
        self.blocks.iter().filter(touched).try_for_each(|block| block.decode(&mut samples))?;
        Ok(samples)
    }
}

impl Block<'_> {
    /// Appends its readings.
    pub(super) fn decode(&self, to: &mut Vec<Sample>) -> Result<(), Damage> {
        let mut input = Input::new(self.body);
        let flags = input.byte()?;
        let times = whole_numbers(&mut input, self.count)?;
        let lags = whole_numbers(&mut input, self.count)?;
        let present = match flags & VALUED {
            0 => whole_numbers(&mut input, self.count)?,
            _ => Vec::new(),
        };
        let qualities = match flags & GOOD {
            0 => whole_numbers(&mut input, self.count)?,
            _ => Vec::new(),
        };
        let valued = if flags & VALUED == 0 {
            present.iter().filter(|p| **p != 0).count()
        } else {
            self.count
        };
        let mut values = values(&mut input, valued)?.into_iter();
        let ascends = times.is_sorted_by(|a, b| a < b);
        let ends = (times.first().copied(), times.last().copied());
        if !ascends || ends != (Some(self.first_time), Some(self.last_time)) {
            return Err(Damage("its times are not in order"));
        }
        let mut present = present.into_iter();
        let mut qualities = qualities.into_iter();
        to.extend(times.into_iter().zip(lags).map(|(time, lag)| {
            let event_time = Timestamp::from_micros(time);
            Sample {
                event_time,
                received_at: event_time.plus_micros(lag),
                value: if present.next().unwrap_or(1) == 0 { None } else { values.next() },
                quality: Quality::from_code(qualities.next().unwrap_or(0)),
            }
        }));
        Ok(())
    }
}
