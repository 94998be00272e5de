//! Typical sensor data: sensors in turn, each every ten seconds, values that walk by tenths.

use brooklet::{
    store::chunks::Sample,
    telemetry::{Quality, SensorId, Timestamp},
};

/// A Monday's midnight.
pub(crate) const BEGIN: i64 = 1_760_313_600_000_000;
pub(crate) const INTERVAL: i64 = 10_000_000;

pub(crate) struct Walk {
    seed: u64,
    values: Vec<i64>,
    next: u64,
}

impl Walk {
    pub(crate) fn new(sensors: u64) -> Self {
        let values = (0..sensors).map(|_| 200).collect();
        Self { seed: 88_172_645_463_325_252, values, next: 0 }
    }

    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }

    /// The next reading: each sensor at its own offset in the interval, to the millisecond; received
    /// two to five milliseconds later.
    pub(crate) fn step(&mut self) -> (SensorId, Sample) {
        let count = self.values.len().max(1) as u64;
        let (sensor, round) = (self.next % count, (self.next / count) as i64);
        self.next += 1;
        let random = self.random();
        let mut tenths = 0;
        if let Some(value) = self.values.get_mut(sensor as usize) {
            *value += (random % 7) as i64 - 3;
            tenths = *value;
        }
        let offset = sensor as i64 * INTERVAL / count as i64 / 1_000 * 1_000;
        let event_time = Timestamp::from_micros(BEGIN + round * INTERVAL + offset);
        let sample = Sample {
            event_time,
            received_at: event_time.plus_micros(2_000 + (random >> 32) as i64 % 3_000),
            value: Some(tenths as f64 / 10.0),
            quality: Quality::Good,
        };
        (SensorId(sensor as i64 + 1), sample)
    }
}
