//! How a notification reads, in each channel's form. Pure.

pub(super) mod alertmanager;
pub(super) mod email;
pub(super) mod topic;

use std::fmt::Write;

use jiff::tz::TimeZone;

use super::Notice;
use crate::telemetry::Timestamp;

/// What messages have in common.
#[derive(Debug, Clone)]
pub struct Look {
    /// The zone of the times in mails.
    pub zone: TimeZone,
    /// Where people reach this broker's API, without a slash at the end; links are made from it.
    pub public_url: Option<String>,
}

impl Default for Look {
    fn default() -> Self {
        Self { zone: TimeZone::UTC, public_url: None }
    }
}

impl Look {
    /// A time for people.
    fn time(&self, time: Timestamp) -> String {
        match jiff::Timestamp::from_microsecond(time.as_micros()) {
            Ok(at) => at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
            Err(_) => time.to_string(),
        }
    }

    fn link(&self, notice: &Notice) -> Option<String> {
        let url = self.public_url.as_deref()?.trim_end_matches('/');
        (notice.alarm_id != 0).then(|| format!("{url}/api/alarms/{}", notice.alarm_id))
    }
}

/// `41.2 °C`, or nothing.
fn quantity(value: Option<f64>, unit: Option<&str>) -> Option<String> {
    let mut text = value?.to_string();
    if let Some(unit) = unit {
        let _ = write!(text, " {unit}");
    }
    Some(text)
}

/// `boiler-1 temperature`, or only the device.
fn originator(notice: &Notice) -> String {
    match &notice.sensor {
        Some(sensor) => format!("{} {}", notice.device.key, sensor.name),
        None => notice.device.key.clone(),
    }
}

/// On one line, and no longer than a header or a log line should be.
fn one_line(text: &str, chars_max: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().take(chars_max).map(clean).collect();
    if text.chars().nth(chars_max).is_some() {
        line.push('…');
    }
    line
}

/// The line of the log.
pub(super) fn log_line(notice: &Notice) -> String {
    one_line(&format!("{}: {}", notice.rule.name, notice.message), 500)
}
