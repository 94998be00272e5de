//! The broker's questions, answered: who is this, and what may they do?
//!
//! Who it is comes from a certificate, a key, a device's secret or a password, never from the client
//! id. Where names stand for topic levels, a name that is no single level is not let in. A client
//! that is refused hears only that it is.

use std::{net::IpAddr, sync::Arc};

use futures_util::future::BoxFuture;
use metrics::counter;
use parking_lot::Mutex;

use super::{
    Access, Scope,
    password::{Checked, Passwords},
    principal::{Who, device_identity, is_reserved, key_identity, user_identity},
    rights::{Base, Grants},
    rules::{Names, Rules},
    secret,
    throttle::{Connects, Failures, Pair},
};
use crate::{
    clock::Clock,
    config::{self, CertificateUser},
    metrics::names,
    mqtt::{Authorizer, Client, ConnectAttempt, Identity, ReasonCode},
    registry::Registry,
    routes::RouteTable,
    telemetry::{Approval, DeviceKey},
    tls::CertificateSubject,
};

/// Longest common name that is taken for a user's, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Decides for MQTT clients.
pub struct Gatekeeper {
    access: Arc<Access>,
    registry: Arc<Registry>,
    routes: RouteTable,
    passwords: Passwords,
    certificate_user: CertificateUser,
    /// `None`: users of the configuration, and those without credentials, may do everything.
    rules: Option<Rules>,
    failures: Mutex<Failures>,
    connects: Mutex<Connects>,
    clock: Clock,
}

/// What user name and password have shown.
enum Shown {
    Somebody(String),
    /// Somebody who may not use MQTT.
    Forbidden,
    Wrong,
    Busy,
    /// Nobody has that name, and nobody needs one here.
    Nobody,
}

impl Gatekeeper {
    pub fn new(
        settings: &config::Access,
        access: Arc<Access>,
        registry: Arc<Registry>,
        routes: RouteTable,
        clock: Clock,
    ) -> Self {
        let (window, ban) = (settings.failure_window.0, settings.ban_time.0);
        Self {
            passwords: Passwords::new(&settings.users, access.checker.clone()),
            access,
            registry,
            routes,
            certificate_user: settings.certificate_user,
            rules: Rules::new(settings),
            failures: Mutex::new(Failures::new(settings.max_failures, window, ban)),
            connects: Mutex::new(Connects::new(settings.max_connects_per_minute)),
            clock,
        }
    }

    /// The device that an identity speaks as.
    pub fn device_of(&self, identity: &Identity) -> Option<DeviceKey> {
        match Who::new(identity.0.as_deref()) {
            Who::Device(key) => DeviceKey::new(key).ok(),
            Who::Key(id) => self.access.keys.rights(id)?.1,
            Who::Anonymous | Who::Configured(_) | Who::User(_) => None,
        }
    }

    /// Whether an identity that was let in would still be.
    pub fn still_admits(&self, identity: &Identity) -> bool {
        match Who::new(identity.0.as_deref()) {
            Who::Anonymous | Who::Configured(_) => true,
            Who::Device(key) => !self.is_blocked(key),
            Who::User(name) => self.access.people.get(name).is_some_and(|user| user.active),
            Who::Key(id) => self.access.keys.rights(id).is_some_and(|(_, device)| {
                device.is_none_or(|device| !self.is_blocked(device.as_str()))
            }),
        }
    }

    fn is_blocked(&self, key: &str) -> bool {
        self.registry.get(key).is_some_and(|device| device.approval() == Approval::Blocked)
    }

    async fn identify(&self, attempt: &ConnectAttempt) -> Result<Identity, ReasonCode> {
        let address = attempt.peer.ip();
        self.note_connect(address, &attempt.client_id)?;
        let certificate = match self.certificate_user {
            CertificateUser::Cn => attempt.certificate.as_ref(),
            CertificateUser::None => None,
        };
        if let Some(certificate) = certificate {
            return self.by_certificate(certificate);
        }
        match &attempt.user_name {
            Some(name) => {
                let name = self.by_password(address, name, attempt).await?;
                Ok(Identity(name.map(Into::into)))
            }
            None if attempt.allow_anonymous => Ok(Identity::default()),
            None => Err(ReasonCode::NOT_AUTHORIZED),
        }
    }

    fn note_connect(&self, address: IpAddr, client_id: &str) -> Result<(), ReasonCode> {
        let mut connects = self.connects.lock();
        if connects.is_off() {
            return Ok(());
        }
        if connects.note(&Pair::new(address, client_id), self.clock.monotonic()) {
            counter!(names::ACCESS_THROTTLED, "reason" => "connects").increment(1);
            return Err(ReasonCode::CONNECTION_RATE_EXCEEDED);
        }
        Ok(())
    }

    /// `None`: let in without a name.
    async fn by_password(
        &self,
        address: IpAddr,
        name: &str,
        attempt: &ConnectAttempt,
    ) -> Result<Option<String>, ReasonCode> {
        let pair = Pair::new(address, name);
        let is_banned = || self.failures.lock().is_banned(&pair, self.clock.monotonic());
        let refuse_banned = || {
            counter!(names::ACCESS_THROTTLED, "reason" => "failures").increment(1);
            ReasonCode::CONNECTION_RATE_EXCEEDED
        };
        if is_banned() {
            return Err(refuse_banned());
        }
        // Asked again when the turn has come: of many attempts at once, all but a few would else be
        // checked although the first have led to a ban.
        match self.examine(name, attempt, || !is_banned()).await {
            Shown::Somebody(identity) => {
                self.failures.lock().forgive(&pair);
                Ok(Some(identity))
            }
            Shown::Nobody => Ok(None),
            Shown::Forbidden => Err(ReasonCode::NOT_AUTHORIZED),
            Shown::Wrong => {
                counter!(names::ACCESS_FAILURES).increment(1);
                if self.failures.lock().note(&pair, self.clock.monotonic()) {
                    counter!(names::ACCESS_BANS).increment(1);
                    tracing::warn!(%address, user = ?name, "refused for a while: too many wrong passwords");
                }
                Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD)
            }
            Shown::Busy if is_banned() => Err(refuse_banned()),
            Shown::Busy => Err(ReasonCode::SERVER_BUSY),
        }
    }

    /// What is generated says by its beginning what it is, and costs a digest; only what a person has
    /// thought up is hashed slowly.
    async fn examine(
        &self,
        name: &str,
        attempt: &ConnectAttempt,
        may_go_on: impl Fn() -> bool,
    ) -> Shown {
        let bytes = attempt.password.as_deref();
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        if text.starts_with(secret::KEY) {
            return self.by_key(text);
        }
        if let Some(name) = self.passwords.name(name) {
            return match self.passwords.check(&name, bytes, may_go_on).await {
                Checked::Right => Shown::Somebody(name.to_string()),
                Checked::Wrong => Shown::Wrong,
                Checked::Busy => Shown::Busy,
            };
        }
        let device = self.registry.get(name);
        if text.starts_with(secret::DEVICE) {
            return match device {
                Some(device) if self.access.devices.verify(device.id, text) => {
                    match device.approval() {
                        Approval::Blocked => Shown::Forbidden,
                        Approval::Active | Approval::Pending => {
                            Shown::Somebody(device_identity(name))
                        }
                    }
                }
                Some(_) | None => Shown::Wrong,
            };
        }
        if self.access.people.get(name).is_some() {
            return match self.access.people.check(name, text, may_go_on).await.0 {
                Checked::Right
                    if self.still_admits(&Identity(Some(user_identity(name).into()))) =>
                {
                    Shown::Somebody(user_identity(name))
                }
                Checked::Right | Checked::Wrong => Shown::Wrong,
                Checked::Busy => Shown::Busy,
            };
        }
        let is_somebodys = device.is_some_and(|device| self.access.devices.has_secret(device.id));
        if attempt.allow_anonymous && self.passwords.is_empty() && !is_somebodys {
            return Shown::Nobody;
        }
        match self.passwords.check(name, bytes, may_go_on).await {
            Checked::Right | Checked::Wrong => Shown::Wrong,
            Checked::Busy => Shown::Busy,
        }
    }

    /// A key is a password for any user name.
    fn by_key(&self, text: &str) -> Shown {
        let Some(key) = self.access.keys.find(text) else { return Shown::Wrong };
        let speaks_for = key.device.as_ref().map(DeviceKey::as_str);
        let may = match speaks_for {
            Some(device) => key.scopes.contains(Scope::TelemetryWrite) && !self.is_blocked(device),
            None => key.scopes.contains(Scope::MqttRead) || key.scopes.contains(Scope::MqttWrite),
        };
        if may { Shown::Somebody(key_identity(key.id)) } else { Shown::Forbidden }
    }

    /// A certificate is a device's: by a common name that was registered for it, or its own id. A
    /// user of the configuration goes first; what is no device id is the name of one, too.
    fn by_certificate(&self, certificate: &CertificateSubject) -> Result<Identity, ReasonCode> {
        let name = certificate.common_name.as_deref();
        let Some(name) = name.filter(|name| name.len() <= NAME_BYTES_MAX) else {
            counter!(names::ACCESS_FAILURES).increment(1);
            let subject = &certificate.distinguished_name;
            tracing::info!(subject, "the certificate has no common name to go by");
            return Err(ReasonCode::NOT_AUTHORIZED);
        };
        let registered = self.access.devices.by_subject(name);
        let device = match registered {
            None if self.passwords.name(name).is_some() => None,
            None => DeviceKey::new(name).ok(),
            registered => registered,
        };
        match device {
            Some(device) if self.is_blocked(device.as_str()) => Err(ReasonCode::NOT_AUTHORIZED),
            Some(device) => Ok(Identity(Some(device_identity(device.as_str()).into()))),
            None if is_reserved(name) => Err(ReasonCode::NOT_AUTHORIZED),
            None => Ok(Identity(Some(name.into()))),
        }
    }

    /// Names that stand for topic levels have to be levels.
    fn check_names(&self, identity: &Identity, client_id: &str) -> Result<(), ReasonCode> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let (rights, user) = match Who::new(identity.0.as_deref()) {
            Who::Anonymous => (rules.of(None), None),
            Who::Configured(name) => (rules.of(Some(name)), Some(name)),
            // Their names are levels.
            Who::Device(key) => (rules.of_device(key), None),
            Who::User(_) | Who::Key(_) => (rules.of_others(), None),
        };
        let is_level = |name: &str| !name.is_empty() && !name.contains(['/', '+', '#']);
        if rights.has_user() && !user.is_none_or(is_level) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        if rights.has_client() && !is_level(client_id) {
            return Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        }
        Ok(())
    }

    fn grants<'a>(&'a self, client: &'a Client) -> Grants<'a> {
        let rules = self.rules.as_ref();
        let names = |user: Option<&'a str>| Names { user, client: &client.client_id };
        let without_rules = if rules.is_some() { Base::Nothing } else { Base::Everything };
        match Who::new(client.identity.0.as_deref()) {
            Who::Anonymous => Grants {
                names: names(None),
                base: without_rules,
                configured: rules.map(|rules| rules.of(None)),
                extra: None,
            },
            Who::Configured(name) => Grants {
                names: names(Some(name)),
                base: without_rules,
                configured: rules.map(|rules| rules.of(Some(name))),
                extra: None,
            },
            Who::Device(key) => self.device_grants(key, names(Some(key))),
            Who::User(name) => {
                let user = self.access.people.get(name).filter(|user| user.active);
                let scopes = user.as_ref().map(|user| user.role.scopes());
                Grants {
                    names: names(Some(name)),
                    base: scopes.map_or(Base::Refused, Base::of),
                    configured: rules.map(Rules::of_others),
                    extra: user.map(|user| user.rights.clone()),
                }
            }
            Who::Key(id) => match self.access.keys.rights(id) {
                Some((_, Some(device))) => self.bound_key_grants(device, names(None)),
                found => Grants {
                    names: names(None),
                    base: found.map_or(Base::Refused, |(scopes, _)| Base::of(scopes)),
                    configured: rules.map(Rules::of_others),
                    extra: None,
                },
            },
        }
    }

    fn device_grants<'a>(&'a self, key: &str, names: Names<'a>) -> Grants<'a> {
        let device = self.registry.get(key);
        let is_blocked = device.as_ref().is_some_and(|d| d.approval() == Approval::Blocked);
        Grants {
            names,
            base: if is_blocked { Base::Refused } else { Base::Device(key.into()) },
            configured: self.rules.as_ref().map(|rules| rules.of_device(key)),
            extra: device.and_then(|device| self.access.devices.rights(device.id)),
        }
    }

    /// A key that is bound to a device does what the device does.
    fn bound_key_grants<'a>(&'a self, device: DeviceKey, names: Names<'a>) -> Grants<'a> {
        let grants = self.device_grants(device.as_str(), names);
        let configured = self.rules.as_ref().map(Rules::of_others);
        Grants { configured, ..grants }
    }
}

impl Authorizer for Gatekeeper {
    fn connect(&self, attempt: ConnectAttempt) -> BoxFuture<'_, Result<Identity, ReasonCode>> {
        Box::pin(async move {
            self.access.connections.asked(attempt.connection);
            let identity = self.identify(&attempt).await?;
            self.check_names(&identity, &attempt.client_id)?;
            Ok(identity)
        })
    }

    fn may_publish(&self, client: &Client, topic: &str) -> bool {
        !is_brokers_own(topic)
            && self.grants(client).may_publish(topic, |device| {
                let found = self.routes.find(topic);
                found.is_some_and(|found| {
                    let stands_for =
                        |other: &str| self.registry.get(other)?.is_behind(device).then_some(());
                    found.device == device || stands_for(found.device).is_some()
                })
            })
    }

    fn may_subscribe(&self, client: &Client, filter: &str) -> bool {
        self.grants(client).may_subscribe(filter)
    }

    fn filters_deliveries(&self, client: &Client) -> bool {
        self.grants(client).filters_deliveries()
    }

    fn may_receive(&self, client: &Client, topic: &str) -> bool {
        self.grants(client).may_receive(topic)
    }
}

/// Topics on which the broker itself speaks: presence, verdicts, alarms, `$SYS`.
fn is_brokers_own(topic: &str) -> bool {
    let mut levels = topic.split('/');
    match levels.next() {
        Some("alarms") => true,
        Some("devices") => {
            levels.next();
            matches!((levels.next(), levels.next()), (Some("presence" | "errors"), None))
        }
        Some(first) => first.starts_with('$'),
        None => false,
    }
}

#[cfg(test)]
mod tests;
