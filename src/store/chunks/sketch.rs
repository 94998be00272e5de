//! Percentiles of many values in few bytes: counts by bins that grow with the value (DDSketch, 1 %).
//! Pure. Two of them merge without loss.

use super::{
    Damage,
    bits::{Input, put_signed, put_unsigned},
};

/// (1 + 0.01) / (1 − 0.01): a bin's value is within 1 % of all that is in it.
const GROWTH: f64 = 1.01 / 0.99;
/// What is nearer to zero counts as zero.
const LEAST: f64 = 1e-9;
/// More bins than values of either sign can have.
const BINS_MAX: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch {
    /// In the order of values: 0 is zero, those of negative values are below.
    bins: Vec<(i32, u64)>,
}

impl Sketch {
    pub fn add(&mut self, value: f64) {
        let bin = bin_of(value);
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => {
                if let Some((_, count)) = self.bins.get_mut(at) {
                    *count += 1;
                }
            }
            Err(at) => self.bins.insert(at, (bin, 1)),
        }
    }

    pub fn merge(&mut self, other: &Self) {
        let mut merged = Vec::with_capacity(self.bins.len().max(other.bins.len()));
        let mut theirs = other.bins.iter().copied().peekable();
        for (bin, count) in &self.bins {
            while let Some(before) = theirs.next_if(|(other, _)| other < bin) {
                merged.push(before);
            }
            let same = theirs.next_if(|(other, _)| other == bin).map_or(0, |(_, count)| count);
            merged.push((*bin, count + same));
        }
        merged.extend(theirs);
        self.bins = merged;
    }

    pub fn count(&self) -> u64 {
        self.bins.iter().map(|(_, count)| count).sum()
    }

    /// The value that the part `quantile` (0 to 1) of all values does not pass; `None` without values.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let last = self.count().checked_sub(1)?;
        let rank = (quantile.clamp(0.0, 1.0) * last as f64).round() as u64;
        let mut seen = 0;
        let found = self.bins.iter().find(|(_, count)| {
            seen += count;
            seen > rank
        });
        found.map(|(bin, _)| value_of(*bin))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bins.len() * 2 + 3);
        put_unsigned(&mut bytes, self.bins.len() as u64);
        let mut last = 0;
        for (bin, count) in &self.bins {
            put_signed(&mut bytes, i64::from(*bin) - last);
            put_unsigned(&mut bytes, *count);
            last = i64::from(*bin);
        }
        bytes
    }

    /// # Errors
    /// When [`Sketch::to_bytes`] did not write it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damage> {
        let mut input = Input::new(bytes);
        let count = input.count(BINS_MAX.min(bytes.len()))?;
        let mut bins = Vec::with_capacity(count);
        let mut last = 0_i64;
        for _ in 0..count {
            last = last.wrapping_add(input.signed()?);
            let bin = i32::try_from(last).map_err(|_| Damage("a bin is out of range"))?;
            bins.push((bin, input.unsigned()?));
        }
        let is_sorted = bins.is_sorted_by(|a, b| a.0 < b.0);
        if is_sorted { Ok(Self { bins }) } else { Err(Damage("bins are not in order")) }
    }
}

/// Bins above [`LEAST`] count from 1.
fn offset() -> f64 {
    (LEAST.ln() / GROWTH.ln()).floor()
}

fn bin_of(value: f64) -> i32 {
    if value.abs() < LEAST {
        return 0;
    }
    let place = (value.abs().ln() / GROWTH.ln()).ceil() - offset() + 1.0;
    // Infinities are in a bin beyond all others.
    let bin = place.min(f64::from(i16::MAX) * 2.0) as i32;
    if value < 0.0 { -bin } else { bin }
}

fn value_of(bin: i32) -> f64 {
    if bin == 0 {
        return 0.0;
    }
    let place = f64::from(bin.abs()) - 1.0 + offset();
    let value = 2.0 * (place * GROWTH.ln()).exp() / (GROWTH + 1.0);
    if bin < 0 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percentiles_are_near(
            values in prop::collection::vec(-1e6_f64..1e6, 1..300),
            quantile in 0.0_f64..1.0,
            cut in any::<prop::sample::Index>(),
        ) {
            let (left, right) = values.split_at(cut.index(values.len()));
            let sketch = |values: &[f64]| {
                let mut sketch = Sketch::default();
                values.iter().for_each(|value| sketch.add(*value));
                sketch
            };
            let mut merged = sketch(left);
            merged.merge(&sketch(right));
            prop_assert_eq!(&merged, &sketch(&values));
            prop_assert_eq!(&Sketch::from_bytes(&merged.to_bytes()).unwrap(), &merged);
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let exact = sorted[(quantile * (sorted.len() - 1) as f64).round() as usize];
            let near = merged.quantile(quantile).unwrap();
            prop_assert!((near - exact).abs() <= exact.abs() * 0.0101 + LEAST, "{near} {exact}");
        }

        #[test]
        fn no_bytes_kill_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            drop(Sketch::from_bytes(&bytes));
        }
    }

    #[test]
    fn odd_values_have_places() {
        let mut sketch = Sketch::default();
        for value in [f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MAX, f64::MIN_POSITIVE] {
            sketch.add(value);
        }
        assert_eq!(sketch.count(), 6);
        assert_eq!(Sketch::from_bytes(&sketch.to_bytes()).unwrap(), sketch);
    }
}
