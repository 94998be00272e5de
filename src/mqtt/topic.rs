//! Topic names and filters (MQTT 5.0 §4.7): what is legal, and what matches what.
//!
//! A value of these types is legal by construction. Pure: no clock, no I/O.

use std::{fmt, sync::Arc};

/// Prefix of a shared subscription's filter (MQTT 5.0 §4.8.2).
const SHARE_PREFIX: &str = "$share/";

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    #[error("a topic has at least one character")]
    Empty,
    #[error("a topic is UTF-8")]
    NotUtf8,
    #[error("a topic must not contain U+0000")]
    Nul,
    #[error("a topic name must not contain + or #")]
    WildcardInName,
    #[error("+ must stand alone in its level, # alone in the last")]
    MisplacedWildcard,
    #[error("a shared subscription is $share/NAME/FILTER, NAME without + and #")]
    Share,
    #[error("the topic has more levels than this broker allows")]
    TooManyLevels,
    #[error("the topic is longer than this broker allows")]
    TooLong,
}

/// Bounds that the broker sets on topics of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicLimits {
    pub levels_max: usize,
    pub bytes_max: usize,
}

impl TopicLimits {
    fn check(self, text: &str) -> Result<(), InvalidTopic> {
        if text.is_empty() {
            return Err(InvalidTopic::Empty);
        }
        if text.len() > self.bytes_max {
            return Err(InvalidTopic::TooLong);
        }
        let mut levels = 1;
        for byte in text.bytes() {
            match byte {
                0 => return Err(InvalidTopic::Nul),
                b'/' => levels += 1,
                _ => {}
            }
        }
        if levels > self.levels_max { Err(InvalidTopic::TooManyLevels) } else { Ok(()) }
    }
}

/// A topic that messages are published to: no wildcards.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// # Errors
    /// Says which rule of §4.7 or which limit `text` breaks.
    pub fn new(text: &str, limits: TopicLimits) -> Result<Self, InvalidTopic> {
        limits.check(text)?;
        if text.bytes().any(|b| b == b'+' || b == b'#') {
            return Err(InvalidTopic::WildcardInName);
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A subscription's filter, without the `$share/NAME/` of a shared one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter {
    text: Arc<str>,
    share: Option<Arc<str>>,
}

impl TopicFilter {
    /// Reads `FILTER` or `$share/NAME/FILTER`.
    ///
    /// # Errors
    /// Says which rule of §4.7, §4.8.2 or which limit `text` breaks.
    pub fn new(text: &str, limits: TopicLimits) -> Result<Self, InvalidTopic> {
        limits.check(text)?;
        let (share, filter) = match text.strip_prefix(SHARE_PREFIX) {
            None => (None, text),
            Some(rest) => {
                let (name, filter) = rest.split_once('/').ok_or(InvalidTopic::Share)?;
                if name.is_empty() || filter.is_empty() || name.contains(['+', '#']) {
                    return Err(InvalidTopic::Share);
                }
                (Some(Arc::from(name)), filter)
            }
        };
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            let legal = match level {
                "#" => levels.peek().is_none(),
                "+" => true,
                other => !other.contains(['+', '#']),
            };
            if !legal {
                return Err(InvalidTopic::MisplacedWildcard);
            }
        }
        Ok(Self { text: filter.into(), share })
    }

    /// The filter itself, without the share's name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn share_name(&self) -> Option<&Arc<str>> {
        self.share.as_ref()
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.share {
            Some(name) => write!(f, "{SHARE_PREFIX}{name}/{}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Whether `filter` matches `topic`, level by level (§4.7). Both are taken to be legal.
///
/// The subscription tree answers this for many filters at once; this is the definition it is held to.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for level in filter.split('/') {
        match (level, topic_levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TopicLimits = TopicLimits { levels_max: 8, bytes_max: 64 };

    #[test]
    fn names() {
        for legal in ["a", "/", "温度/1", "$SYS/x", "a//b", " a b "] {
            assert!(TopicName::new(legal, LIMITS).is_ok(), "{legal}");
        }
        for (illegal, why) in [
            ("", InvalidTopic::Empty),
            ("a/+", InvalidTopic::WildcardInName),
            ("a#", InvalidTopic::WildcardInName),
            ("a\0", InvalidTopic::Nul),
            ("1/2/3/4/5/6/7/8/9", InvalidTopic::TooManyLevels),
        ] {
            assert_eq!(TopicName::new(illegal, LIMITS), Err(why), "{illegal}");
        }
    }

    #[test]
    fn filters() {
        for legal in ["#", "+", "a/+/b", "a/#", "/#", "+/+", "$share/g/a/#", "$share/g//"] {
            let filter = TopicFilter::new(legal, LIMITS).unwrap();
            assert_eq!(filter.to_string(), legal);
        }
        for illegal in
            ["a#", "#/a", "a/b+", "++", "$share/g", "$share//a", "$share/g/", "$share/+/a"]
        {
            assert!(TopicFilter::new(illegal, LIMITS).is_err(), "{illegal}");
        }
    }

    #[test]
    fn matching_follows_the_specification_examples() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/monitor", false),
            ("+/monitor", "$SYS/monitor", false),
            ("$SYS/#", "$SYS/monitor", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }
}
