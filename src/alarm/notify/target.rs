//! Where notifications go: a target's channel, its matcher, and how much it gets at a time. Pure.
//!
//! Secrets come in and are used; [`Target`] as JSON shows `***` for them. What is stored is
//! [`Target::to_stored`], and an edit that says `***` keeps what was stored ([`Target::keep_secrets`]).

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ChannelSettings, Matcher, Secret};
use crate::config::Period;

/// Notices in one message.
const GROUP_MAX: usize = 1_000;
const GROUP_WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Characters of a target's name.
const NAME_MAX: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    Email,
    Webhook,
    Mqtt,
    Log,
}

impl ChannelKind {
    pub fn label(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
            Self::Mqtt => "mqtt",
            Self::Log => "log",
        }
    }

    /// Whether a message is for somebody, who would rather have one than forty.
    fn is_grouped(self) -> bool {
        matches!(self, Self::Email | Self::Webhook)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default = "yes")]
    pub enabled: bool,
    pub channel: ChannelSettings,
    /// For rules that name no targets.
    #[serde(default, rename = "match", skip_serializing_if = "Matcher::is_empty")]
    pub matcher: Matcher,
    /// Labels whose values must be the same in one message; none: whatever comes goes together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// From the first notice of a message to its sending.
    #[serde(default = "default_group_wait")]
    pub group_wait: Period,
    /// Notices in one message; the rest goes into the next.
    #[serde(default = "default_group_max")]
    pub group_max: usize,
    /// Messages in a minute; more wait.
    #[serde(default = "default_rate")]
    pub rate_per_minute: u32,
    /// Whether it is told that an alarm is over, too.
    #[serde(default = "yes")]
    pub send_cleared: bool,
}

fn yes() -> bool {
    true
}

fn default_group_wait() -> Period {
    Period(Duration::from_secs(5))
}

fn default_group_max() -> usize {
    100
}

fn default_rate() -> u32 {
    60
}

/// What of a target can't be used: where, as a JSON pointer, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct InvalidTarget {
    pub pointer: Cow<'static, str>,
    pub detail: String,
}

impl InvalidTarget {
    pub(super) fn new(pointer: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

impl Target {
    pub fn kind(&self) -> ChannelKind {
        self.channel.kind()
    }

    /// What serde can't see.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), InvalidTarget> {
        let length = self.name.chars().count();
        if length == 0 || length > NAME_MAX || self.name.chars().any(char::is_control) {
            let detail = format!("a name is 1 to {NAME_MAX} characters, none of them a control");
            return Err(InvalidTarget::new("/name", detail));
        }
        if self.group_wait.0 > GROUP_WAIT_MAX {
            return Err(InvalidTarget::new("/group_wait", "at most \"1h\""));
        }
        if !(1..=GROUP_MAX).contains(&self.group_max) {
            return Err(InvalidTarget::new("/group_max", format!("1 to {GROUP_MAX}")));
        }
        if !(1..=10_000).contains(&self.rate_per_minute) {
            return Err(InvalidTarget::new("/rate_per_minute", "1 to 10000"));
        }
        for (pointer, secret) in self.channel.secrets() {
            if secret.is_mask() {
                let detail = "*** keeps what is stored, and nothing is";
                return Err(InvalidTarget::new(format!("/channel{pointer}"), detail));
            }
        }
        self.channel.check()
    }

    /// The JSON to be stored: with the secrets.
    pub fn to_stored(&self) -> String {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        for (pointer, secret) in self.channel.secrets() {
            if let Some(place) = shown.pointer_mut(&format!("/channel{pointer}")) {
                *place = Value::String(secret.reveal().to_owned());
            }
        }
        shown.to_string()
    }

    /// Puts what `earlier` had in the place of each `***`.
    ///
    /// # Errors
    /// Where the edit sends it elsewhere: who may edit a target but does not know its secrets must not
    /// get them sent to a server of theirs.
    pub fn keep_secrets(&mut self, earlier: &Self) -> Result<(), InvalidTarget> {
        let known: Vec<(String, Secret)> = earlier
            .channel
            .secrets()
            .into_iter()
            .map(|(pointer, secret)| (pointer, secret.clone()))
            .collect();
        if !self.channel.goes_where(&earlier.channel) {
            let is_known = |pointer: &String| known.iter().any(|(place, _)| place == pointer);
            let masked = self.channel.secrets().into_iter().find(|(_, secret)| secret.is_mask());
            if let Some((pointer, _)) = masked.filter(|(pointer, _)| is_known(pointer)) {
                let detail = "it would be sent to another place than before: give it again";
                return Err(InvalidTarget::new(format!("/channel{pointer}"), detail));
            }
        }
        self.channel.replace_masks(&known);
        Ok(())
    }

    /// How long the first notice of a message waits for others.
    pub(super) fn wait(&self) -> Duration {
        if self.kind().is_grouped() { self.group_wait.0 } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBHOOK: &str = r#"{"name": "ops", "channel": {"type": "webhook", "url":
        "https://example.org/hook", "secret": "s3cret", "bearer": "t0ken",
        "headers": {"X-Key": "k3y/~"}}, "match": {"min_severity": "major"}}"#;
    const EMAIL: &str = r#"{"name": "mail", "channel": {"type": "email", "host": "mail.example.org",
        "user": "u", "password": "p4ss", "from": "Brooklet <a@example.org>", "to": ["b@example.org"]}}"#;

    fn read(json: &str) -> Target {
        let target: Target = serde_json::from_str(json).unwrap();
        assert_eq!(target.check(), Ok(()));
        target
    }

    #[test]
    fn secrets_are_stored_and_never_shown() {
        for (json, secrets) in [(WEBHOOK, vec!["s3cret", "t0ken", "k3y/~"]), (EMAIL, vec!["p4ss"])]
        {
            let target = read(json);
            let (shown, debug) = (serde_json::to_string(&target).unwrap(), format!("{target:?}"));
            let stored = target.to_stored();
            for secret in secrets {
                assert!(!shown.contains(secret) && !debug.contains(secret), "{shown} {debug}");
                assert!(stored.contains(secret), "{stored}");
            }
            assert_eq!(read(&stored), target);
            let mut edited: Target = serde_json::from_str(&shown).unwrap();
            assert!(edited.check().is_err());
            edited.keep_secrets(&target).unwrap();
            assert_eq!(edited, target);
        }
    }

    #[test]
    fn an_edit_replaces_the_secrets_that_it_gives() {
        let target = read(EMAIL);
        let mut edited = read(&target.to_stored().replace("p4ss", "other"));
        edited.keep_secrets(&target).unwrap();
        assert!(edited.to_stored().contains("other"));
    }

    #[test]
    fn a_stored_secret_is_not_sent_elsewhere() {
        let (hook, mail) = ("example.org/hook\"", "\"host\": \"mail.example.org\"");
        for (json, old, new, pointer) in [
            (WEBHOOK, hook, "example.com/hook\"", "/channel/secret"),
            (WEBHOOK, hook, "example.org/mine\"", "/channel/secret"),
            (WEBHOOK, "https", "http", "/channel/secret"),
            (EMAIL, mail, "\"host\": \"mail.example.com\"", "/channel/password"),
            (EMAIL, mail, "\"host\": \"mail.example.org\", \"port\": 25", "/channel/password"),
        ] {
            let earlier = read(json);
            let moved = json.replace(old, new);
            assert_ne!(moved, json);
            let mut shown = serde_json::to_value(read(&moved)).unwrap();
            let mut edited = Target::deserialize(&shown).unwrap();
            let refused = edited.keep_secrets(&earlier).unwrap_err();
            assert_eq!(refused.pointer, pointer, "{moved}");
            // All of them given again, it may.
            for (pointer, _) in earlier.channel.secrets() {
                *shown.pointer_mut(&format!("/channel{pointer}")).unwrap() = "given".into();
            }
            let mut edited = Target::deserialize(&shown).unwrap();
            assert_eq!(edited.keep_secrets(&earlier), Ok(()));
            assert_eq!(edited.check(), Ok(()));
        }
    }

    #[test]
    fn mistakes_are_named() {
        let webhook = |more: &str| {
            format!(r#"{{"name": "ops", "channel": {{"type": "webhook", "url": {more}}}}}"#)
        };
        let email = |more: &str| {
            let to = r#""from": "a@example.org", "to": ["b@example.org"]"#;
            format!(r#"{{"name": "m", "channel": {{"type": "email", "host": "h", {to}{more}}}}}"#)
        };
        for (json, word) in [
            (webhook(r#""ftp://x/""#), "/channel/url"),
            (webhook(r#""https://u:p@x/""#), "/channel/url"),
            (webhook(r#""nothing""#), "/channel/url"),
            (webhook(r#""http://x/", "headers": {"Content-Length": "1"}"#), "/channel/headers"),
            (webhook(r#""http://x/", "headers": {"X": "a\nb"}"#), "/channel/headers"),
            (webhook(r#""http://x/", "timeout": "5m""#), "/channel/timeout"),
            (webhook(r#""http://x/", "ca": "x""#), "/channel/ca"),
            (email(r#", "user": "u""#), "/channel/password"),
            (email(r#", "security": "none", "user": "u", "password": "p""#), "/channel/security"),
            (email(r#", "port": 0"#), "/channel/port"),
            (WEBHOOK.replace("\"ops\"", "\"\""), "/name"),
            (EMAIL.replace("[\"b@example.org\"]", "[]"), "/channel/to"),
            (EMAIL.replace("[\"b@example.org\"]", "[\"b@exa\\r\\nmple\"]"), "/channel/to"),
        ] {
            let target: Target =
                serde_json::from_str(&json).unwrap_or_else(|e| panic!("{json} {e}"));
            let error = target.check().expect_err(&json);
            assert_eq!(error.pointer, word, "{json}: {error}");
        }
        for (json, word) in [
            (webhook(r#""http://x/", "secrte": "x""#), "secrte"),
            (EMAIL.replace("\"email\"", "\"pigeon\""), "pigeon"),
            (EMAIL.replace("\"name\"", "\"nmae\""), "nmae"),
        ] {
            let error = serde_json::from_str::<Target>(&json).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
