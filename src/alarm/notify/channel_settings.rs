//! The settings of each channel, and what is wrong with them. Pure.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ChannelKind, InvalidTarget, Secret};
use crate::config::Period;

/// From the first byte to the last answer of one message.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const RECIPIENTS_MAX: usize = 100;
const HEADERS_MAX: usize = 20;

/// Headers that make the message what it is.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-brooklet-signature",
    "x-brooklet-timestamp",
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ChannelSettings {
    Email(EmailSettings),
    Webhook(WebhookSettings),
    Mqtt(MqttSettings),
    Log(LogSettings),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// In the clear until STARTTLS, which the server must offer.
    #[default]
    StartTls,
    Tls,
    None,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailSettings {
    pub host: String,
    /// 587 with `starttls`, 465 with `tls`, 25 with `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default)]
    pub security: Security,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    pub from: String,
    pub to: Vec<String>,
    /// Certificates in PEM form to be trusted besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    #[serde(default = "thirty_seconds")]
    pub timeout: Period,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    pub url: String,
    /// The key of the signature; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Secret>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// Whether a redirect may lead to a private, loopback or link-local address. The URL itself may.
    #[serde(default)]
    pub allow_private: bool,
    /// Certificates in PEM form to be trusted besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    #[serde(default = "ten_seconds")]
    pub timeout: Period,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {}

fn ten_seconds() -> Period {
    Period(Duration::from_secs(10))
}

fn thirty_seconds() -> Period {
    Period(Duration::from_secs(30))
}

impl ChannelSettings {
    pub fn kind(&self) -> ChannelKind {
        match self {
            Self::Email(_) => ChannelKind::Email,
            Self::Webhook(_) => ChannelKind::Webhook,
            Self::Mqtt(_) => ChannelKind::Mqtt,
            Self::Log(_) => ChannelKind::Log,
        }
    }

    /// What one try of a message may take.
    pub(in crate::alarm::notify) fn timeout(&self) -> Duration {
        match self {
            Self::Email(email) => email.timeout.0,
            Self::Webhook(webhook) => webhook.timeout.0,
            Self::Mqtt(_) | Self::Log(_) => Duration::from_secs(10),
        }
    }

    /// By JSON pointer below `/channel`.
    pub(super) fn secrets(&self) -> Vec<(String, &Secret)> {
        match self {
            Self::Email(email) => named("/password", email.password.as_ref()).collect(),
            Self::Webhook(webhook) => named("/secret", webhook.secret.as_ref())
                .chain(named("/bearer", webhook.bearer.as_ref()))
                .chain(webhook.headers.iter().map(|(name, value)| (header_pointer(name), value)))
                .collect(),
            Self::Mqtt(_) | Self::Log(_) => Vec::new(),
        }
    }

    /// Whether what is sent by the one goes where it goes by the other, and is as well protected on the
    /// way.
    pub(super) fn goes_where(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Email(one), Self::Email(other)) => {
                let place = |email: &EmailSettings| (email.host.clone(), email.port());
                place(one) == place(other) && one.security == other.security && one.ca == other.ca
            }
            (Self::Webhook(one), Self::Webhook(other)) => {
                one.url == other.url && one.ca == other.ca
            }
            _ => self.kind() == other.kind(),
        }
    }

    pub(super) fn replace_masks(&mut self, known: &[(String, Secret)]) {
        let replace = |pointer: &str, secret: &mut Secret| {
            let stored = known.iter().find(|(place, _)| place == pointer);
            if secret.is_mask()
                && let Some((_, stored)) = stored
            {
                *secret = stored.clone();
            }
        };
        match self {
            Self::Email(email) => {
                email.password.as_mut().into_iter().for_each(|it| replace("/password", it));
            }
            Self::Webhook(webhook) => {
                webhook.secret.as_mut().into_iter().for_each(|it| replace("/secret", it));
                webhook.bearer.as_mut().into_iter().for_each(|it| replace("/bearer", it));
                for (name, value) in &mut webhook.headers {
                    replace(&header_pointer(name), value);
                }
            }
            Self::Mqtt(_) | Self::Log(_) => {}
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidTarget> {
        match self {
            Self::Email(email) => email.check(),
            Self::Webhook(webhook) => webhook.check(),
            Self::Mqtt(_) | Self::Log(_) => Ok(()),
        }
    }
}

fn named<'a>(
    pointer: &'static str,
    secret: Option<&'a Secret>,
) -> impl Iterator<Item = (String, &'a Secret)> {
    secret.into_iter().map(move |secret| (pointer.to_owned(), secret))
}

fn header_pointer(name: &str) -> String {
    format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl EmailSettings {
    pub(in crate::alarm::notify) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::StartTls => 587,
            Security::Tls => 465,
            Security::None => 25,
        })
    }

    fn check(&self) -> Result<(), InvalidTarget> {
        let wrong = |pointer, detail: &str| Err(InvalidTarget::new(pointer, detail));
        if self.host.is_empty() || self.host.contains(|c: char| c.is_whitespace() || c == '/') {
            return wrong("/channel/host", "the mail server's name or address, such as mail.lan");
        }
        if self.port == Some(0) {
            return wrong("/channel/port", "1 to 65535");
        }
        if self.user.is_some() != self.password.is_some() {
            return wrong("/channel/password", "user and password go together");
        }
        if self.user.is_some() && self.security == Security::None && !is_loopback(&self.host) {
            let detail = "a password is not sent in the clear; use \"starttls\" or \"tls\"";
            return wrong("/channel/security", detail);
        }
        if !is_mailbox(&self.from) {
            return wrong("/channel/from", "an address such as \"Brooklet <alarms@example.org>\"");
        }
        if self.to.is_empty() || self.to.len() > RECIPIENTS_MAX {
            return wrong("/channel/to", "1 to 100 addresses");
        }
        if let Some(address) = self.to.iter().find(|address| !is_mailbox(address)) {
            let detail = format!("{address:?} is no address such as ann@example.org");
            return Err(InvalidTarget::new("/channel/to", detail));
        }
        check_ca(self.ca.as_deref())?;
        check_timeout(self.timeout)
    }
}

impl WebhookSettings {
    fn check(&self) -> Result<(), InvalidTarget> {
        let wrong = |pointer, detail: &str| Err(InvalidTarget::new(pointer, detail));
        let Ok(url) = url::Url::parse(&self.url) else {
            return wrong("/channel/url", "a URL such as https://example.org/hook");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return wrong("/channel/url", "it begins with http:// or https:// and names a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            let detail = "a URL is shown and logged; give the password as bearer or as a header";
            return wrong("/channel/url", detail);
        }
        if self.headers.len() > HEADERS_MAX {
            return wrong("/channel/headers", "at most 20 headers");
        }
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if !is_token(name) || OWN_HEADERS.contains(&lower.as_str()) {
                let detail = format!("{name:?} is no header that can be set");
                return Err(InvalidTarget::new("/channel/headers", detail));
            }
            if !is_header_value(value) {
                let detail = format!("{name}: visible ASCII characters and blanks only");
                return Err(InvalidTarget::new("/channel/headers", detail));
            }
        }
        if self.bearer.as_ref().is_some_and(|token| !is_header_value(token)) {
            return wrong("/channel/bearer", "visible ASCII characters only");
        }
        check_ca(self.ca.as_deref())?;
        check_timeout(self.timeout)
    }
}

fn check_timeout(timeout: Period) -> Result<(), InvalidTarget> {
    if (Duration::from_secs(1)..=TIMEOUT_MAX).contains(&timeout.0) {
        return Ok(());
    }
    Err(InvalidTarget::new("/channel/timeout", "\"1s\" to \"60s\""))
}

fn check_ca(ca: Option<&str>) -> Result<(), InvalidTarget> {
    let usable = ca.map(crate::tls::TrustedCertificates::read).transpose();
    usable.map(|_| ()).map_err(|what| InvalidTarget::new("/channel/ca", what))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// ASCII, so that any mail server takes it.
fn is_mailbox(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    !text.chars().any(char::is_control)
        && address.is_ascii()
        && address.len() <= 254
        && super::channel::is_mailbox(text)
}

fn is_token(name: &str) -> bool {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.len() <= 100 && name.bytes().all(is_legal)
}

fn is_header_value(value: &Secret) -> bool {
    let text = value.reveal();
    text.len() <= 4_096 && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}
