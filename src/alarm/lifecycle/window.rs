//! The samples of a sliding window `(newest − width, newest]` by event time, and their moments.
//!
//! Samples lie in buckets of a 32nd of the width, aligned to the clock. The moments are folded in one
//! order that depends on the samples alone (oldest bucket from its end, then bucket by bucket), so a
//! window that was rebuilt after a restart has bit for bit the moments of one that never stopped. In
//! order, a sample costs a few merges however long the window is; out of order, the window is folded
//! anew. A copy shares the full buckets.

use std::{collections::VecDeque, sync::Arc};

use super::moments::{Moments, Sample};

/// More samples than that are not kept: the oldest go, and the window is shorter than asked for.
pub const SAMPLES_MAX: usize = 100_000;
const BUCKETS: i64 = 32;

#[derive(Debug, Clone)]
pub(super) struct Window {
    width: i64,
    full: Arc<Full>,
    /// Samples of the oldest bucket that have left the window.
    skip: usize,
    /// Samples in the full buckets, those skipped included.
    full_count: usize,
    open: Vec<Sample>,
    open_moments: Moments,
}

/// The buckets before the one that is being filled.
#[derive(Debug, Clone, Default)]
struct Full {
    buckets: VecDeque<Arc<Bucket>>,
    /// Of the oldest bucket: the moments of each sample and those after it.
    tails: Vec<Moments>,
    /// Of all buckets but the oldest.
    rest: Option<Moments>,
}

#[derive(Debug)]
struct Bucket {
    samples: Vec<Sample>,
    moments: Moments,
}

fn fold(samples: &[Sample]) -> Moments {
    samples.iter().fold(Moments::EMPTY, |sum, sample| sum.merge(Moments::of(*sample)))
}

impl Full {
    fn push(&mut self, bucket: Bucket) {
        if self.buckets.is_empty() {
            self.tails = tails(&bucket.samples);
        } else {
            self.rest = Some(self.rest.unwrap_or(Moments::EMPTY).merge(bucket.moments));
        }
        self.buckets.push_back(Arc::new(bucket));
    }

    fn pop(&mut self) {
        self.buckets.pop_front();
        self.tails = self.buckets.front().map_or_else(Vec::new, |oldest| tails(&oldest.samples));
        self.rest = Some(
            self.buckets
                .iter()
                .skip(1)
                .fold(Moments::EMPTY, |sum, bucket| sum.merge(bucket.moments)),
        );
    }
}

fn tails(samples: &[Sample]) -> Vec<Moments> {
    let mut tails = Vec::with_capacity(samples.len());
    let mut sum = Moments::EMPTY;
    for sample in samples.iter().rev() {
        sum = Moments::of(*sample).merge(sum);
        tails.push(sum);
    }
    tails.reverse();
    tails
}

impl Window {
    pub(super) fn new(width: i64) -> Self {
        Self {
            width,
            full: Arc::default(),
            skip: 0,
            full_count: 0,
            open: Vec::new(),
            open_moments: Moments::EMPTY,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.full_count - self.skip + self.open.len()
    }

    fn newest(&self) -> Option<i64> {
        self.open.last().map(|sample| sample.time)
    }

    fn oldest(&self) -> Option<i64> {
        let bucket = self.full.buckets.front().map_or(&self.open, |bucket| &bucket.samples);
        bucket.get(self.skip).map(|sample| sample.time)
    }

    /// Time from the oldest to the newest sample.
    pub(super) fn span(&self) -> i64 {
        self.newest().zip(self.oldest()).map_or(0, |(newest, oldest)| newest - oldest)
    }

    pub(super) fn width(&self) -> i64 {
        self.width
    }

    fn bucket_of(&self, time: i64) -> i64 {
        time.div_euclid((self.width / BUCKETS).max(1))
    }

    /// What is older than the window is left out.
    pub(super) fn add(&mut self, sample: Sample) {
        let Some(newest) = self.newest() else {
            return self.append(sample);
        };
        if sample.time > newest {
            if self.bucket_of(sample.time) != self.bucket_of(newest) {
                self.close();
            }
            self.append(sample);
            self.evict(sample.time - self.width);
        } else if sample.time > newest - self.width {
            self.insert(sample);
        }
        self.shorten();
    }

    fn append(&mut self, sample: Sample) {
        self.open_moments = self.open_moments.merge(Moments::of(sample));
        self.open.push(sample);
    }

    fn close(&mut self) {
        let samples = std::mem::take(&mut self.open);
        let moments = std::mem::replace(&mut self.open_moments, Moments::EMPTY);
        self.full_count += samples.len();
        Arc::make_mut(&mut self.full).push(Bucket { samples, moments });
    }

    /// Drops samples up to `until`; they are all in full buckets, for a bucket is shorter than the
    /// window.
    fn evict(&mut self, until: i64) {
        while let Some(oldest) = self.full.buckets.front() {
            let left = oldest.samples.partition_point(|sample| sample.time <= until);
            self.skip = self.skip.max(left);
            if self.skip < oldest.samples.len() {
                break;
            }
            self.drop_oldest_bucket();
        }
    }

    fn drop_oldest_bucket(&mut self) {
        self.full_count -= self.full.buckets.front().map_or(0, |oldest| oldest.samples.len());
        self.skip = 0;
        Arc::make_mut(&mut self.full).pop();
    }

    /// Keeps the number of samples within its bound.
    fn shorten(&mut self) {
        if self.len() <= SAMPLES_MAX {
            return;
        }
        match self.full.buckets.front().map(|oldest| oldest.samples.len()) {
            Some(length) => {
                self.skip += 1;
                if self.skip == length {
                    self.drop_oldest_bucket();
                }
            }
            None => {
                // All in one bucket. Half at a time, or each sample would cost as much as all.
                self.open.drain(..SAMPLES_MAX / 2);
                self.open_moments = fold(&self.open);
            }
        }
    }

    fn insert(&mut self, sample: Sample) {
        let place = self.open.partition_point(|known| known.time < sample.time);
        let first = self.open.first().map_or(sample.time, |first| first.time);
        if self.bucket_of(first) == self.bucket_of(sample.time) {
            self.open.insert(place, sample);
            self.open_moments = fold(&self.open);
            return;
        }
        let mut samples: Vec<Sample> = Vec::with_capacity(self.len() + 1);
        for bucket in &self.full.buckets {
            samples.extend(&bucket.samples);
        }
        samples.drain(..self.skip.min(samples.len()));
        samples.append(&mut self.open);
        let place = samples.partition_point(|known| known.time < sample.time);
        samples.insert(place, sample);
        *self = Self::new(self.width);
        for sample in samples {
            let is_next = self
                .newest()
                .is_some_and(|newest| self.bucket_of(newest) != self.bucket_of(sample.time));
            if is_next {
                self.close();
            }
            self.append(sample);
        }
    }

    pub(super) fn moments(&self) -> Moments {
        let oldest = self.full.tails.get(self.skip).copied().unwrap_or(Moments::EMPTY);
        oldest.merge(self.full.rest.unwrap_or(Moments::EMPTY)).merge(self.open_moments)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same from scratch: the samples in order, put into a fresh window.
    fn rebuilt(width: i64, added: &[Sample]) -> Window {
        let newest = added.iter().map(|sample| sample.time).max().unwrap_or(0);
        let mut kept: Vec<Sample> =
            added.iter().copied().filter(|sample| sample.time > newest - width).collect();
        kept.sort_by_key(|sample| sample.time);
        let mut window = Window::new(width);
        for sample in kept {
            window.add(sample);
        }
        window
    }

    proptest! {
        #[test]
        fn moments_depend_on_the_samples_alone(
            width in 1_i64..400,
            steps in prop::collection::vec((-30_i64..40, -50.0..50.0_f64), 1..300),
        ) {
            let mut window = Window::new(width);
            let mut added: Vec<Sample> = Vec::new();
            let mut time = 0;
            for (step, value) in steps {
                time += step;
                if added.iter().any(|sample| sample.time == time) {
                    continue;
                }
                let newest = added.iter().map(|sample| sample.time).max();
                let sample = Sample { time, value };
                window.add(sample);
                if newest.is_none_or(|newest| time > newest - width) {
                    added.push(sample);
                }
                let fresh = rebuilt(width, &added);
                prop_assert_eq!(window.moments(), fresh.moments());
                prop_assert_eq!(window.len(), fresh.len());
                prop_assert_eq!(window.span(), fresh.span());

                let newest = added.iter().map(|sample| sample.time).max().unwrap();
                let inside: Vec<f64> = added
                    .iter()
                    .filter(|sample| sample.time > newest - width)
                    .map(|sample| sample.value)
                    .collect();
                let mean = inside.iter().sum::<f64>() / inside.len() as f64;
                let moments = window.moments();
                prop_assert_eq!(moments.count, inside.len() as f64);
                prop_assert!((moments.mean - mean).abs() < 1e-9);
                prop_assert_eq!(moments.min, inside.iter().copied().fold(f64::INFINITY, f64::min));
                if inside.len() > 1 {
                    let squares: f64 = inside.iter().map(|value| (value - mean).powi(2)).sum();
                    let stddev = (squares / (inside.len() - 1) as f64).sqrt();
                    prop_assert!((moments.stddev().unwrap() - stddev).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn a_straight_line_has_its_slope() {
        let mut window = Window::new(60_000_000);
        for second in 0..100 {
            let time = 1_766_125_800_000_000 + second * 1_000_000;
            window.add(Sample { time, value: 5.0 + second as f64 * 0.25 });
        }
        let per_minute = window.moments().slope().unwrap() * 60e6;
        assert!((per_minute - 15.0).abs() < 1e-6, "{per_minute}");
    }

    #[test]
    fn holds_no_more_than_its_bound() {
        let mut window = Window::new(10_000_000_000);
        for time in 0..2 * SAMPLES_MAX as i64 {
            window.add(Sample { time, value: 1.0 });
        }
        assert!(window.len() <= SAMPLES_MAX);
        let mut window = Window::new(1_000_000);
        for time in 0..2 * SAMPLES_MAX as i64 {
            window.add(Sample { time, value: 1.0 });
        }
        assert_eq!(window.len(), SAMPLES_MAX);
        assert_eq!(window.moments().mean, 1.0);
    }
}
