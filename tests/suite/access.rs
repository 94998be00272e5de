//! Who is let in, and what they may do then.

use brooklet::access::hash_password;

use crate::{
    certificates::Authority,
    harness::Brooklet,
    wire::{Client, login},
};

/// `access.users`: names, passwords and what follows them in TOML.
fn users(users: &[(&str, &str, &str)]) -> String {
    let user = |(name, password, more): &(&str, &str, &str)| {
        let hash = hash_password(password.as_bytes()).unwrap();
        format!("{{ name = \"{name}\", password = \"{hash}\"{more} }}")
    };
    format!("[{}]", users.iter().map(user).collect::<Vec<_>>().join(", "))
}

/// "Connection rate exceeded".
const TOO_OFTEN: Option<u8> = Some(0x9F);

async fn log_in(
    brooklet: &Brooklet,
    level: u8,
    user: Option<&str>,
    password: Option<&str>,
) -> Option<u8> {
    let connect = login(level, "client", user, password);
    Client::raw(brooklet.mqtt).await.log_in(&connect).await
}

async fn logged_in(brooklet: &Brooklet, client_id: &str, user: &str, password: &str) -> Client {
    let connect = login(5, client_id, Some(user), Some(password));
    Client::open(brooklet.mqtt, connect, true).await.0
}

#[tokio::test]
async fn passwords_are_checked_in_both_versions() {
    let ann = users(&[("ann", "right", "")]);
    for (anonymous, refused) in [("true", [0, 0]), ("false", [5, 0x87])] {
        let variables = [("ACCESS__USERS", ann.as_str()), ("MQTT__ALLOW_ANONYMOUS", anonymous)];
        let brooklet = Brooklet::with(&variables).await;
        for (at, level) in [4, 5].into_iter().enumerate() {
            let wrong = [4, 0x86][at];
            for (user, password, expected) in [
                (Some("ann"), Some("right"), 0),
                (Some("ann"), Some("wrong"), wrong),
                (Some("ann"), Some(""), wrong),
                (Some("ann"), None, wrong),
                (Some("eve"), Some("right"), wrong),
                (None, None, refused[at]),
            ] {
                let answer = log_in(&brooklet, level, user, password).await;
                assert_eq!(answer, Some(expected), "{level} {user:?} {password:?}");
            }
        }
        assert_eq!(brooklet.metric("brooklet_access_failures_total").await, 8.0);
    }
}

#[tokio::test]
async fn without_users_names_mean_nothing() {
    let brooklet = Brooklet::start().await;
    assert_eq!(log_in(&brooklet, 4, Some("ann"), Some("any")).await, Some(0));
    let closed = Brooklet::with(&[("MQTT__ALLOW_ANONYMOUS", "false")]).await;
    assert_eq!(log_in(&closed, 4, Some("ann"), Some("any")).await, Some(4));
}

#[tokio::test]
async fn users_do_what_they_may() {
    let own = ", allow = [\"both:devices/{user}/#\"], deny = [\"publish:devices/{user}/config\"]";
    let brooklet = Brooklet::with(&[
        ("ACCESS__USERS", &users(&[("ann", "a", own), ("boss", "b", ", allow = [\"both:#\"]")])),
        ("ACCESS__RULES", "[{ anonymous = true, allow = [\"subscribe:public/#\"] }]"),
    ])
    .await;
    let mut ann = logged_in(&brooklet, "anns", "ann", "a").await;
    let mut boss = logged_in(&brooklet, "bosss", "boss", "b").await;
    let mut nobody = brooklet.connect("nobody").await;

    assert_eq!(ann.publish("devices/ann/x", "1").await.reason & 0x80, 0);
    for refused in ["devices/ann/config", "devices/boss/x", "public/x", "devices/ann/errors"] {
        assert_eq!(ann.publish(refused, "1").await.reason, 0x87, "{refused}");
    }
    assert_eq!(boss.publish("devices/ann/config", "1").await.reason & 0x80, 0);
    assert_eq!(boss.publish("devices/ann/errors", "1").await.reason, 0x87);
    assert_eq!(nobody.publish("public/x", "1").await.reason, 0x87);

    assert_eq!(ann.subscribe("devices/ann/+", 1).await, 1);
    assert_eq!(ann.subscribe("$share/group/devices/ann/#", 1).await, 1);
    assert_eq!(ann.subscribe("devices/boss/#", 1).await, 0x87);
    assert_eq!(ann.subscribe("$share/group/devices/boss/#", 1).await, 0x87);
    assert_eq!(boss.subscribe("#", 1).await, 1);
    assert_eq!(nobody.subscribe("public/news", 0).await, 0);
    assert_eq!(nobody.subscribe("devices/ann/data", 0).await, 0x87);
    let mut old = Client::raw(brooklet.mqtt).await;
    old.is_v5 = false;
    assert_eq!(old.log_in(&login(4, "old", Some("ann"), Some("a"))).await, Some(0));
    assert_eq!(old.subscribe("devices/boss/#", 1).await, 0x80);
}

#[tokio::test]
async fn who_subscribes_to_more_gets_what_is_allowed() {
    let brooklet = Brooklet::with(&[
        ("ACCESS__USERS", &users(&[("ann", "a", ""), ("boss", "b", ", allow = [\"both:#\"]")])),
        ("ACCESS__RULES", "[{ user = \"*\", allow = [\"subscribe:open/#\"] }]"),
    ])
    .await;
    let mut boss = logged_in(&brooklet, "bosss", "boss", "b").await;
    let id = boss.next_id();
    for topic in ["secret/kept", "open/kept"] {
        boss.send(&boss.publish_packet(0x33, topic, id, b"retained")).await;
        assert_eq!(boss.ack().await.reason & 0x80, 0);
    }
    let mut ann = logged_in(&brooklet, "anns", "ann", "a").await;
    assert_eq!(ann.subscribe("#", 0).await, 0);
    assert_eq!(ann.message().await.1, "open/kept");
    for topic in ["secret/now", "open/now"] {
        boss.publish(topic, "1").await;
    }
    assert_eq!(ann.message().await.1, "open/now");
    assert!(ann.is_quiet().await);
}

#[tokio::test]
async fn a_session_is_its_users_alone() {
    let all = ", allow = [\"both:#\"]";
    let users = users(&[("ann", "a", all), ("eve", "e", all)]);
    let brooklet = Brooklet::with(&[("ACCESS__USERS", &users)]).await;
    let mut anns = logged_in(&brooklet, "same", "ann", "a").await;
    assert_eq!(anns.subscribe("a", 1).await, 1);
    for (level, expected) in [(4, 5), (5, 0x87)] {
        let eve = login(level, "same", Some("eve"), Some("e"));
        assert_eq!(Client::raw(brooklet.mqtt).await.log_in(&eve).await, Some(expected));
    }
    assert!(anns.is_quiet().await);
    let mut again = logged_in(&brooklet, "same", "ann", "a").await;
    assert_eq!(anns.goodbye().await, Some(0x8E));
    assert!(again.is_quiet().await);
}

#[tokio::test]
async fn a_client_id_that_stands_for_a_level_has_to_be_one() {
    let rules = "[{ anonymous = true, allow = [\"both:devices/{client}/#\"] }]";
    let brooklet = Brooklet::with(&[("ACCESS__RULES", rules)]).await;
    for odd in ["a/b", "+", "#"] {
        for (level, expected) in [(4, 2), (5, 0x85)] {
            let connect = login(level, odd, None, None);
            let answer = Client::raw(brooklet.mqtt).await.log_in(&connect).await;
            assert_eq!(answer, Some(expected), "{odd}");
        }
    }
    let mut plain = brooklet.connect("plain").await;
    assert_eq!(plain.publish("devices/plain/x", "1").await.reason & 0x80, 0);
    assert_eq!(plain.publish("devices/other/x", "1").await.reason, 0x87);
}

#[tokio::test]
async fn a_certificate_is_a_login() {
    let authority = Authority::new();
    let more = format!(
        ", client_certificates = \"optional\", allow_anonymous = false{}",
        authority.client_ca()
    );
    let brooklet = Brooklet::with(&[
        ("MQTT__LISTENERS", &format!("[{}]", authority.listener("tls", &more))),
        ("ACCESS__CERTIFICATE_USER", "cn"),
        ("ACCESS__USERS", &users(&[("ann", "a", "")])),
        ("ACCESS__RULES", "[{ user = \"*\", allow = [\"both:devices/{user}/#\"] }]"),
    ])
    .await;
    let address = brooklet.listener("tls");
    let open = async |shown| Client::over(authority.connect(address, shown).await.unwrap());

    let mut pump = open(Some(authority.issue("pump-7"))).await;
    assert_eq!(pump.log_in(&login(5, "p", None, None)).await, Some(0));
    assert_eq!(pump.publish("devices/pump-7/x", "1").await.reason & 0x80, 0);
    assert_eq!(pump.publish("devices/ann/x", "1").await.reason, 0x87);
    // Its certificate says who it is, not what it types.
    let mut pump = open(Some(authority.issue("pump-8"))).await;
    assert_eq!(pump.log_in(&login(5, "p8", Some("ann"), Some("a"))).await, Some(0));
    assert_eq!(pump.publish("devices/ann/x", "1").await.reason, 0x87);
    let mut odd = open(Some(authority.issue("a/b"))).await;
    assert_eq!(odd.log_in(&login(5, "odd", None, None)).await, Some(0x87));

    let mut ann = open(None).await;
    assert_eq!(ann.log_in(&login(5, "a", Some("ann"), Some("a"))).await, Some(0));
    assert_eq!(open(None).await.log_in(&login(5, "a", None, None)).await, Some(0x87));
}

#[tokio::test]
async fn who_guesses_is_refused_for_a_while() {
    let brooklet = Brooklet::with(&[
        ("ACCESS__USERS", &users(&[("ann", "a", ""), ("bob", "b", "")])),
        ("ACCESS__MAX_FAILURES", "3"),
        ("ACCESS__BAN_TIME", "\"2s\""),
    ])
    .await;
    for _ in 0..3 {
        assert_eq!(log_in(&brooklet, 5, Some("ann"), Some("x")).await, Some(0x86));
    }
    assert_eq!(log_in(&brooklet, 5, Some("ann"), Some("a")).await, TOO_OFTEN);
    assert_eq!(log_in(&brooklet, 4, Some("ann"), Some("a")).await, Some(3));
    assert_eq!(log_in(&brooklet, 5, Some("bob"), Some("b")).await, Some(0));
    assert_eq!(brooklet.metric("brooklet_access_bans_total").await, 1.0);
    let series = "brooklet_access_throttled_total{reason=\"failures\"}";
    assert_eq!(brooklet.metric(series).await, 2.0);
    brooklet.logged(|line| line["user"] == "\"ann\"" && line["level"] == "WARN").await;
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    while log_in(&brooklet, 5, Some("ann"), Some("a")).await != Some(0) {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn many_guesses_at_once_are_no_way_around_it() {
    let brooklet = Brooklet::with(&[
        ("ACCESS__USERS", &users(&[("ann", "a", "")])),
        ("ACCESS__MAX_FAILURES", "3"),
    ])
    .await;
    let guesses = (0..40).map(|_| log_in(&brooklet, 5, Some("ann"), Some("x")));
    let answers = futures_util::future::join_all(guesses).await;
    let checked = answers.iter().filter(|answer| **answer == Some(0x86)).count();
    assert!((3..=3 + 4).contains(&checked), "{answers:?}");
    let throttled = answers.iter().filter(|answer| **answer == TOO_OFTEN).count();
    assert_eq!(checked + throttled, 40, "{answers:?}");
}

#[tokio::test]
async fn a_reconnect_storm_is_slowed() {
    let brooklet = Brooklet::with(&[("ACCESS__MAX_CONNECTS_PER_MINUTE", "2")]).await;
    for _ in 0..2 {
        assert_eq!(log_in(&brooklet, 5, None, None).await, Some(0));
    }
    assert_eq!(log_in(&brooklet, 5, None, None).await, TOO_OFTEN);
    assert_eq!(log_in(&brooklet, 4, None, None).await, Some(3));
    brooklet.connect("another").await;
    let series = "brooklet_access_throttled_total{reason=\"connects\"}";
    assert_eq!(brooklet.metric(series).await, 2.0);
}
