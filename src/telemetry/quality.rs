use std::{fmt, str::FromStr};

/// How far a reading can be trusted (the OPC UA / OEI-MS triad).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
#[repr(u8)]
pub enum Quality {
    #[default]
    Good = 0,
    /// Outside the sensor's physical range, or with a time that had to be replaced.
    Uncertain = 1,
    /// The sensor itself says that it has no usable value.
    Bad = 2,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("quality must be good, uncertain or bad, not {0:?}")]
pub struct InvalidQuality(pub String);

impl Quality {
    pub fn as_str(self) -> &'static str {
        match self {
            Quality::Good => "good",
            Quality::Uncertain => "uncertain",
            Quality::Bad => "bad",
        }
    }

    /// The number kept in the store. Unknown numbers read as `Bad`.
    pub fn from_code(code: i64) -> Self {
        match code {
            0 => Quality::Good,
            1 => Quality::Uncertain,
            _ => Quality::Bad,
        }
    }

    pub fn code(self) -> i64 {
        self as i64
    }

    /// The less trustworthy of two.
    pub fn worst(self, other: Self) -> Self {
        self.max(other)
    }
}

impl FromStr for Quality {
    type Err = InvalidQuality;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "good" => Ok(Quality::Good),
            "uncertain" => Ok(Quality::Uncertain),
            "bad" => Ok(Quality::Bad),
            other => Err(InvalidQuality(other.to_owned())),
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
