//! What serde can not say: whether a rule's parts make sense together.

use std::fmt;

use super::{
    AlarmRule, Calendar, MessageTemplate,
    condition::{Aggregate, Band, Bound, Condition, CountOf, Limit, Operand, Rate, Test},
};
use crate::{config::Period, telemetry::SensorName};

/// As many as there are severities.
pub(crate) const LEVELS_MAX: usize = 5;
const NAME_MAX: usize = 100;
const TEXT_MAX: usize = 2_000;
/// Entries in a list of a rule.
const LIST_MAX: usize = 1_000;
const LABELS_MAX: usize = 32;
const PARTS_MAX: usize = 16;
const DEPTH_MAX: usize = 4;
/// The readings of `count_of` are kept as bits of one word.
const COUNT_MAX: u32 = 64;
const WINDOW_MAX_DAYS: u64 = 31;
const DELAY_MAX_DAYS: u64 = 366;

/// Why a rule was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidRule {
    pub problems: Vec<Problem>,
}

/// One mistake: where it stands, as a JSON pointer, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    pub detail: String,
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { path, detail }) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            match path.as_str() {
                "" => write!(f, "{separator}{detail}")?,
                path => write!(f, "{separator}{path}: {detail}")?,
            }
        }
        Ok(())
    }
}

impl InvalidRule {
    /// One mistake at a path as serde tells it, such as `levels[0].condition`.
    pub(super) fn at(path: &str, detail: String) -> Self {
        let mut pointer = String::new();
        for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty() && *part != "?") {
            pointer.push('/');
            pointer.push_str(part);
        }
        Self { problems: vec![Problem { path: pointer, detail }] }
    }
}

struct Check {
    problems: Vec<Problem>,
    is_per_device: bool,
}

impl AlarmRule {
    /// # Errors
    /// Every mistake, each with its path.
    pub fn validate(&self) -> Result<(), InvalidRule> {
        let mut check = Check { problems: Vec::new(), is_per_device: self.is_per_device() };
        check.texts(self);
        check.scope(self);
        check.levels(self);
        check.timing(self);
        match check.problems.is_empty() {
            true => Ok(()),
            false => Err(InvalidRule { problems: check.problems }),
        }
    }
}

impl Check {
    fn refuse(&mut self, path: impl Into<String>, detail: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), detail: detail.into() });
    }

    fn require(&mut self, is_right: bool, path: &str, detail: &str) {
        if !is_right {
            self.refuse(path, detail);
        }
    }

    fn texts(&mut self, rule: &AlarmRule) {
        let is_line = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
        let is_name = |text: &str| is_line(text) && text.chars().count() <= NAME_MAX;
        self.require(is_name(&rule.name), "/name", "a name is 1 to 100 characters in one line");
        let is_short = rule.description.chars().count() <= TEXT_MAX;
        self.require(is_short, "/description", "a description is at most 2000 characters");
        let is_short = rule.message.chars().count() <= TEXT_MAX;
        self.require(is_short, "/message", "a message is at most 2000 characters");
        if let Err(detail) = MessageTemplate::parse(&rule.message) {
            self.refuse("/message", detail);
        }
        let has_few = rule.labels.len() <= LABELS_MAX;
        self.require(has_few, "/labels", "a rule has at most 32 labels");
        for (name, value) in &rule.labels {
            let is_right = is_label(name) && value.chars().count() <= NAME_MAX;
            let detail = "a label's name is A-Z a-z 0-9 _ and begins with no digit; a value has at \
                          most 100 characters";
            self.require(is_right, &format!("/labels/{name}"), detail);
        }
        for (field, list) in [("suppressed_by", &rule.suppressed_by), ("targets", &rule.targets)] {
            for (index, name) in list.iter().enumerate() {
                let path = format!("/{field}/{index}");
                self.require(is_name(name), &path, "a name is 1 to 100 characters in one line");
            }
        }
        if let Some(index) = rule.suppressed_by.iter().position(|name| *name == rule.name) {
            let detail = "a rule can not suppress itself; name another rule";
            self.refuse(format!("/suppressed_by/{index}"), detail);
        }
    }

    fn scope(&mut self, rule: &AlarmRule) {
        let scope = &rule.scope;
        let lists = [
            ("devices", scope.devices.len()),
            ("kinds", scope.kinds.len()),
            ("gateways", scope.gateways.len()),
            ("labels", scope.labels.len()),
            ("sensors", scope.sensors.len()),
            ("sensor_types", scope.sensor_types.len()),
        ];
        for (field, length) in lists {
            let path = format!("/scope/{field}");
            self.require(length <= LIST_MAX, &path, "a list has at most 1000 entries");
        }
        for (index, kind) in scope.kinds.iter().enumerate() {
            let is_kind = matches!(kind.as_str(), "device" | "gateway");
            let path = format!("/scope/kinds/{index}");
            self.require(is_kind, &path, "a kind is \"device\" or \"gateway\"");
        }
        let detail = "this rule is judged per device, since its conditions name sensors or ask about \
                      the device: name sensors in the conditions, not here";
        self.require(!(self.is_per_device && scope.names_sensors()), "/scope", detail);
    }

    fn levels(&mut self, rule: &AlarmRule) {
        let has_few = (1..=LEVELS_MAX).contains(&rule.levels.len());
        self.require(has_few, "/levels", "a rule has 1 to 5 levels");
        let mut highest = None;
        for (index, level) in rule.levels.iter().enumerate() {
            let path = format!("/levels/{index}");
            let is_rising = highest.is_none_or(|highest| level.severity > highest);
            let detail = "levels stand in rising order of severity, each severity once";
            self.require(is_rising, &format!("{path}/severity"), detail);
            highest = Some(level.severity);
            self.delay(level.on_delay.unwrap_or(Period::ZERO), &format!("{path}/on_delay"));
            self.delay(level.off_delay.unwrap_or(Period::ZERO), &format!("{path}/off_delay"));
            let mut parts = 0;
            self.condition(&level.condition, &format!("{path}/condition"), 0, &mut parts);
            let detail = "a level's condition has at most 16 parts";
            self.require(parts <= PARTS_MAX, &format!("{path}/condition"), detail);
        }
    }

    fn timing(&mut self, rule: &AlarmRule) {
        self.delay(rule.on_delay, "/on_delay");
        self.delay(rule.off_delay, "/off_delay");
        self.delay(rule.cooldown, "/cooldown");
        if let Some(repeat) = rule.repeat {
            self.delay(repeat, "/repeat");
            let is_slow = repeat.0.as_secs() >= 10;
            self.require(is_slow, "/repeat", "notifications repeat every 10s at most");
        }
        for (index, hours) in rule.schedule.0.iter().enumerate() {
            let path = format!("/schedule/{index}");
            self.require(hours.from != hours.to, &path, "`from` and `to` must differ");
        }
        if let Err(index) = Calendar::new(&rule.schedule) {
            let detail = "no such time zone; write a name such as \"Europe/Berlin\"";
            self.refuse(format!("/schedule/{index}/zone"), detail);
        }
    }

    fn delay(&mut self, period: Period, path: &str) {
        let is_short = period.0.as_secs() <= DELAY_MAX_DAYS * 86_400;
        self.require(is_short, path, "at most 366d");
    }

    fn window(&mut self, period: Period, path: &str) {
        let is_right = !period.0.is_zero() && period.0.as_secs() <= WINDOW_MAX_DAYS * 86_400;
        self.require(is_right, path, "more than 0s, at most 31d");
    }

    fn condition(&mut self, condition: &Condition, path: &str, depth: usize, parts: &mut usize) {
        if let Test::All(inner) | Test::Any(inner) = &condition.test {
            self.require(depth < DEPTH_MAX, path, "conditions nest at most 4 deep");
            let path = format!("{path}/conditions");
            self.require(!inner.is_empty(), &path, "at least one condition");
            for (index, part) in inner.iter().enumerate() {
                if depth < DEPTH_MAX {
                    self.condition(part, &format!("{path}/{index}"), depth + 1, parts);
                }
            }
            return;
        }
        *parts += 1;
        self.sensor(condition, path);
        match &condition.test {
            Test::Limit(limit) => self.limit(limit, path),
            Test::Equals(operand) | Test::Differs(operand) => self.operand(operand, path),
            Test::Rate(rate) => self.rate(rate, path),
            Test::Stuck(period) | Test::Missing(period) | Test::Silent(period) => {
                self.window(*period, &format!("{path}/for"));
            }
            Test::Aggregate(aggregate) => self.aggregate(aggregate, path),
            Test::CountOf(count) => self.count_of(count, path),
            Test::Offline | Test::BadQuality | Test::All(_) | Test::Any(_) => {}
        }
    }

    fn sensor(&mut self, condition: &Condition, path: &str) {
        let needs_sensor = !matches!(
            condition.test,
            Test::Silent(_)
                | Test::Offline
                | Test::Equals(Operand::Status(_))
                | Test::Differs(Operand::Status(_))
        );
        match &condition.sensor {
            Some(name) => {
                let path = format!("{path}/sensor");
                self.require(SensorName::in_topic(name).is_ok(), &path, "no legal sensor name");
            }
            None if needs_sensor && self.is_per_device => {
                let detail = "this rule is judged per device, since its conditions name sensors or \
                              ask about the device: say here which `sensor` is meant";
                self.refuse(path, detail);
            }
            None => {}
        }
    }

    fn number(&mut self, number: f64, path: &str) {
        self.require(number.is_finite(), path, "a finite number");
    }

    fn operand(&mut self, operand: &Operand, path: &str) {
        let path = format!("{path}/value");
        match operand {
            Operand::Number(number) => self.number(*number, &path),
            Operand::Status(text) => {
                let is_short = text.chars().count() <= NAME_MAX;
                self.require(is_short, &path, "a status has at most 100 characters");
            }
        }
    }

    fn limit(&mut self, limit: &Limit, path: &str) {
        match limit {
            Limit::Above(bound) => self.bound(bound, path, |clear, limit| clear <= limit),
            Limit::Below(bound) => self.bound(bound, path, |clear, limit| clear >= limit),
            Limit::Outside(band) => self.band(band, path, true),
            Limit::Inside(band) => self.band(band, path, false),
        }
    }

    fn bound(&mut self, bound: &Bound, path: &str, is_behind: fn(f64, f64) -> bool) {
        self.number(bound.limit, &format!("{path}/limit"));
        if let Some(clear) = bound.clear_limit {
            let path = format!("{path}/clear_limit");
            self.number(clear, &path);
            let is_right = is_behind(clear, bound.limit);
            self.require(is_right, &path, "the clear limit lies on the quiet side of the limit");
            let is_alone = bound.deadband.is_none();
            self.require(is_alone, &path, "give `clear_limit` or `deadband`, not both");
        }
        self.deadband(bound.deadband, path);
    }

    fn band(&mut self, band: &Band, path: &str, is_outside: bool) {
        self.number(band.low, &format!("{path}/low"));
        self.number(band.high, &format!("{path}/high"));
        self.require(band.low < band.high, path, "`low` must be less than `high`");
        self.deadband(band.deadband, path);
        let fits = 2.0 * band.deadband.unwrap_or(0.0) < band.high - band.low;
        let detail = "less than half of the range, or it could never clear";
        self.require(fits || !is_outside, &format!("{path}/deadband"), detail);
    }

    fn deadband(&mut self, deadband: Option<f64>, path: &str) {
        let is_right = deadband.is_none_or(|deadband| deadband.is_finite() && deadband >= 0.0);
        self.require(is_right, &format!("{path}/deadband"), "a deadband is 0 or more");
    }

    fn rate(&mut self, rate: &Rate, path: &str) {
        self.window(rate.per, &format!("{path}/per"));
        self.window(rate.window, &format!("{path}/window"));
        if let Some(above) = &rate.above {
            self.limit(&Limit::Above(*above), &format!("{path}/above"));
        }
        if let Some(below) = &rate.below {
            self.limit(&Limit::Below(*below), &format!("{path}/below"));
        }
        if let (Some(above), Some(below)) = (rate.above, rate.below) {
            let is_right = below.limit < above.limit;
            self.require(is_right, path, "`below` must be less than `above`");
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate, path: &str) {
        self.window(aggregate.window, &format!("{path}/window"));
        let field = match aggregate.limit {
            Limit::Above(_) => "above",
            Limit::Below(_) => "below",
            Limit::Outside(_) => "outside",
            Limit::Inside(_) => "inside",
        };
        self.limit(&aggregate.limit, &format!("{path}/{field}"));
    }

    fn count_of(&mut self, count: &CountOf, path: &str) {
        let is_right = 1 <= count.n && count.n <= count.m && count.m <= COUNT_MAX;
        self.require(is_right, path, "1 <= n <= m <= 64");
        let path = format!("{path}/condition");
        let is_plain = match &count.condition.test {
            Test::Limit(Limit::Above(bound) | Limit::Below(bound)) => {
                bound.clear_limit.is_none() && bound.deadband.is_none()
            }
            Test::Limit(Limit::Outside(band) | Limit::Inside(band)) => band.deadband.is_none(),
            Test::Equals(Operand::Number(_)) | Test::Differs(Operand::Number(_)) => true,
            _ => false,
        };
        let detail = "above, below, outside, inside, equals or differs, compared with numbers, \
                      without clear_limit and deadband";
        self.require(is_plain && count.condition.sensor.is_none(), &path, detail);
        match &count.condition.test {
            Test::Limit(limit) => self.limit(limit, &path),
            Test::Equals(operand) | Test::Differs(operand) => self.operand(operand, &path),
            _ => {}
        }
    }
}

fn is_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= NAME_MAX
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
