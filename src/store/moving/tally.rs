//! How many rows a table has, and a sum over them. Pure.
//!
//! A sum does not ask for the order of rows: two stores that hold the same rows have the same one,
//! whichever engine keeps them.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use crate::{
    store::{chunks::Sample, engine::Value},
    telemetry::SensorId,
};

/// Marks of the kinds of values, in sums and in dumps.
pub(super) const NULL: u8 = 0;
pub(super) const INT: u8 = 1;
pub(super) const REAL: u8 = 2;
pub(super) const NO: u8 = 3;
pub(super) const YES: u8 = 4;
pub(super) const TEXT: u8 = 5;
pub(super) const BYTES: u8 = 6;

/// Appends a value so that no two rows of one table read the same.
pub(super) fn put(value: &Value, to: &mut Vec<u8>) {
    let mut put_bytes = |mark: u8, bytes: &[u8]| {
        to.push(mark);
        to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        to.extend_from_slice(bytes);
    };
    match value {
        Value::Null => to.push(NULL),
        Value::Int(number) => {
            to.push(INT);
            to.extend_from_slice(&number.to_le_bytes());
        }
        Value::Real(number) => {
            to.push(REAL);
            to.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Value::Bool(false) => to.push(NO),
        Value::Bool(true) => to.push(YES),
        Value::Text(text) => put_bytes(TEXT, text.as_bytes()),
        Value::Bytes(bytes) => put_bytes(BYTES, bytes),
    }
}

/// How many rows a table has, and their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub rows: u64,
    /// Of a 128 bit number a row, in whatever order.
    pub sum: u128,
}

const SEEDS: [FixedState; 2] =
    [FixedState::with_seed(0x6272_6f6f), FixedState::with_seed(0x6b6c_6574)];

impl Tally {
    fn add(&mut self, bytes: &[u8]) {
        let [low, high] = SEEDS.each_ref().map(|seed| {
            let mut hasher = seed.build_hasher();
            hasher.write(bytes);
            u128::from(hasher.finish())
        });
        self.rows += 1;
        self.sum = self.sum.wrapping_add(high << 64 | low);
    }

    /// `buffer` is used again and again.
    pub(super) fn add_row(&mut self, row: &[Value], buffer: &mut Vec<u8>) {
        buffer.clear();
        row.iter().for_each(|value| put(value, buffer));
        self.add(buffer);
    }

    pub(super) fn add_reading(&mut self, sensor: SensorId, sample: &Sample) {
        let mut bytes = [0; 34];
        let value = sample.value.filter(|value| !value.is_nan());
        let numbers = [
            sensor.0,
            sample.event_time.as_micros(),
            sample.received_at.as_micros(),
            value.map_or(0, f64::to_bits).cast_signed(),
        ];
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for (word, number) in words.iter_mut().zip(numbers) {
            *word = number.to_le_bytes();
        }
        rest.copy_from_slice(&[u8::from(value.is_some()), sample.quality as u8]);
        self.add(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::engine::Values;
    use crate::telemetry::{Quality, Timestamp};

    fn tally(rows: &[Values]) -> Tally {
        let (mut tally, mut buffer) = (Tally::default(), Vec::new());
        rows.iter().for_each(|row| tally.add_row(row, &mut buffer));
        tally
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter_and_each_of_them_does(
            numbers in prop::collection::vec(any::<(i64, Option<f64>, String)>(), 1..20),
            at in any::<prop::sample::Index>(),
        ) {
            let row = |(id, value, text): &(i64, Option<f64>, String)| {
                vec![Value::Int(*id), Value::real(*value), Value::Text(text.clone())]
            };
            let mut rows: Vec<Values> = numbers.iter().map(row).collect();
            let expected = tally(&rows);
            rows.reverse();
            prop_assert_eq!(tally(&rows), expected);
            let at = at.index(rows.len());
            rows[at][2] = Value::Text(format!("{}.", numbers[numbers.len() - 1 - at].2));
            prop_assert_ne!(tally(&rows), expected);
            rows.remove(at);
            prop_assert_ne!(tally(&rows), expected);
        }
    }

    #[test]
    fn every_part_of_a_reading_counts() {
        let sample = Sample {
            event_time: Timestamp::from_micros(1),
            received_at: Timestamp::from_micros(2),
            value: Some(0.0),
            quality: Quality::Good,
        };
        let sum = |sensor, sample: &Sample| {
            let mut tally = Tally::default();
            tally.add_reading(SensorId(sensor), sample);
            tally.sum
        };
        let mut sums = vec![
            sum(1, &sample),
            sum(2, &sample),
            sum(1, &Sample { event_time: Timestamp::from_micros(3), ..sample }),
            sum(1, &Sample { received_at: Timestamp::from_micros(3), ..sample }),
            sum(1, &Sample { value: None, ..sample }),
            sum(1, &Sample { value: Some(-0.0), ..sample }),
            sum(1, &Sample { quality: Quality::Bad, ..sample }),
        ];
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), 7);
    }
}
