//! What is known of a set of samples without keeping them: count, mean, spread, extremes, slope.

/// One value at one time (microseconds).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) time: i64,
    pub(super) value: f64,
}

/// Central moments, after Welford and Chan: nothing is subtracted from large sums, and samples that
/// are all equal have exactly their value as the mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moments {
    pub(super) count: f64,
    pub(super) mean: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    squares: f64,
    mean_time: f64,
    time_squares: f64,
    products: f64,
}

impl Moments {
    pub(super) const EMPTY: Self = Self {
        count: 0.0,
        mean: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        squares: 0.0,
        mean_time: 0.0,
        time_squares: 0.0,
        products: 0.0,
    };

    pub(super) fn of(sample: Sample) -> Self {
        Self {
            count: 1.0,
            mean: sample.value,
            min: sample.value,
            max: sample.value,
            mean_time: sample.time as f64,
            ..Self::EMPTY
        }
    }

    #[must_use]
    pub(super) fn merge(self, other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        if other.count == 0.0 {
            return self;
        }
        let count = self.count + other.count;
        let share = other.count / count;
        let between = self.count * share;
        let apart = other.mean - self.mean;
        let time_apart = other.mean_time - self.mean_time;
        Self {
            count,
            mean: self.mean + apart * share,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            squares: self.squares + other.squares + apart * apart * between,
            mean_time: self.mean_time + time_apart * share,
            time_squares: self.time_squares
                + other.time_squares
                + time_apart * time_apart * between,
            products: self.products + other.products + apart * time_apart * between,
        }
    }

    /// Of a sample (n − 1); `None` below two.
    pub(super) fn stddev(&self) -> Option<f64> {
        (self.count >= 2.0).then(|| (self.squares / (self.count - 1.0)).sqrt())
    }

    /// Change of the value per microsecond, by least squares; `None` without two different times.
    pub(super) fn slope(&self) -> Option<f64> {
        (self.time_squares > 0.0).then(|| self.products / self.time_squares)
    }
}
