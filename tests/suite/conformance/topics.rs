//! Topic names and filters (MQTT 5.0 §4.7; 3.1.1 the same): what is legal, what matches, and that
//! nothing is normalised on the way.

use brooklet::mqtt::{
    QoS, RetainHandling, SubscriptionOptions,
    subscriptions::{Subscriber, SubscriptionTree},
    topic::{TopicFilter, TopicLimits, matches},
};

use super::packets::{BOTH, Connect};
use crate::harness::Brooklet;

#[tokio::test]
async fn filters_match_level_by_level() {
    let brooklet = Brooklet::start().await;
    let cases = [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player2", false),
        ("sport/#", "sport", true),
        ("#", "/", true),
        ("#", "any/topic", true),
        ("/#", "any/topic", false),
        ("/#", "/any/topic", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+", "/finance", false),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+/tennis/#", "sport/tennis/a/b", true),
        ("sport/+/player1", "sport/tennis/player1", true),
        ("sport/+/player1", "sport/a/b/player1", false),
        ("a//b", "a//b", true),
        ("a//b", "a/b", false),
        ("a/+/b", "a//b", true),
        ("a", "a/", false),
        ("a/", "a", false),
        ("a/$b/+", "a/$b/c", true),
        ("+/+", "a/$b", true),
    ];
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        for (filter, topic, expected) in cases {
            client.subscribe(filter, 0).await;
            client.publish_qos0(topic, "x").await;
            if expected {
                assert_eq!(client.delivery().await.topic, topic, "{filter}");
            }
            assert!(client.is_quiet().await, "{filter} {topic}");
            client.unsubscribe_all(&[filter]).await;
            // The same for what is retained.
            client.retain(topic, "kept").await;
            client.subscribe(filter, 0).await;
            if expected {
                assert_eq!(client.delivery().await.topic, topic, "{filter}");
            }
            assert!(client.is_quiet().await, "{filter} {topic}");
            client.unsubscribe_all(&[filter]).await;
            client.retain(topic, "").await;
        }
    }
}

#[tokio::test]
async fn a_wildcard_stands_alone_in_its_level() {
    let brooklet = Brooklet::start().await;
    for (level, refused) in [(4, 0x80), (5, 0x8F)] {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        for filter in
            ["", "a#", "a/b#", "#/a", "a/#/b", "##", "a+", "+a", "a/+b/c", "++", "a/b+", "+#", "#+"]
        {
            assert_eq!(client.subscribe(filter, 0).await, refused, "{filter}");
        }
        for filter in ["#", "+", "/", "+/+", "/+", "a/+/b/#", "+/#", "/#", "//", " ", "$SYS/#"] {
            assert_eq!(client.subscribe(filter, 0).await, 0, "{filter}");
        }
    }
}

#[tokio::test]
async fn topics_are_not_normalised() {
    let brooklet = Brooklet::start().await;
    let alike = [
        "ACCOUNTS",
        "accounts",
        "Accounts",
        " accounts",
        "accounts ",
        "/accounts",
        "accounts/",
        "\u{FEFF}accounts",
        "accounts\u{FEFF}",
        "caf\u{E9}",
        "cafe\u{301}",
        "ａ",
        "a",
        "%61",
        "./a",
        "a\\b",
        "温度/传感器",
        "\u{2A6D4}",
        "\u{FFFD}",
    ];
    for level in BOTH {
        let mut clients = Vec::new();
        for (n, topic) in alike.iter().enumerate() {
            let mut client = Connect::new(level, &format!("c{n}")).client(&brooklet).await;
            client.subscribe(topic, 0).await;
            clients.push(client);
        }
        let mut all = Connect::new(level, "all").client(&brooklet).await;
        all.subscribe("#", 0).await;
        let mut publisher = Connect::new(level, "publisher").client(&brooklet).await;
        for topic in alike {
            publisher.publish(topic, topic).await;
            assert_eq!(all.delivery().await.topic, topic);
        }
        for (client, topic) in clients.iter_mut().zip(alike) {
            let message = client.delivery().await;
            assert_eq!((message.topic.as_str(), message.text()), (topic, topic));
            assert!(client.is_quiet().await, "{topic:?}");
        }
    }
}

#[tokio::test]
async fn the_byte_order_mark_is_a_character_of_any_string() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut plain = Connect::new(level, "c").client(&brooklet).await;
        let mut marked = Connect::new(level, "\u{FEFF}c").client(&brooklet).await;
        assert!(plain.is_quiet().await, "another client id");
        marked.subscribe_all(&[], &[("\u{FEFF}", 1), ("\u{FEFF}/a", 2)]).await;
        marked.publish_qos0("\u{FEFF}", "x").await;
        assert_eq!(marked.delivery().await.topic, "\u{FEFF}");
        let unsuback = marked.unsubscribe_all(&["\u{FEFF}"]).await;
        assert!(level == 4 || unsuback.codes == [0]);
        marked.publish_qos0("\u{FEFF}", "x").await;
        assert!(marked.is_quiet().await);
    }
}

/// Clients may not publish below `$`, so the broker's own matching is asked directly.
#[test]
fn dollar_topics_are_not_matched_by_a_leading_wildcard() {
    let limits = TopicLimits { levels_max: 16, bytes_max: 256 };
    let options = SubscriptionOptions {
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::SendOnSubscribe,
        identifier: None,
    };
    for (filter, topic, expected) in [
        ("#", "$SYS/uptime", false),
        ("+/uptime", "$SYS/uptime", false),
        ("+/#", "$SYS/uptime", false),
        ("#", "$", false),
        ("+", "$x", false),
        ("$SYS/#", "$SYS/uptime", true),
        ("$SYS/+", "$SYS/uptime", true),
        ("$SYS/#", "$SYS", true),
        ("+/$SYS", "a/$SYS", true),
    ] {
        assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        let mut tree = SubscriptionTree::default();
        let parsed = TopicFilter::new(filter, limits).unwrap();
        tree.insert(&parsed, Subscriber { key: 1, session: (), options });
        let mut found = 0;
        tree.for_each_match(topic, |leaf| found += leaf.plain.len());
        assert_eq!(found == 1, expected, "{filter} {topic}");
    }
}

#[tokio::test]
async fn what_clients_say_below_dollar_reaches_nobody() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.subscribe_all(&[], &[("#", 0), ("+/x", 0), ("$mine/#", 0)]).await;
        client.publish_qos0("$mine/x", "x").await;
        assert!(client.is_quiet().await);
    }
}
