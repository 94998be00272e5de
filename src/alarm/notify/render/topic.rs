//! The retained message of an active alarm: `alarms/{device}/{severity}/{rule}`. Pure.
//!
//! A rule may be active for several sensors of a device, whose alarms share the topic: the payload is
//! the notice told last, and `also_active` holds those of the others. What is retained is itself the
//! memory, so that a restart loses none.

use serde::{Deserialize, Serialize};

use crate::alarm::{notify::Notice, rule::Severity};

/// Alarms in one retained message besides the one told last; past it the oldest are left out.
const OTHERS_MAX: usize = 31;

pub(in crate::alarm::notify) fn topic(notice: &Notice, severity: Severity) -> String {
    let (device, rule) = (level(&notice.device.key), level(&notice.rule.name));
    format!("alarms/{device}/{}/{rule}", severity.as_str())
}

/// Text as one level of a topic, by percent signs; different texts stay different.
fn level(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.chars() {
        if matches!(c, '/' | '+' | '#' | '%') || c.is_control() {
            for byte in c.encode_utf8(&mut buffer).bytes() {
                safe.push_str(&format!("%{byte:02X}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

#[derive(Serialize, Deserialize)]
struct Retained {
    #[serde(flatten)]
    notice: Notice,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also_active: Vec<Notice>,
}

/// What is to be retained in the place of `retained` after `notice`, on the topic of its own severity
/// (`is_own`) or of another. `None`: as it is. Empty: nothing.
pub(in crate::alarm::notify) fn retained_after(
    retained: &[u8],
    notice: &Notice,
    is_own: bool,
) -> Option<Vec<u8>> {
    let mut active: Vec<Notice> = match serde_json::from_slice::<Retained>(retained) {
        Ok(retained) => std::iter::once(retained.notice).chain(retained.also_active).collect(),
        Err(_) => Vec::new(),
    };
    let before = active.len();
    active.retain(|other| other.alarm_id != notice.alarm_id);
    let was_there = active.len() < before;
    let is_active = is_own && !notice.is_clear();
    if is_active {
        active.insert(0, notice.clone());
    } else if !was_there {
        return None;
    }
    let mut active = active.into_iter();
    let Some(first) = active.next() else { return Some(Vec::new()) };
    let retained = Retained { notice: first, also_active: active.take(OTHERS_MAX).collect() };
    serde_json::to_vec(&retained).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::alarm::notify::notice::examples::{cleared, raised};
    use crate::mqtt::topic::{TopicLimits, TopicName};

    #[test]
    fn names_become_levels() {
        let mut notice = raised(1);
        assert_eq!(topic(&notice, notice.severity), "alarms/boiler-1/critical/Boiler too hot");
        notice.rule.name = "a/b+c#d%e\u{0}f温".to_owned();
        let expected = "alarms/boiler-1/info/a%2Fb%2Bc%23d%25e%00f温";
        assert_eq!(topic(&notice, Severity::Info), expected);
    }

    /// What people read from the retained messages.
    fn shown(retained: &[u8]) -> Vec<i64> {
        let retained: serde_json::Value = serde_json::from_slice(retained).unwrap();
        let others = retained["also_active"].as_array().cloned().unwrap_or_default();
        std::iter::once(&retained)
            .chain(&others)
            .map(|notice| notice["alarm_id"].as_i64().unwrap())
            .collect()
    }

    #[test]
    fn alarms_of_two_sensors_share_a_topic() {
        let one = retained_after(b"", &raised(1), true).unwrap();
        let both = retained_after(&one, &raised(2), true).unwrap();
        assert_eq!((shown(&one), shown(&both)), (vec![1], vec![2, 1]));
        let again = retained_after(&both, &raised(1), true).unwrap();
        assert_eq!(shown(&again), [1, 2]);
        let left = retained_after(&again, &cleared(1), true).unwrap();
        assert_eq!(shown(&left), [2]);
        assert_eq!(retained_after(&left, &cleared(1), true), None);
        assert_eq!(retained_after(&left, &cleared(2), true), Some(Vec::new()));
        assert_eq!(retained_after(&left, &raised(2), false), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn a_topic_is_legal_and_no_two_rules_share_one(a in "\\PC{1,40}|[/+#%\u{0}]{1,3}", b in "\\PC{1,40}") {
            let limits = TopicLimits { levels_max: 4, bytes_max: 65_535 };
            let named = |rule: &str| {
                let mut notice = raised(1);
                notice.rule.name = rule.to_owned();
                topic(&notice, Severity::Major)
            };
            prop_assert!(TopicName::new(&named(&a), limits).is_ok());
            prop_assert_eq!(named(&a) == named(&b), a == b);
        }

        /// The retained messages show what is active, each at its severity.
        #[test]
        fn retained_messages_are_what_is_active(
            steps in prop::collection::vec((1_i64..4, 0_usize..6), 0..30),
        ) {
            let mut topics: BTreeMap<Severity, Vec<u8>> = BTreeMap::new();
            let mut active: BTreeMap<i64, Severity> = BTreeMap::new();
            for (alarm, severity) in steps {
                let notice = match Severity::ALL.get(severity) {
                    Some(severity) => {
                        active.insert(alarm, *severity);
                        Notice { severity: *severity, ..raised(alarm) }
                    }
                    None => {
                        active.remove(&alarm);
                        cleared(alarm)
                    }
                };
                for severity in Severity::ALL {
                    let retained = topics.entry(severity).or_default();
                    if let Some(after) = retained_after(retained, &notice, severity == notice.severity) {
                        *retained = after;
                    }
                }
            }
            let mut found = BTreeMap::new();
            for (severity, retained) in topics.iter().filter(|(_, retained)| !retained.is_empty()) {
                for alarm in shown(retained) {
                    prop_assert_eq!(found.insert(alarm, *severity), None);
                }
            }
            prop_assert_eq!(found, active);
        }
    }
}
