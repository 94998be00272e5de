//! Versions as entity tags: what was read with `ETag` is changed with `If-Match`.

use std::time::Duration;

use poem::http::StatusCode;

use super::problem::Fault;
use crate::store::StoreError;

pub(super) fn entity_tag(version: i64) -> String {
    format!("\"{version}\"")
}

/// Whether a change is meant for this version; without `If-Match` it is meant for any.
pub(super) fn check(if_match: Option<&str>, version: i64) -> Result<(), Fault> {
    let tag = entity_tag(version);
    let is_meant =
        |given: &str| given.split(',').map(str::trim).any(|given| given == "*" || given == tag);
    if if_match.is_none_or(is_meant) { Ok(()) } else { Err(StoreError::Outdated.into()) }
}

/// The version that `If-Match` names, where the change itself compares it. `None`: any.
pub(super) fn version(if_match: Option<&str>) -> Result<Option<i64>, Fault> {
    let Some(given) = if_match.filter(|given| *given != "*") else { return Ok(None) };
    let inner = given.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let version = inner.and_then(|text| text.parse().ok());
    // What is none of our tags is the tag of nothing that is there.
    version.map(Some).ok_or_else(|| StoreError::Outdated.into())
}

/// Times that a change without `If-Match` is tried.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Tries of a change of what has versions. Without `If-Match` it is meant for any: when somebody else's
/// came between reading and writing, it is made on top of that one.
pub(super) struct Tries(usize);

impl Tries {
    pub(super) fn of(if_match: Option<&str>) -> Self {
        Self(if if_match.is_none() { TRIES } else { 1 })
    }

    /// How long to wait before the change is tried again: the other one is in the store, and about to be
    /// in memory. `None`: this is how it ended.
    pub(super) fn again<T>(&mut self, ended: &Result<T, Fault>) -> Option<Duration> {
        self.0 -= 1;
        let is_outdated =
            ended.as_ref().is_err_and(|fault| fault.status == StatusCode::PRECONDITION_FAILED);
        (is_outdated && self.0 > 0).then_some(PAUSE)
    }
}
