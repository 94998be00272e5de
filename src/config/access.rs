//! Users, what they may do, and how attempts to log in are slowed.
//!
//! A permission is checked as it is read, so that a wrong one is told with its line.

use std::collections::HashSet;

use argon2::{ARGON2ID_IDENT, Params, PasswordHash};
use serde::{Deserialize, Serialize};

use super::quantity::Period;

/// Longest user name, in bytes.
const USER_NAME_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    pub certificate_user: CertificateUser,
    /// 0: off.
    pub max_failures: u32,
    pub failure_window: Period,
    pub ban_time: Period,
    /// 0: off.
    pub max_connects_per_minute: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// What of a client's certificate is its user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateUser {
    /// The common name.
    Cn,
    None,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    /// An argon2id hash in PHC form.
    pub password: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Permission>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Permission>,
}

/// For one user, for every user (`*`), or for clients without credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Permission>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Permission>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Publish,
    Subscribe,
    Both,
}

/// Such as `publish:devices/{user}/#`: a topic filter in which `{user}` and `{client}` are levels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Permission {
    pub action: Action,
    pub filter: String,
}

const ACTIONS: [(&str, Action); 3] =
    [("publish", Action::Publish), ("subscribe", Action::Subscribe), ("both", Action::Both)];

impl TryFrom<String> for Permission {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let action = text.split_once(':').and_then(|(word, filter)| {
            let action = ACTIONS.iter().find(|(name, _)| *name == word)?;
            Some((action.1, filter))
        });
        let Some((action, filter)) = action else {
            return Err(format!(
                "{text:?} is no permission; expected publish:, subscribe: or both: and a topic \
                 filter, such as \"publish:devices/{{user}}/#\""
            ));
        };
        match filter_mistake(filter) {
            None => Ok(Self { action, filter: filter.to_owned() }),
            Some(mistake) => Err(format!("{text:?}: {mistake}")),
        }
    }
}

impl From<Permission> for String {
    fn from(permission: Permission) -> Self {
        let action = ACTIONS.iter().find(|(_, action)| *action == permission.action);
        format!("{}:{}", action.map_or("both", |(name, _)| name), permission.filter)
    }
}

fn filter_mistake(filter: &str) -> Option<&'static str> {
    if filter.is_empty() {
        return Some("the topic filter is empty");
    }
    if filter.starts_with("$share/") {
        return Some(
            "a shared subscription is judged by its filter: leave out $share and the name",
        );
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        match level {
            "#" if levels.peek().is_some() => return Some("# stands at the end only"),
            "#" | "+" | "{user}" | "{client}" => {}
            _ if level.contains(['#', '+']) => return Some("+ and # are whole levels"),
            _ if level.contains(['{', '}']) => {
                return Some("{user} and {client} are whole levels, and there are no others");
            }
            _ if level.contains('\0') => return Some("a topic has no NUL"),
            _ => {}
        }
    }
    None
}

impl Permission {
    fn names_user(&self) -> bool {
        self.filter.split('/').any(|level| level == "{user}")
    }
}

impl Access {
    /// Every permission, with the key that its holder is told by.
    fn permissions(&self) -> impl Iterator<Item = (String, &Permission)> {
        let of_users = self.users.iter().enumerate().flat_map(|(at, user)| {
            let permissions = user.allow.iter().chain(&user.deny);
            permissions.map(move |permission| (format!("users[{at}]"), permission))
        });
        let of_rules = self.rules.iter().enumerate().flat_map(|(at, rule)| {
            let permissions = rule.allow.iter().chain(&rule.deny);
            permissions.map(move |permission| (format!("rules[{at}]"), permission))
        });
        of_users.chain(of_rules)
    }

    /// The first mistake: the key it belongs to, relative to `access`, and what is wrong.
    pub(super) fn mistake(&self) -> Option<(String, String)> {
        let mut names = HashSet::new();
        for (at, user) in self.users.iter().enumerate() {
            if !names.insert(user.name.as_str()) {
                let what = format!("the user {:?} is there twice", user.name);
                return Some((format!("users[{at}].name"), what));
            }
            if let Some((key, what)) = self.user_mistake(user) {
                return Some((format!("users[{at}].{key}"), what));
            }
        }
        for (at, rule) in self.rules.iter().enumerate() {
            if let Some(what) = self.rule_mistake(rule, &names) {
                return Some((format!("rules[{at}]"), what));
            }
        }
        let allows = |allow: &[Permission]| !allow.is_empty();
        let has_allowed = self.users.iter().any(|user| allows(&user.allow))
            || self.rules.iter().any(|rule| allows(&rule.allow));
        let first = self.permissions().next();
        first.filter(|_| !has_allowed).map(|(key, _)| {
            let what = "with rules, only what one of them allows may be done, and none allows \
                        anything: add allow = [\"both:#\"] to one";
            (key, what.to_owned())
        })
    }

    fn user_mistake(&self, user: &User) -> Option<(&'static str, String)> {
        let name = &user.name;
        if name.is_empty() || name.len() > USER_NAME_MAX || name == "*" {
            let what = format!("a user's name has 1 to {USER_NAME_MAX} bytes, and is not \"*\"");
            return Some(("name", what));
        }
        let is_level = !name.contains(['/', '+', '#']);
        if !is_level && self.permissions().any(|(_, permission)| permission.names_user()) {
            let what = format!("the user name {name:?} can't stand for {{user}} in a topic");
            return Some(("name", what));
        }
        (!is_argon2id(&user.password)).then(|| {
            let what = format!(
                "the password of {name:?} is no argon2id hash: make one with \"brooklet \
                 hash-password\""
            );
            ("password", what)
        })
    }

    fn rule_mistake(&self, rule: &Rule, names: &HashSet<&str>) -> Option<String> {
        match (&rule.user, rule.anonymous) {
            (None, false) | (Some(_), true) => {
                Some("a rule has user = \"NAME\", user = \"*\", or anonymous = true".to_owned())
            }
            (Some(name), false) => {
                let is_known = name == "*"
                    || names.contains(name.as_str())
                    || self.certificate_user == CertificateUser::Cn;
                (!is_known).then(|| format!("there is no user {name:?}"))
            }
            (None, true) => {
                let mut permissions = rule.allow.iter().chain(&rule.deny);
                let names_user = permissions.any(Permission::names_user);
                names_user.then(|| "clients without credentials have no {user}".to_owned())
            }
        }
    }
}

fn is_argon2id(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| {
        hash.algorithm == ARGON2ID_IDENT
            && hash.salt.is_some()
            && hash.hash.is_some()
            && Params::try_from(&hash).is_ok()
    })
}
