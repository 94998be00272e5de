//! Which notices a target or a silence is about. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Notice;
use crate::alarm::rule::Severity;

/// All parts that are given must match; a matcher without parts matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matcher {
    /// One of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub severities: Vec<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// Values may hold `*` and `?`. The labels are those of the rule and the device, and `alertname`,
    /// `device`, `sensor`, `severity`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// One of them; with `*` and `?`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl Matcher {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Who was told of an alarm is told of its end: a cleared one matches by every severity that it
    /// may have had.
    pub fn matches(&self, notice: &Notice) -> bool {
        let severity_matches = if notice.is_clear() {
            let highest = notice.highest_severity.unwrap_or(notice.severity);
            Severity::ALL.iter().any(|one| *one <= highest && self.severity_matches(*one))
        } else {
            self.severity_matches(notice.severity)
        };
        severity_matches
            && any_matches(&self.devices, &notice.device.key)
            && any_matches(&self.rules, &notice.rule.name)
            && self.labels_match(notice)
    }

    fn severity_matches(&self, severity: Severity) -> bool {
        (self.severities.is_empty() || self.severities.contains(&severity))
            && self.min_severity.is_none_or(|least| severity >= least)
    }

    fn labels_match(&self, notice: &Notice) -> bool {
        self.labels.iter().all(|(name, wanted)| {
            // Severity is matched as above, whatever it is called.
            if name == "severity" && notice.is_clear() {
                let highest = notice.highest_severity.unwrap_or(notice.severity);
                return Severity::ALL
                    .iter()
                    .any(|one| *one <= highest && glob_matches(wanted, one.as_str()));
            }
            notice.label(name).is_some_and(|value| glob_matches(wanted, value))
        })
    }
}

fn any_matches(globs: &[String], text: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob_matches(glob, text))
}

/// `*` is any run of characters, `?` any one; the rest is itself. Takes time in proportion to the
/// product of the lengths at worst.
pub(super) fn glob_matches(glob: &str, text: &str) -> bool {
    let mut glob_rest = glob.chars();
    let mut text_rest = text.chars();
    // Where the last star stands, and what it has not swallowed yet.
    let mut star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let text_before = text_rest.clone();
        match (glob_rest.next(), text_rest.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((glob_rest.clone(), text_before.clone()));
                text_rest = text_before;
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => {
                let Some((after_star, mut swallowed)) = star.take() else { return false };
                if swallowed.next().is_none() {
                    return false;
                }
                (glob_rest, text_rest) = (after_star.clone(), swallowed.clone());
                star = Some((after_star, swallowed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alarm::notify::{NoticeKind, notice::examples::raised};

    /// The definition, without its cost in mind.
    fn defined(glob: &[char], text: &[char]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                defined(rest, text)
                    || text.split_first().is_some_and(|(_, tail)| defined(glob, tail))
            }
            (Some(('?', rest)), Some((_, tail))) => defined(rest, tail),
            (Some((wanted, rest)), Some((found, tail))) => wanted == found && defined(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_defined(glob in "[ab*?é]{0,8}", text in "[abé]{0,8}") {
            let (glob_chars, text_chars): (Vec<_>, Vec<_>) =
                (glob.chars().collect(), text.chars().collect());
            prop_assert_eq!(glob_matches(&glob, &text), defined(&glob_chars, &text_chars));
        }
    }

    #[test]
    fn every_given_part_must_match() {
        let notice = raised(1);
        let matches = |json: &str| serde_json::from_str::<Matcher>(json).unwrap().matches(&notice);
        for yes in [
            "{}",
            r#"{"severities": ["critical"]}"#,
            r#"{"min_severity": "major"}"#,
            r#"{"labels": {"team": "heat*", "room": "cellar"}, "devices": ["x", "boiler-?"]}"#,
            r#"{"rules": ["Boiler*"], "labels": {"alertname": "Boiler too hot"}}"#,
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in [
            r#"{"severities": ["warning", "major"]}"#,
            r#"{"labels": {"team": "ops"}}"#,
            r#"{"labels": {"nothing": "*"}}"#,
            r#"{"devices": ["boiler"], "rules": ["*"]}"#,
        ] {
            assert!(!matches(no), "{no}");
        }
        assert!(serde_json::from_str::<Matcher>(r#"{"severity": "info"}"#).is_err());
    }

    #[test]
    fn who_was_told_of_the_raise_is_told_of_the_end() {
        let mut notice = raised(1);
        notice.kind = NoticeKind::Cleared;
        notice.severity = Severity::Warning;
        notice.highest_severity = Some(Severity::Critical);
        for json in [
            r#"{"min_severity": "critical"}"#,
            r#"{"severities": ["minor"]}"#,
            r#"{"labels": {"severity": "critical"}}"#,
        ] {
            assert!(serde_json::from_str::<Matcher>(json).unwrap().matches(&notice), "{json}");
        }
        notice.highest_severity = Some(Severity::Minor);
        let critical = Matcher { min_severity: Some(Severity::Critical), ..Matcher::default() };
        assert!(!critical.matches(&notice));
    }
}
