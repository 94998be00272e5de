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
