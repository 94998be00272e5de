//! Versions as entity tags: what was read with `ETag` is changed with `If-Match`.

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
