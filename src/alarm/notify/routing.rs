//! Who is told of a notice. Pure.

use std::sync::Arc;

use super::{Notice, Silence, Target};
use crate::telemetry::Timestamp;

/// Targets and silences as they stand; replaced whole when one is edited.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// Bound: `TARGETS_MAX`; the API refuses more, the worker serves no more.
    pub targets: Vec<Arc<Target>>,
    pub silences: Vec<Silence>,
}

impl Routing {
    /// The rule's own targets where it names some, else those whose matcher matches.
    pub fn addressees<'a>(
        &'a self,
        notice: &'a Notice,
        rule_targets: &'a [String],
    ) -> impl Iterator<Item = &'a Arc<Target>> {
        self.targets.iter().filter(move |target| {
            let is_meant = if rule_targets.is_empty() {
                target.matcher.matches(notice)
            } else {
                rule_targets.contains(&target.name)
            };
            target.enabled && is_meant && (target.send_cleared || !notice.is_clear())
        })
    }

    /// Those of a rule's targets that there are none of.
    pub fn unknown<'a>(&self, rule_targets: &'a [String]) -> Vec<&'a str> {
        let is_known = |name: &String| self.targets.iter().any(|target| target.name == *name);
        rule_targets.iter().filter(|name| !is_known(name)).map(String::as_str).collect()
    }

    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| target.name == name)
    }

    pub fn silenced_by(&self, notice: &Notice, now: Timestamp) -> Option<&Silence> {
        self.silences.iter().find(|silence| silence.holds_back(notice, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::notify::notice::examples::{RAISED_AT, cleared, raised};

    fn target(name: &str, more: &str) -> Arc<Target> {
        let json = format!(r#"{{"name": "{name}", "channel": {{"type": "log"}}{more}}}"#);
        Arc::new(serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn a_rule_names_its_targets_or_the_matchers_decide() {
        let routing = Routing {
            targets: vec![
                target("all", ""),
                target("warnings", r#", "match": {"severities": ["warning"]}"#),
                target("off", r#", "enabled": false"#),
                target("raises", r#", "send_cleared": false"#),
            ],
            silences: Vec::new(),
        };
        let told = |notice: &Notice, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let told = routing.addressees(notice, &names).map(|target| target.name.clone());
            told.collect::<Vec<_>>()
        };
        assert_eq!(told(&raised(1), &[]), ["all", "raises"]);
        assert_eq!(told(&raised(1), &["warnings", "off", "gone"]), ["warnings"]);
        assert_eq!(told(&cleared(1), &[]), ["all", "warnings"]);
        assert_eq!(routing.unknown(&["all".to_owned(), "gone".to_owned()]), ["gone"]);
    }

    #[test]
    fn a_silence_holds_from_its_start_to_its_end() {
        let (start, end) =
            (Timestamp::from_micros(RAISED_AT), Timestamp::from_micros(RAISED_AT + 9));
        let matcher = serde_json::from_str(r#"{"devices": ["boiler-*"]}"#).unwrap();
        let silence = Silence {
            id: 1,
            matcher,
            comment: String::new(),
            author: None,
            starts_at: start,
            ends_at: end,
        };
        assert_eq!(silence.check(), Ok(()));
        assert!(Silence { matcher: Default::default(), ..silence.clone() }.check().is_err());
        assert!(Silence { ends_at: start, ..silence.clone() }.check().is_err());
        let routing = Routing { targets: Vec::new(), silences: vec![silence] };
        let is_silent = |micros: i64, notice: &Notice| {
            routing.silenced_by(notice, Timestamp::from_micros(RAISED_AT + micros)).is_some()
        };
        assert!(is_silent(0, &raised(1)) && is_silent(8, &cleared(1)));
        assert!(!is_silent(-1, &raised(1)) && !is_silent(9, &raised(1)));
        assert!(!is_silent(0, &Notice::test("x", start)));
    }
}
