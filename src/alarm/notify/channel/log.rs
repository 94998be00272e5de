//! A line of the log for each notice.

use crate::alarm::{
    notify::{Message, render},
    rule::Severity,
};

pub(super) fn send(message: &Message) {
    for notice in &message.notices {
        let line = render::log_line(notice);
        let (device, rule) = (notice.device.key.as_str(), notice.rule.name.as_str());
        let (severity, kind) = (notice.severity.as_str(), notice.kind.label());
        let alarm_id = notice.alarm_id;
        if notice.is_clear() || notice.severity < Severity::Warning {
            tracing::info!(kind, severity, device, rule, alarm_id, "alarm: {line}");
        } else {
            tracing::warn!(kind, severity, device, rule, alarm_id, "alarm: {line}");
        }
    }
}
