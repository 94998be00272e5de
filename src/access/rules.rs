//! Topic permissions: what is allowed to whom, with denials that win.
//!
//! Pure, and compiled once: a decision allocates nothing. `{user}` and `{client}` are compared with
//! one level as they are; that a name with `/`, `+` or `#` never gets that far is the gatekeeper's
//! duty. `+` and `#` cover topics that begin with `$`, too.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;

use crate::config::{self, Action, Permission};

/// The names of whoever asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    /// `None`: anonymous.
    pub(super) user: Option<&'a str>,
    pub(super) client: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(Box<str>),
    One,
    Rest,
    User,
    Client,
}

impl Level {
    /// Whether a level that is no wildcard falls under this one.
    fn takes(&self, level: &str, names: Names<'_>) -> bool {
        match self {
            Self::Literal(literal) => **literal == *level,
            Self::One | Self::Rest => true,
            Self::User => names.user == Some(level),
            Self::Client => names.client == level,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Box<[Level]>);

impl Pattern {
    fn new(filter: &str) -> Self {
        let level = |level: &str| match level {
            "+" => Level::One,
            "#" => Level::Rest,
            "{user}" => Level::User,
            "{client}" => Level::Client,
            literal => Level::Literal(literal.into()),
        };
        Self(filter.split('/').map(level).collect())
    }

    fn is_everything(&self) -> bool {
        *self.0 == [Level::Rest]
    }

    /// Whether a topic name falls under the pattern.
    fn matches(&self, topic: &str, names: Names<'_>) -> bool {
        let mut levels = topic.split('/');
        for own in &self.0 {
            if *own == Level::Rest {
                return true;
            }
            if !levels.next().is_some_and(|level| own.takes(level, names)) {
                return false;
            }
        }
        levels.next().is_none()
    }

    /// Whether every topic that matches `filter` falls under the pattern.
    fn covers(&self, filter: &str, names: Names<'_>) -> bool {
        let mut levels = filter.split('/');
        for own in &self.0 {
            let is_covered = match (own, levels.next()) {
                (Level::Rest, _) => return true,
                (_, None | Some("#")) => false,
                (own, Some("+")) => *own == Level::One,
                (own, Some(level)) => own.takes(level, names),
            };
            if !is_covered {
                return false;
            }
        }
        levels.next().is_none()
    }

    /// Whether some topic that matches `filter` falls under the pattern.
    fn overlaps(&self, filter: &str, names: Names<'_>) -> bool {
        let mut levels = filter.split('/');
        for own in &self.0 {
            let may_meet = match (own, levels.next()) {
                (Level::Rest, _) | (_, Some("#")) => return true,
                (_, None) => false,
                (_, Some("+")) => true,
                (own, Some(level)) => own.takes(level, names),
            };
            if !may_meet {
                return false;
            }
        }
        matches!(levels.next(), None | Some("#"))
    }
}

/// What is allowed and denied for one action.
#[derive(Debug, Clone, Default)]
struct Side {
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

impl Side {
    fn admits(&self, topic: &str, names: Names<'_>) -> bool {
        let matches = |pattern: &Pattern| pattern.matches(topic, names);
        self.allow.iter().any(matches) && !self.deny.iter().any(matches)
    }

    fn admits_some_of(&self, filter: &str, names: Names<'_>) -> bool {
        self.allow.iter().any(|pattern| pattern.overlaps(filter, names))
            && !self.deny.iter().any(|pattern| pattern.covers(filter, names))
    }

    fn denies(&self, topic: &str, names: Names<'_>) -> bool {
        self.deny.iter().any(|pattern| pattern.matches(topic, names))
    }

    fn denies_all_of(&self, filter: &str, names: Names<'_>) -> bool {
        self.deny.iter().any(|pattern| pattern.covers(filter, names))
    }

    fn admits_everything(&self) -> bool {
        self.deny.is_empty() && self.allow.iter().any(Pattern::is_everything)
    }
}

/// All that applies to one user, or to all who are alike.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights {
    publish: Side,
    subscribe: Side,
    has_user: bool,
    has_client: bool,
}

impl Rights {
    /// What these permissions allow; what is none allows nothing.
    pub(super) fn of_texts(texts: &[String]) -> Self {
        let allow: Vec<_> =
            texts.iter().filter_map(|text| Permission::try_from(text.clone()).ok()).collect();
        let mut rights = Self::default();
        rights.add(&allow, &[]);
        rights
    }

    fn add(&mut self, allow: &[Permission], deny: &[Permission]) {
        for (permissions, is_denied) in [(allow, false), (deny, true)] {
            for permission in permissions {
                let pattern = Pattern::new(&permission.filter);
                self.has_user |= pattern.0.contains(&Level::User);
                self.has_client |= pattern.0.contains(&Level::Client);
                let (publish, subscribe) = match permission.action {
                    Action::Publish => (true, false),
                    Action::Subscribe => (false, true),
                    Action::Both => (true, true),
                };
                for (side, applies) in
                    [(&mut self.publish, publish), (&mut self.subscribe, subscribe)]
                {
                    let patterns = if is_denied { &mut side.deny } else { &mut side.allow };
                    patterns.extend(applies.then(|| pattern.clone()));
                }
            }
        }
    }

    /// Whether a user's name stands for a level somewhere.
    pub(super) fn has_user(&self) -> bool {
        self.has_user
    }

    /// Whether a client id stands for a level somewhere.
    pub(super) fn has_client(&self) -> bool {
        self.has_client
    }

    pub(super) fn may_publish(&self, topic: &str, names: Names<'_>) -> bool {
        self.publish.admits(topic, names)
    }

    /// Whether anything that `filter` matches may be received.
    pub(super) fn may_subscribe(&self, filter: &str, names: Names<'_>) -> bool {
        self.subscribe.admits_some_of(filter, names)
    }

    pub(super) fn may_receive(&self, topic: &str, names: Names<'_>) -> bool {
        self.subscribe.admits(topic, names)
    }

    pub(super) fn denies_publishing(&self, topic: &str, names: Names<'_>) -> bool {
        self.publish.denies(topic, names)
    }

    pub(super) fn denies_subscribing(&self, filter: &str, names: Names<'_>) -> bool {
        self.subscribe.denies_all_of(filter, names)
    }

    pub(super) fn denies_receiving(&self, topic: &str, names: Names<'_>) -> bool {
        self.subscribe.denies(topic, names)
    }

    /// Whether [`Self::may_receive`] is always so.
    pub(super) fn may_receive_everything(&self) -> bool {
        self.subscribe.admits_everything()
    }
}

/// Everybody's rights.
#[derive(Debug)]
pub(super) struct Rules {
    /// Users that something is said of by name.
    named: HashMap<Arc<str>, Rights, RandomState>,
    other_users: Rights,
    anonymous: Rights,
    /// Users of the configuration: their names are nobody else's.
    users: HashSet<Arc<str>, RandomState>,
}

impl Rules {
    /// `None`: there is no rule, everybody may do everything.
    pub(super) fn new(access: &config::Access) -> Option<Self> {
        let has_some =
            |allow: &[Permission], deny: &[Permission]| !allow.is_empty() || !deny.is_empty();
        let (users, rules) = (&access.users, &access.rules);
        if !users.iter().any(|user| has_some(&user.allow, &user.deny))
            && !rules.iter().any(|rule| has_some(&rule.allow, &rule.deny))
        {
            return None;
        }
        let (mut other_users, mut anonymous) = (Rights::default(), Rights::default());
        for rule in rules {
            match rule.user.as_deref() {
                None => anonymous.add(&rule.allow, &rule.deny),
                Some("*") => other_users.add(&rule.allow, &rule.deny),
                Some(_) => {}
            }
        }
        let of_users = users.iter().map(|user| (user.name.as_str(), &user.allow, &user.deny));
        let of_rules = rules.iter().filter_map(|rule| {
            let name = rule.user.as_deref().filter(|name| *name != "*")?;
            Some((name, &rule.allow, &rule.deny))
        });
        let mut named = HashMap::with_hasher(RandomState::default());
        for (name, allow, deny) in of_users.chain(of_rules) {
            let rights = named.entry(name.into()).or_insert_with(|| other_users.clone());
            rights.add(allow, deny);
        }
        let users = users.iter().map(|user| user.name.as_str().into()).collect();
        Some(Self { named, other_users, anonymous, users })
    }

    /// What is said of a device by its key, or of everybody.
    pub(super) fn of_device(&self, key: &str) -> &Rights {
        if self.users.contains(key) { &self.other_users } else { self.of(Some(key)) }
    }

    /// What is said of everybody who is let in.
    pub(super) fn of_others(&self) -> &Rights {
        &self.other_users
    }

    /// What a user may do; `None`: anonymous.
    pub(super) fn of(&self, user: Option<&str>) -> &Rights {
        match user {
            None => &self.anonymous,
            Some(name) => self.named.get(name).unwrap_or(&self.other_users),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Names<'static> = Names { user: Some("ann"), client: "c1" };

    fn permissions(texts: &[&str]) -> Vec<Permission> {
        texts.iter().map(|text| Permission::try_from((*text).to_owned()).unwrap()).collect()
    }

    fn rights(allow: &[&str], deny: &[&str]) -> Rights {
        let mut rights = Rights::default();
        rights.add(&permissions(allow), &permissions(deny));
        rights
    }

    #[test]
    fn patterns_match_cover_and_overlap() {
        for (pattern, filter, covers, overlaps) in [
            ("#", "#", true, true),
            ("#", "$SYS/x", true, true),
            ("a/#", "a", true, true),
            ("a/#", "a/b/+", true, true),
            ("a/#", "#", false, true),
            ("a/#", "b", false, false),
            ("a/#", "+", false, true),
            ("a", "a/#", false, true),
            ("a", "a/b", false, false),
            ("a/+", "a/#", false, true),
            ("a/+", "a/+", true, true),
            ("a/+", "a", false, false),
            ("a/+", "a/b/c", false, false),
            ("a/b", "a/+", false, true),
            ("a/b", "+/c", false, false),
            ("d/{user}", "d/ann", true, true),
            ("d/{user}", "d/bob", false, false),
            ("d/{user}", "d/+", false, true),
            ("d/{client}/x", "d/c1/#", false, true),
            ("a//b", "a//b", true, true),
            ("a/+/b", "a//b", true, true),
        ] {
            let compiled = Pattern::new(pattern);
            assert_eq!(compiled.covers(filter, ANN), covers, "{pattern} covers {filter}");
            assert_eq!(compiled.overlaps(filter, ANN), overlaps, "{pattern} overlaps {filter}");
            if !filter.contains(['+', '#']) {
                assert_eq!(compiled.matches(filter, ANN), covers, "{pattern} matches {filter}");
            }
        }
    }

    #[test]
    fn wildcards_are_no_names() {
        let odd = Names { user: Some("+"), client: "#" };
        for pattern in ["d/{user}", "d/{client}"] {
            let compiled = Pattern::new(pattern);
            assert!(!compiled.covers("d/+", odd) && !compiled.covers("d/#", odd), "{pattern}");
        }
        let anonymous = Names { user: None, client: "c" };
        assert!(!Pattern::new("{user}").matches("", anonymous));
    }

    #[test]
    fn denials_win_and_actions_are_apart() {
        let rights = rights(
            &["both:d/{user}/#", "subscribe:#", "publish:log/{client}"],
            &["publish:d/+/config", "subscribe:secret/#"],
        );
        assert!(rights.may_publish("d/ann/data", ANN) && rights.may_publish("log/c1", ANN));
        for topic in ["d/ann/config", "d/bob/data", "log/c2", "x"] {
            assert!(!rights.may_publish(topic, ANN), "{topic}");
        }
        assert!(rights.may_receive("d/bob/data", ANN) && !rights.may_receive("secret/1", ANN));
        assert!(rights.may_subscribe("#", ANN) && !rights.may_subscribe("secret/+", ANN));
        assert!(!rights.may_receive_everything());
        assert!(super::tests::rights(&["both:#"], &["publish:x"]).may_receive_everything());
        assert!(!super::tests::rights(&["publish:#"], &[]).may_receive_everything());
    }

    #[test]
    fn a_filter_is_granted_where_it_may_bring_something() {
        let rights = rights(&["subscribe:d/{user}/#"], &[]);
        for filter in ["#", "d/+/data", "d/ann/data", "d/ann/#", "+/ann"] {
            assert!(rights.may_subscribe(filter, ANN), "{filter}");
        }
        for filter in ["e/#", "d/bob/#", "+", "d/+"] {
            let granted = rights.may_subscribe(filter, ANN);
            assert_eq!(granted, filter == "d/+", "{filter}");
        }
    }

    #[test]
    fn rules_add_up() {
        let text = r##"
            certificate_user = "cn"
            max_failures = 0
            failure_window = "1m"
            ban_time = "1m"
            max_connects_per_minute = 0
            users = [{ name = "ann", password = "", allow = ["publish:a"] }]
            rules = [
                { user = "*", allow = ["publish:all"] },
                { user = "ann", allow = ["publish:b"] },
                { user = "cert", allow = ["publish:c"] },
                { anonymous = true, allow = ["publish:open"] },
            ]
        "##;
        let rules = Rules::new(&toml::from_str(text).unwrap()).unwrap();
        let may = |user: Option<&'static str>| {
            let rights = rules.of(user);
            let names = Names { user, client: "c" };
            ["a", "b", "c", "all", "open"].map(|topic| rights.may_publish(topic, names))
        };
        assert_eq!(may(Some("ann")), [true, true, false, true, false]);
        assert_eq!(may(Some("cert")), [false, false, true, true, false]);
        assert_eq!(may(Some("other")), [false, false, false, true, false]);
        assert_eq!(may(None), [false, false, false, false, true]);
    }
}
