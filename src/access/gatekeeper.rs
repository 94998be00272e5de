//! The broker's questions, answered: who is this, and what may they do?
//!
//! Where names stand for topic levels, a name that is no single level is not let in. A client that is
//! refused hears only that it is.

use std::{net::IpAddr, sync::Arc};

use futures_util::future::BoxFuture;
use metrics::counter;
use parking_lot::Mutex;

use super::{
    password::{Checked, Passwords},
    rules::{Names, Rights, Rules},
    throttle::{Connects, Failures, Pair},
};
use crate::{
    clock::Clock,
    config::{self, CertificateUser},
    metrics::names,
    mqtt::{Authorizer, Client, ConnectAttempt, Identity, ReasonCode},
    tls::CertificateSubject,
};

/// Longest common name that is taken for a user's, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Decides for MQTT clients.
pub struct Gatekeeper {
    passwords: Passwords,
    certificate_user: CertificateUser,
    /// `None`: everybody may do everything.
    rules: Option<Rules>,
    failures: Mutex<Failures>,
    connects: Mutex<Connects>,
    clock: Clock,
}

impl Gatekeeper {
    pub fn new(access: &config::Access, clock: Clock) -> Self {
        let (window, ban) = (access.failure_window.0, access.ban_time.0);
        Self {
            passwords: Passwords::new(&access.users),
            certificate_user: access.certificate_user,
            rules: Rules::new(access),
            failures: Mutex::new(Failures::new(access.max_failures, window, ban)),
            connects: Mutex::new(Connects::new(access.max_connects_per_minute)),
            clock,
        }
    }

    async fn identify(&self, attempt: &ConnectAttempt) -> Result<Identity, ReasonCode> {
        let address = attempt.peer.ip();
        self.note_connect(address, &attempt.client_id)?;
        let certificate = match self.certificate_user {
            CertificateUser::Cn => attempt.certificate.as_ref(),
            CertificateUser::None => None,
        };
        if let Some(certificate) = certificate {
            return by_certificate(certificate);
        }
        match &attempt.user_name {
            Some(name) if !self.passwords.is_empty() => {
                let name = self.by_password(address, name, attempt.password.as_deref()).await?;
                Ok(Identity(Some(name)))
            }
            _ if attempt.allow_anonymous => Ok(Identity::default()),
            Some(_) => Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
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

    async fn by_password(
        &self,
        address: IpAddr,
        name: &str,
        password: Option<&[u8]>,
    ) -> Result<Arc<str>, ReasonCode> {
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
        match self.passwords.check(name, password, || !is_banned()).await {
            Checked::Right => {
                self.failures.lock().forgive(&pair);
                self.passwords.name(name).ok_or(ReasonCode::BAD_USER_NAME_OR_PASSWORD)
            }
            Checked::Wrong => {
                counter!(names::ACCESS_FAILURES).increment(1);
                if self.failures.lock().note(&pair, self.clock.monotonic()) {
                    counter!(names::ACCESS_BANS).increment(1);
                    tracing::warn!(%address, user = ?name, "refused for a while: too many wrong passwords");
                }
                Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD)
            }
            Checked::Busy if is_banned() => Err(refuse_banned()),
            Checked::Busy => Err(ReasonCode::SERVER_BUSY),
        }
    }

    /// Names that stand for topic levels have to be levels.
    fn check_names(&self, identity: &Identity, client_id: &str) -> Result<(), ReasonCode> {
        let user = identity.0.as_deref();
        let Some(rights) = self.rules.as_ref().map(|rules| rules.of(user)) else {
            return Ok(());
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

    /// `None`: there are no rules.
    fn rights<'a>(&self, client: &'a Client) -> Option<(&Rights, Names<'a>)> {
        let user = client.identity.0.as_deref();
        let rights = self.rules.as_ref()?.of(user);
        Some((rights, Names { user, client: &client.client_id }))
    }
}

fn by_certificate(certificate: &CertificateSubject) -> Result<Identity, ReasonCode> {
    let name = certificate.common_name.as_deref();
    match name.filter(|name| name.len() <= NAME_BYTES_MAX) {
        Some(name) => Ok(Identity(Some(name.into()))),
        None => {
            counter!(names::ACCESS_FAILURES).increment(1);
            let subject = &certificate.distinguished_name;
            tracing::info!(subject, "the certificate has no common name to go by");
            Err(ReasonCode::NOT_AUTHORIZED)
        }
    }
}

impl Authorizer for Gatekeeper {
    fn connect(&self, attempt: ConnectAttempt) -> BoxFuture<'_, Result<Identity, ReasonCode>> {
        Box::pin(async move {
            let identity = self.identify(&attempt).await?;
            self.check_names(&identity, &attempt.client_id)?;
            Ok(identity)
        })
    }

    fn may_publish(&self, client: &Client, topic: &str) -> bool {
        let is_allowed =
            self.rights(client).is_none_or(|(rights, names)| rights.may_publish(topic, names));
        is_allowed && !is_brokers_own(topic)
    }

    fn may_subscribe(&self, client: &Client, filter: &str) -> bool {
        self.rights(client).is_none_or(|(rights, names)| rights.may_subscribe(filter, names))
    }

    fn filters_deliveries(&self, client: &Client) -> bool {
        self.rights(client).is_some_and(|(rights, _)| !rights.may_receive_everything())
    }

    fn may_receive(&self, client: &Client, topic: &str) -> bool {
        self.rights(client).is_none_or(|(rights, names)| rights.may_receive(topic, names))
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{access::hash_password, mqtt::Version};

    const PEER: &str = "10.0.0.1:1";

    fn gatekeeper(more: &str, clock: &Clock) -> Gatekeeper {
        let text = format!(
            "max_failures = 2\nfailure_window = \"1m\"\nban_time = \"1m\"\n\
             max_connects_per_minute = 0\n{more}"
        );
        Gatekeeper::new(&toml::from_str(&text).unwrap(), clock.clone())
    }

    fn attempt(user: Option<&str>, password: &'static str) -> ConnectAttempt {
        ConnectAttempt {
            client_id: "c".into(),
            user_name: user.map(str::to_owned),
            password: Some(password.into()),
            peer: PEER.parse().unwrap(),
            certificate: None,
            allow_anonymous: false,
        }
    }

    fn client(user: Option<&str>) -> Client {
        Client {
            connection: 1,
            client_id: "c".into(),
            identity: Identity(user.map(Into::into)),
            version: Version::V5,
            peer: PEER.parse().unwrap(),
            packet_size_max: 1,
            clean_start: true,
            session_is_persistent: false,
        }
    }

    #[test]
    fn the_broker_speaks_for_itself() {
        for own in ["$SYS/x", "alarms/a/b", "devices/d/presence", "devices/d/errors"] {
            assert!(is_brokers_own(own), "{own}");
        }
        for free in ["devices/d/data", "devices/d/errors/x", "a/presence", "温度/1", "/"] {
            assert!(!is_brokers_own(free), "{free}");
        }
    }

    #[test]
    fn without_rules_nothing_is_asked_at_delivery() {
        let gatekeeper = gatekeeper("certificate_user = \"none\"", &Clock::manual(0));
        let anybody = client(None);
        assert!(gatekeeper.may_publish(&anybody, "a") && !gatekeeper.may_publish(&anybody, "$a"));
        assert!(gatekeeper.may_subscribe(&anybody, "#"));
        assert!(!gatekeeper.filters_deliveries(&anybody));
        assert!(gatekeeper.may_receive(&anybody, "a"));
    }

    #[test]
    fn deliveries_are_filtered_where_rights_are_narrower() {
        let rules = "certificate_user = \"cn\"\nrules = [\
            { user = \"*\", allow = [\"both:devices/{user}/#\"] },\
            { user = \"boss\", allow = [\"both:#\"] }]";
        let gatekeeper = gatekeeper(rules, &Clock::manual(0));
        let (ann, boss, nobody) = (client(Some("ann")), client(Some("boss")), client(None));
        assert!(gatekeeper.filters_deliveries(&ann) && gatekeeper.may_subscribe(&ann, "#"));
        assert!(gatekeeper.may_receive(&ann, "devices/ann/data"));
        assert!(!gatekeeper.may_receive(&ann, "devices/boss/data"));
        assert!(!gatekeeper.filters_deliveries(&boss) && gatekeeper.may_publish(&boss, "x"));
        assert!(!gatekeeper.may_publish(&boss, "devices/boss/errors"));
        assert!(!gatekeeper.may_subscribe(&nobody, "#") && !gatekeeper.may_publish(&nobody, "x"));
    }

    #[tokio::test]
    async fn a_ban_holds_for_the_right_password_too_and_ends() {
        let clock = Clock::manual(0);
        let hash = hash_password(b"right").unwrap();
        let users = format!(
            "certificate_user = \"none\"\nusers = [{{ name = \"ann\", password = \"{hash}\" }}]"
        );
        let gatekeeper = gatekeeper(&users, &clock);
        let log_in = |user, password| gatekeeper.connect(attempt(user, password));
        let ann = Ok(Identity(Some("ann".into())));
        assert_eq!(log_in(Some("ann"), "right").await, ann);
        for _ in 0..2 {
            let wrong = Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
            assert_eq!(log_in(Some("ann"), "wrong").await, wrong);
        }
        let banned = Err(ReasonCode::CONNECTION_RATE_EXCEEDED);
        assert_eq!(log_in(Some("ann"), "right").await, banned);
        clock.advance(Duration::from_secs(60));
        assert_eq!(log_in(Some("ann"), "right").await, ann);
        assert_eq!(log_in(None, "").await, Err(ReasonCode::NOT_AUTHORIZED));
    }

    #[tokio::test]
    async fn a_certificate_names_its_user() {
        let rules = "certificate_user = \"cn\"\n\
            rules = [{ user = \"*\", allow = [\"both:{user}/{client}\"] }]";
        let gatekeeper = gatekeeper(rules, &Clock::manual(0));
        let log_in = |name: Option<&str>, client_id: &str| {
            let certificate = CertificateSubject {
                common_name: name.map(str::to_owned),
                distinguished_name: String::new(),
            };
            let attempt = attempt(Some("somebody else"), "");
            gatekeeper.connect(ConnectAttempt {
                certificate: Some(certificate),
                client_id: client_id.into(),
                ..attempt
            })
        };
        let pump = Ok(Identity(Some("pump".into())));
        assert_eq!(log_in(Some("pump"), "c").await, pump);
        assert_eq!(log_in(None, "c").await, Err(ReasonCode::NOT_AUTHORIZED));
        for odd in ["a/b", "+", "#"] {
            assert_eq!(log_in(Some(odd), "c").await, Err(ReasonCode::NOT_AUTHORIZED));
            let refused = Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
            assert_eq!(log_in(Some("pump"), odd).await, refused);
        }
    }
}
