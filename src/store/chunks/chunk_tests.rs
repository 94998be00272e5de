use proptest::prelude::*;

use super::{
    Sample,
    chunk::{Chunk, encode},
};
use crate::telemetry::{Quality, Timestamp};

pub(super) fn any_value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        4 => (-500_i32..500).prop_map(|n| Some(f64::from(n) / 10.0)),
        1 => any::<f32>().prop_map(|v| Some(f64::from(v))),
        1 => any::<f64>().prop_map(Some),
        1 => prop_oneof![Just(-0.0), Just(0.0), Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(5e-324),
            Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(9e15), Just(-9.1e15)].prop_map(Some),
        1 => Just(None),
    ]
    .prop_map(|value| value.filter(|value| !value.is_nan()))
}

fn any_samples() -> impl Strategy<Value = Vec<Sample>> {
    let time = prop_oneof![
        Timestamp::MIN.as_micros()..Timestamp::MAX.as_micros(),
        0_i64..10_000_000,
        (0_i64..100_000).prop_map(|n| n * 10_000_000),
    ];
    let lag = prop_oneof![0_i64..5_000, any::<i64>()];
    let sample = (time, lag, any_value(), 0_i64..3);
    let plain = prop::collection::vec(sample, 1..3_000);
    (plain, any::<bool>(), any::<bool>()).prop_map(|(rows, is_good, is_valued)| {
        let mut samples: Vec<Sample> = rows
            .into_iter()
            .map(|(time, lag, value, quality)| {
                let event_time = Timestamp::from_micros(time);
                Sample {
                    event_time,
                    received_at: event_time.plus_micros(lag),
                    value: if is_valued { value.or(Some(1.5)) } else { value },
                    quality: Quality::from_code(if is_good { 0 } else { quality }),
                }
            })
            .collect();
        samples.sort_by_key(|sample| sample.event_time);
        samples.dedup_by_key(|sample| sample.event_time);
        samples
    })
}

fn exact(samples: &[Sample]) -> Vec<(i64, i64, Option<u64>, Quality)> {
    let row = |s: &Sample| {
        (s.event_time.as_micros(), s.received_at.as_micros(), s.value.map(f64::to_bits), s.quality)
    };
    samples.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(samples in any_samples()) {
        let blob = encode(&samples);
        let chunk = Chunk::parse(&blob).unwrap();
        prop_assert_eq!(exact(&chunk.decode().unwrap()), exact(&samples));
        prop_assert_eq!(chunk.blocks.iter().map(|b| b.count).sum::<usize>(), samples.len());
        let (from, to) = (samples[samples.len() / 3].event_time, samples[samples.len() / 2].event_time);
        let about = chunk.decode_about(from.as_micros(), to.as_micros()).unwrap();
        let within = |s: &&Sample| from <= s.event_time && s.event_time < to;
        let some: Vec<Sample> = about.iter().filter(within).copied().collect();
        let wanted: Vec<Sample> = samples.iter().filter(within).copied().collect();
        prop_assert_eq!(exact(&some), exact(&wanted));
    }

    #[test]
    fn damage_is_an_error(samples in any_samples(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut blob = encode(&samples);
        let at = at.index(blob.len());
        blob[at] ^= 1 << bit;
        prop_assert!(Chunk::parse(&blob).is_err());
        prop_assert!(Chunk::parse(&blob[..at]).is_err());
    }

    /// Damage that the checksum does not show, for its reader's sake.
    #[test]
    fn no_bytes_kill_the_reader(
        samples in any_samples(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut blob = encode(&samples);
        for (at, byte) in changes {
            let at = 5 + at.index(blob.len() - 5);
            blob[at] = byte;
        }
        let sum = crc32fast::hash(&blob[5..]).to_le_bytes();
        blob[1..5].copy_from_slice(&sum);
        drop(Chunk::parse(&blob).and_then(|chunk| chunk.decode()));
    }
}
