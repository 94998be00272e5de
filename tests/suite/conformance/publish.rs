//! PUBLISH (MQTT 5.0 §3.3.1–3; 3.1.1 §3.3): its flags, its topic, and what of it subscribers get.

use std::time::{Duration, Instant};

use super::{
    packets::{BOTH, Connect, DUP, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, publish5},
    property::{Property as P, user},
};
use crate::{
    harness::Brooklet,
    wire::{binary, packet, text},
};

fn rich() -> Vec<P> {
    vec![
        user("z", "first"),
        P::PayloadFormatIndicator(1),
        user("a", "second"),
        P::ContentType("text/plain; charset=utf-8 \u{FEFF}".to_owned()),
        P::ResponseTopic("answers/1".to_owned()),
        user("z", "first"),
        P::CorrelationData(vec![0, 1, 0xFF, 0]),
        user("", ""),
    ]
}

/// User properties apart, in their order; the others in any.
fn apart(properties: &[P]) -> (Vec<P>, Vec<P>) {
    let (users, mut others): (Vec<_>, Vec<_>) =
        properties.iter().cloned().partition(|p| matches!(p, P::UserProperty(..)));
    others.sort_by_key(P::encode);
    (users, others)
}

#[tokio::test]
async fn properties_are_forwarded_unaltered_and_in_order() {
    let brooklet = Brooklet::start().await;
    let mut five = brooklet.connect("five").await;
    let mut old = brooklet.connect_v4("old").await;
    five.subscribe("rich/#", 2).await;
    old.subscribe("rich/#", 2).await;
    let mut publisher = brooklet.connect("publisher").await;
    for (first, id) in [(0x30, 0), (0x33, 1), (0x34, 2)] {
        let mut properties = rich();
        properties.insert(2, P::TopicAlias(1));
        publisher.send(&publish5(first, "rich/a", id, &properties, b"text")).await;
        match first {
            0x33 => publisher.expect_ack(PUBACK, id).await,
            0x34 => {
                publisher.expect_ack(PUBREC, id).await;
                publisher.send(&ack(PUBREL, id)).await;
                publisher.expect_ack(PUBCOMP, id).await;
            }
            _ => {}
        }
        let message = five.delivery().await;
        assert_eq!(apart(&message.properties), apart(&rich()), "and no alias");
        assert_eq!(message.text(), "text");
        five.complete(&message).await;
        let message = old.delivery().await;
        assert_eq!((message.topic.as_str(), message.text()), ("rich/a", "text"));
        old.complete(&message).await;
    }
    let mut late = brooklet.connect("late").await;
    late.subscribe("rich/a", 0).await;
    let kept = late.delivery().await;
    assert!(kept.retain);
    assert_eq!(apart(&kept.properties), apart(&rich()), "a retained message keeps them");
}

#[tokio::test]
async fn a_message_without_properties_has_an_empty_list() {
    let brooklet = Brooklet::start().await;
    let mut five = brooklet.connect("five").await;
    five.subscribe("plain", 1).await;
    for level in BOTH {
        let mut publisher = Connect::new(level, "publisher").client(&brooklet).await;
        publisher.publish("plain", "x").await;
        let packet = five.packet().await.unwrap();
        let id = &packet.body[7..9];
        assert_eq!(packet.body, [&text("plain"), id, &[0], b"x"].concat());
    }
}

#[tokio::test]
async fn dup_is_not_passed_on() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("dup", 2).await;
    for level in BOTH {
        let mut publisher = Connect::new(level, "publisher").client(&brooklet).await;
        for (first, answer) in [(0x32, PUBACK), (0x34, PUBREC)] {
            let bytes = publisher.publish_packet(first | DUP, "dup", 9, b"x");
            publisher.send(&bytes).await;
            publisher.expect_ack(answer, 9).await;
            let message = watcher.delivery().await;
            assert!(!message.dup);
            watcher.complete(&message).await;
        }
    }
}

#[tokio::test]
async fn qos_0_has_neither_packet_identifier_nor_dup() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::lasting(level, "c").client(&brooklet).await;
        client.subscribe("zero", 2).await;
        client.publish_qos0("zero", "x").await;
        let packet = client.packet().await.unwrap();
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        assert_eq!((packet.first, packet.body), (0x30, [&text("zero"), properties, b"x"].concat()));
        let bytes = client.publish_packet(0x30 | DUP, "zero", 0, b"x");
        client.send(&bytes).await;
        client.expect_end(0x81).await;
        Connect::new(level, "c").client(&brooklet).await;
    }
}

#[tokio::test]
async fn a_topic_name_must_be_one() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_TOPIC_LENGTH", "64KiB")]).await;
    for level in BOTH {
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        for (topic, reason) in [
            (&b"a/#"[..], 0x90),
            (b"a/+/b", 0x90),
            (b"a+", 0x90),
            (b"", 0x82),
            (b"a\0b", 0x81),
            (b"\xFF", 0x81),
            (b"\xED\xBF\xBF", 0x81),
        ] {
            for first in [0x30, 0x32] {
                let id: &[u8] = if first == 0x32 { &[0, 1] } else { &[] };
                let mut client = Connect::new(level, "c").client(&brooklet).await;
                let body = [&binary(topic), id, properties, b"x"].concat();
                client.send(&packet(first, &body)).await;
                client.expect_end(reason).await;
            }
        }
        let longest = "x".repeat(65_535);
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.subscribe(&longest, 0).await;
        client.publish_qos0(&longest, "long").await;
        assert_eq!(client.delivery().await.topic, longest);
    }
}

#[tokio::test]
async fn a_payload_may_be_empty_and_any_bytes() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.subscribe("bytes", 0).await;
        for payload in [&b""[..], b"\0", b"\xFF\xFE", &[7; 100_000]] {
            client.publish_qos0("bytes", payload).await;
            assert_eq!(client.delivery().await.payload, payload);
        }
    }
}

#[tokio::test]
async fn a_message_that_expired_before_its_delivery_is_not_delivered() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    let lasting = || Connect::lasting(5, "away");
    let mut away = lasting().client(&brooklet).await;
    let mut old = Connect::lasting(4, "old").client(&brooklet).await;
    away.subscribe("expiry/#", 2).await;
    old.subscribe("expiry/#", 2).await;
    away.leave().await;
    old.leave().await;
    let messages = [("expiry/short", 0x33, 1), ("expiry/long", 0x35, 100)];
    for (n, (topic, first, seconds)) in messages.into_iter().enumerate() {
        let id = n as u16 + 1;
        let expiry = [P::MessageExpiryInterval(seconds)];
        publisher.send(&publish5(first, topic, id, &expiry, b"x")).await;
        let answer = if first == 0x33 { PUBACK } else { PUBREC };
        publisher.expect_ack(answer, id).await;
    }
    let since = Instant::now();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    for mut client in
        [lasting().client(&brooklet).await, Connect::lasting(4, "old").client(&brooklet).await]
    {
        let message = client.delivery().await;
        let waited = since.elapsed().as_secs() as u32;
        assert_eq!(message.topic, "expiry/long", "the other one has expired");
        if client.is_v5 {
            let [P::MessageExpiryInterval(left)] = message.properties[..] else {
                panic!("{message:?}");
            };
            assert!((99 - waited..=99).contains(&left), "{left} left after {waited} s");
        }
        client.complete(&message).await;
        assert!(client.is_quiet().await);
    }
    let mut late = brooklet.connect("late").await;
    late.subscribe("expiry/#", 0).await;
    let kept = late.delivery().await;
    assert_eq!((kept.topic.as_str(), kept.retain), ("expiry/long", true));
    assert!(matches!(kept.properties[..], [P::MessageExpiryInterval(..=99)]), "{kept:?}");
    assert!(late.is_quiet().await);
}

#[tokio::test]
async fn a_delivery_that_has_begun_does_not_expire() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    let mut client = Connect::lasting(5, "c").client(&brooklet).await;
    client.subscribe("begun", 2).await;
    for (first, id) in [(0x32, 1), (0x34, 2)] {
        let expiry = [P::MessageExpiryInterval(1)];
        publisher.send(&publish5(first, "begun", id, &expiry, b"x")).await;
        publisher.answer().await;
    }
    let sent = [client.delivery().await, client.delivery().await];
    drop(client);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let mut client = Connect::lasting(5, "c").client(&brooklet).await;
    for before in sent {
        let again = client.delivery().await;
        assert_eq!((again.dup, again.id, again.qos), (true, before.id, before.qos));
        client.complete(&again).await;
    }
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn an_expired_message_is_acknowledged_all_the_same() {
    let brooklet = Brooklet::start().await;
    let mut client = brooklet.connect("c").await;
    client.subscribe("expired", 2).await;
    let expired = [P::MessageExpiryInterval(0)];
    client.send(&publish5(0x34, "expired", 5, &expired, b"x")).await;
    client.expect_ack(PUBREC, 5).await;
    client.send(&ack(PUBREL, 5)).await;
    client.expect_ack(PUBCOMP, 5).await;
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn a_publish_that_is_not_authorized_is_answered_by_its_qos() {
    let brooklet = Brooklet::with(&[("MQTT__SYS_INTERVAL", "0s")]).await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("$SYS/#", 0).await;
    for (level, reason) in [(4, 0), (5, 0x87)] {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.publish_qos0("$SYS/mine", "x").await;
        assert_eq!(client.publish("$SYS/mine", "x").await.reason, reason);
        assert_eq!(client.publish_qos2("$SYS/mine", "x").await.reason, reason);
        assert!(client.is_quiet().await);
    }
    assert!(watcher.is_quiet().await);
}
