//! What notification targets and matchers look like, for the document. The alarm room reads them.

use std::collections::HashMap;

use poem_openapi::{Enum, Object, Union};

use super::alarm_rule_form::Severity;

/// Where notifications go. Durations are texts such as `5s` or `1m`. Secrets are shown as `***`; an edit
/// that says `***` keeps what was stored, unless it sends it to another place.
#[derive(Debug, Clone, Object)]
pub(super) struct NotificationTarget {
    /// 1 to 100 characters, one of a kind
    name: String,
    description: Option<String>,
    /// true if left out
    enabled: Option<bool>,
    channel: Channel,
    /// What comes here of rules that name no targets; left out: everything
    #[oai(rename = "match")]
    matcher: Option<NotificationMatcher>,
    /// Labels whose values must be the same in one message; none: whatever comes goes together
    group_by: Option<Vec<String>>,
    /// How long the first notice of a mail or request waits for others; `5s` if left out
    group_wait: Option<String>,
    /// Notices in one message, 1 to 1000; 100 if left out
    group_max: Option<u32>,
    /// Messages in a minute, 1 to 10000; 60 if left out
    rate_per_minute: Option<u32>,
    /// Whether the end of an alarm is told, too; true if left out
    send_cleared: Option<bool>,
}

/// Which notices are meant: all parts that are given must match
#[derive(Debug, Clone, Object)]
pub(super) struct NotificationMatcher {
    /// One of them
    severities: Option<Vec<Severity>>,
    /// This severity or a higher one
    min_severity: Option<Severity>,
    /// Labels of the rule or the device, and `alertname`, `device`, `sensor`, `severity`; values with `*`
    /// and `?`
    labels: Option<HashMap<String, String>>,
    /// One of them; with `*` and `?`
    devices: Option<Vec<String>>,
    /// Names, one of them; with `*` and `?`
    rules: Option<Vec<String>>,
}

/// How messages get there
#[derive(Debug, Clone, Union)]
#[oai(discriminator_name = "type", one_of)]
enum Channel {
    #[oai(mapping = "email")]
    Email(EmailChannel),
    #[oai(mapping = "webhook")]
    Webhook(WebhookChannel),
    #[oai(mapping = "mqtt")]
    Mqtt(MqttChannel),
    #[oai(mapping = "log")]
    Log(LogChannel),
}

/// A mail by SMTP
#[derive(Debug, Clone, Object)]
struct EmailChannel {
    host: String,
    /// 587 with `starttls`, 465 with `tls`, 25 with `none` if left out
    port: Option<u16>,
    /// `starttls` if left out
    security: Option<MailSecurity>,
    user: Option<String>,
    /// A secret
    password: Option<String>,
    /// Such as `Brooklet <alarms@example.org>`
    from: String,
    /// 1 to 100 addresses
    to: Vec<String>,
    /// Certificates in PEM form to be trusted besides the system's
    ca: Option<String>,
    /// `1s` to `60s`; `30s` if left out
    timeout: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum MailSecurity {
    StartTls,
    Tls,
    None,
}

/// A POST in the form of Alertmanager's webhook
#[derive(Debug, Clone, Object)]
struct WebhookChannel {
    url: String,
    /// The key of the HMAC signature; without it there is none. A secret
    secret: Option<String>,
    /// A token for `Authorization: Bearer`. A secret
    bearer: Option<String>,
    /// Further headers; their values are secrets
    headers: Option<HashMap<String, String>>,
    /// Whether a redirect may lead to a private, loopback or link-local address
    allow_private: Option<bool>,
    /// Certificates in PEM form to be trusted besides the system's
    ca: Option<String>,
    /// `1s` to `60s`; `10s` if left out
    timeout: Option<String>,
}

/// Messages on `alarms/{device}/{severity}/{rule}`, retained while the alarm is active
#[derive(Debug, Clone, Object)]
struct MqttChannel {}

/// Lines of the log
#[derive(Debug, Clone, Object)]
struct LogChannel {}
