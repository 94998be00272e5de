//! What is not told for a while. Pure.

use serde::{Deserialize, Serialize};

use super::{Matcher, Notice};
use crate::telemetry::Timestamp;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    pub id: i64,
    pub matcher: Matcher,
    #[serde(default)]
    pub comment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(with = "super::notice::rfc3339")]
    pub starts_at: Timestamp,
    #[serde(with = "super::notice::rfc3339")]
    pub ends_at: Timestamp,
}

impl Silence {
    /// Half-open: silent at its start, not at its end. A test is never silenced.
    pub fn holds_back(&self, notice: &Notice, now: Timestamp) -> bool {
        notice.kind != super::NoticeKind::Test
            && self.starts_at <= now
            && now < self.ends_at
            && self.matcher.matches(notice)
    }

    /// # Errors
    /// What is wrong with it, and where.
    pub fn check(&self) -> Result<(), super::InvalidTarget> {
        if self.matcher.is_empty() {
            let detail = "give at least one part; an empty one would silence everything";
            return Err(super::InvalidTarget::new("/matcher", detail));
        }
        if self.ends_at <= self.starts_at {
            return Err(super::InvalidTarget::new("/ends_at", "it ends after it starts"));
        }
        Ok(())
    }
}
