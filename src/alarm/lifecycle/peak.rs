use crate::alarm::rule::{AlarmRule, Condition, Limit, Test};

/// Which of two values is the worse one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Extreme {
    Highest,
    Lowest,
    FarthestFrom(f64),
    NearestTo(f64),
}

impl Extreme {
    /// Of the first level whose condition has limits.
    pub fn of_rule(rule: &AlarmRule) -> Option<(Option<String>, Self)> {
        rule.levels.iter().find_map(|level| Self::of(&level.condition))
    }

    /// Of the first condition in it that has limits, with the sensor that it is about.
    pub fn of(condition: &Condition) -> Option<(Option<String>, Self)> {
        let extreme = match &condition.test {
            Test::Limit(limit) => Self::of_limit(limit),
            Test::Aggregate(aggregate) => Self::of_limit(&aggregate.limit),
            Test::CountOf(count) => Self::of(&count.condition)?.1,
            Test::Rate(rate) if rate.above.is_some() => Self::Highest,
            Test::Rate(_) => Self::Lowest,
            Test::All(parts) | Test::Any(parts) => return parts.iter().find_map(Self::of),
            _ => return None,
        };
        Some((condition.sensor.clone(), extreme))
    }

    fn of_limit(limit: &Limit) -> Self {
        match limit {
            Limit::Above(_) => Self::Highest,
            Limit::Below(_) => Self::Lowest,
            Limit::Outside(band) => Self::FarthestFrom(f64::midpoint(band.low, band.high)),
            Limit::Inside(band) => Self::NearestTo(f64::midpoint(band.low, band.high)),
        }
    }

    pub fn is_worse(self, value: f64, than: f64) -> bool {
        match self {
            Self::Highest => value > than,
            Self::Lowest => value < than,
            Self::FarthestFrom(middle) => (value - middle).abs() > (than - middle).abs(),
            Self::NearestTo(middle) => (value - middle).abs() < (than - middle).abs(),
        }
    }

    /// The worse of what is known of both.
    pub fn worse(self, one: Option<f64>, other: Option<f64>) -> Option<f64> {
        match (one, other) {
            (Some(one), Some(other)) if self.is_worse(other, one) => Some(other),
            (None, other) => other,
            (one, _) => one,
        }
    }
}
