//! The sentence that an alarm is told with: a text with placeholders.

use std::fmt::Write;

use super::Severity;
use crate::telemetry::Timestamp;

const NAMES: &[(&str, Placeholder)] = &[
    ("device", Placeholder::Device),
    ("device_name", Placeholder::DeviceName),
    ("sensor", Placeholder::Sensor),
    ("value", Placeholder::Value),
    ("unit", Placeholder::Unit),
    ("limit", Placeholder::Limit),
    ("severity", Placeholder::Severity),
    ("time", Placeholder::Time),
    ("rule", Placeholder::Rule),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    Device,
    DeviceName,
    Sensor,
    Value,
    Unit,
    Limit,
    Severity,
    Time,
    Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Fact(Placeholder),
}

/// A message text taken apart. `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageTemplate(Vec<Part>);

/// What can stand in a message; what is not known is left out.
#[derive(Debug, Clone, Copy)]
pub struct MessageFacts<'a> {
    pub device: &'a str,
    pub device_name: Option<&'a str>,
    pub sensor: Option<&'a str>,
    pub value: Option<f64>,
    pub unit: Option<&'a str>,
    pub limit: Option<&'a str>,
    pub severity: Severity,
    pub time: Timestamp,
    pub rule: &'a str,
}

impl MessageTemplate {
    pub fn default_text() -> String {
        "{rule}: {device} {sensor} {value} {unit} ({severity})".to_owned()
    }

    /// # Errors
    /// A sentence that names the placeholder or brace that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, brace)) = next_brace(rest) {
            plain.push_str(before);
            rest = rest.get(before.len() + 1..).unwrap_or_default();
            match brace {
                _ if rest.starts_with(brace) => {
                    plain.push(brace);
                    rest = rest.get(1..).unwrap_or_default();
                }
                '{' => {
                    let Some((name, after)) = rest.split_once('}') else {
                        return Err("a { that nothing closes; write {{ for a brace".to_owned());
                    };
                    rest = after;
                    let Some((_, fact)) = NAMES.iter().find(|(known, _)| *known == name) else {
                        let known: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
                        return Err(format!(
                            "{{{name}}} is no placeholder; there are {}",
                            known.join(", ")
                        ));
                    };
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Fact(*fact));
                }
                _ => return Err("a } that closes nothing; write }} for a brace".to_owned()),
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The message; a missing fact leaves no blanks of its own, and runs of blanks are drawn together.
    pub fn render(&self, facts: &MessageFacts<'_>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Fact(fact) => {
                    let before = text.len();
                    fact.write(facts, &mut text);
                    // "71.5 , limit 70" would show that there is no unit.
                    if text.len() == before && text.ends_with(' ') {
                        text.pop();
                    }
                }
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// The text up to the first brace, and the brace.
fn next_brace(text: &str) -> Option<(&str, char)> {
    let at = text.find(['{', '}'])?;
    let (before, from) = text.split_at_checked(at)?;
    Some((before, from.chars().next()?))
}

impl Placeholder {
    fn write(self, facts: &MessageFacts<'_>, text: &mut String) {
        let fact = match self {
            Self::Device => Some(facts.device),
            Self::DeviceName => facts.device_name.or(Some(facts.device)),
            Self::Sensor => facts.sensor,
            Self::Unit => facts.unit,
            Self::Limit => facts.limit,
            Self::Severity => Some(facts.severity.as_str()),
            Self::Rule => Some(facts.rule),
            Self::Value => {
                if let Some(value) = facts.value {
                    // Writing to a String can not fail.
                    let _ = write!(text, "{value}");
                }
                None
            }
            Self::Time => {
                let _ = write!(text, "{}", facts.time);
                None
            }
        };
        text.push_str(fact.unwrap_or_default());
    }
}
