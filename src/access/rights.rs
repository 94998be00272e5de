//! All that applies to one client: what it may do by what it is, what the configuration says of it,
//! and what it was granted beside. Pure.

use std::sync::Arc;

use super::{
    Scope, Scopes,
    rules::{Names, Rights},
};

/// What somebody may do by being what it is.
pub(super) enum Base {
    Everything,
    Nothing,
    /// Not let in any more.
    Refused,
    /// The device of that key.
    Device(Arc<str>),
    Scoped {
        reads: bool,
        writes: bool,
    },
}

impl Base {
    pub(super) fn of(scopes: Scopes) -> Self {
        let (reads, writes) = (scopes.contains(Scope::MqttRead), scopes.contains(Scope::MqttWrite));
        Self::Scoped { reads, writes }
    }

    fn reads(&self) -> bool {
        matches!(self, Self::Everything | Self::Scoped { reads: true, .. })
    }
}

pub(super) struct Grants<'a> {
    pub(super) names: Names<'a>,
    pub(super) base: Base,
    /// `None`: the configuration has no rules.
    pub(super) configured: Option<&'a Rights>,
    pub(super) extra: Option<Arc<Rights>>,
}

impl Grants<'_> {
    /// `may_as`: whether the device of that key may publish on the topic.
    pub(super) fn may_publish(&self, topic: &str, may_as: impl FnOnce(&str) -> bool) -> bool {
        if matches!(self.base, Base::Refused)
            || self.configured.is_some_and(|rights| rights.denies_publishing(topic, self.names))
        {
            return false;
        }
        self.has(|rights| rights.may_publish(topic, self.names))
            || match &self.base {
                Base::Everything | Base::Scoped { writes: true, .. } => true,
                Base::Device(key) => may_as(key),
                Base::Nothing | Base::Refused | Base::Scoped { writes: false, .. } => false,
            }
    }

    /// Whether anything that `filter` matches may be received.
    pub(super) fn may_subscribe(&self, filter: &str) -> bool {
        if matches!(self.base, Base::Refused)
            || self.configured.is_some_and(|rights| rights.denies_subscribing(filter, self.names))
        {
            return false;
        }
        self.base.reads()
            || self.has(|rights| rights.may_subscribe(filter, self.names))
            || self.device().is_some_and(|key| may_be_below(filter, key))
    }

    pub(super) fn may_receive(&self, topic: &str) -> bool {
        if matches!(self.base, Base::Refused)
            || self.configured.is_some_and(|rights| rights.denies_receiving(topic, self.names))
        {
            return false;
        }
        self.base.reads()
            || self.has(|rights| rights.may_receive(topic, self.names))
            || self.device().is_some_and(|key| may_be_below(topic, key))
    }

    /// Whether [`Self::may_receive`] is to be asked: where it is not always so, or what it says may
    /// change while the connection lasts.
    pub(super) fn filters_deliveries(&self) -> bool {
        match self.base {
            Base::Everything => false,
            Base::Nothing => !self.configured.is_some_and(Rights::may_receive_everything),
            Base::Refused | Base::Device(_) | Base::Scoped { .. } => true,
        }
    }

    fn has(&self, may: impl Fn(&Rights) -> bool) -> bool {
        self.configured.is_some_and(&may) || self.extra.as_deref().is_some_and(may)
    }

    fn device(&self) -> Option<&str> {
        match &self.base {
            Base::Device(key) => Some(key),
            Base::Everything | Base::Nothing | Base::Refused | Base::Scoped { .. } => None,
        }
    }
}

/// Whether a filter can match, or a topic is, `devices/KEY` or something below it.
fn may_be_below(filter: &str, key: &str) -> bool {
    let mut levels = filter.split('/');
    match levels.next() {
        Some("#") => return true,
        Some("devices" | "+") => {}
        Some(_) | None => return false,
    }
    matches!(levels.next(), Some(level) if level == key || level == "+" || level == "#")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_receives_its_own_topics_and_what_it_was_granted() {
        let extra = Rights::of_texts(&["both:news/{user}/#".to_owned(), "nonsense".to_owned()]);
        let grants = Grants {
            names: Names { user: Some("esp"), client: "c" },
            base: Base::Device("esp".into()),
            configured: None,
            extra: Some(Arc::new(extra)),
        };
        for filter in
            ["devices/esp/#", "devices/esp", "devices/+/errors", "#", "+/esp/x", "devices/#"]
        {
            assert!(grants.may_subscribe(filter), "{filter}");
        }
        for filter in ["devices/other/#", "devices", "+", "sensors/esp/#", "news/other/#"] {
            assert!(!grants.may_subscribe(filter), "{filter}");
        }
        assert!(grants.may_subscribe("news/esp/1") && grants.may_receive("news/esp/1"));
        assert!(grants.may_receive("devices/esp/errors") && !grants.may_receive("devices/b/x"));
        assert!(!grants.may_receive("x/esp/errors"));
        assert!(grants.filters_deliveries());
        assert!(grants.may_publish("x", |key| key == "esp") && !grants.may_publish("x", |_| false));
        assert!(grants.may_publish("news/esp/x", |_| false));
    }

    #[test]
    fn what_is_denied_is_denied_whatever_allows_it() {
        let access = "certificate_user = \"cn\"\nmax_failures = 0\nfailure_window = \"1m\"\n\
            ban_time = \"1m\"\nmax_connects_per_minute = 0\n\
            rules = [{ user = \"*\", allow = [\"both:open\"], deny = [\"both:secret/#\"] }]";
        let rules = super::super::rules::Rules::new(&toml::from_str(access).unwrap()).unwrap();
        let grants = Grants {
            names: Names { user: Some("ann"), client: "c" },
            base: Base::of(Scopes::new(&[Scope::Admin])),
            configured: Some(rules.of_others()),
            extra: None,
        };
        assert!(grants.may_publish("x", |_| false) && grants.may_receive("x"));
        assert!(!grants.may_publish("secret/x", |_| true) && !grants.may_receive("secret/x"));
        assert!(!grants.may_subscribe("secret/#") && grants.may_subscribe("#"));
        let refused = Grants { base: Base::Refused, ..grants };
        assert!(!refused.may_publish("open", |_| true) && !refused.may_receive("open"));
        assert!(!refused.may_subscribe("open"));
    }
}
