//! Versions as entity tags: what was read with `ETag` is changed with `If-Match`.

use std::time::Duration;

use poem::http::StatusCode;
use sha2::{Digest, Sha256};
use tokio::time::sleep;

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
/// Another's change that came between is in the store, and in a moment in memory.
const PAUSE: Duration = Duration::from_millis(5);

/// Makes a change of what has versions. Without `If-Match` it is meant for any: when somebody else's came
/// between reading and writing, it is made on top of that one.
///
/// # Errors
/// How its last try ended.
pub(super) async fn made<T, F>(
    if_match: Option<&str>,
    change: impl Fn() -> F + Send,
) -> Result<T, Fault>
where
    T: Send,
    F: Future<Output = Result<T, Fault>> + Send,
{
    let tries = if if_match.is_none() { TRIES } else { 1 };
    for _ in 1..tries {
        match change().await {
            Err(fault) if fault.status == StatusCode::PRECONDITION_FAILED => sleep(PAUSE).await,
            ended => return ended,
        }
    }
    change().await
}

/// The tag of an answer that is made anew each time; weak, as it names the packed bytes, too.
pub(super) fn of_content(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let half: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{half}\"")
}

/// Whether `If-None-Match` names a tag; its comparison is the weak one.
pub(super) fn names(if_none_match: &str, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let wanted = bare(tag);
    if_none_match.split(',').any(|given| given.trim() == "*" || bare(given) == wanted)
}
