//! SUBSCRIBE and SUBACK (MQTT 5.0 §3.8, §3.9; 3.1.1 the same): grants, replacement, No Local,
//! Subscription Identifiers, overlapping subscriptions.

use super::{
    packets::{BOTH, Connect, Message, PUBACK, ack, publish5, will},
    property::{Property as P, list},
};
use crate::{
    harness::Brooklet,
    wire::{packet, text},
};

const NO_LOCAL: u8 = 0b100;
const RETAIN_AS_PUBLISHED: u8 = 0b1000;

fn identifiers(properties: &[P]) -> Vec<u32> {
    let mut found: Vec<_> = properties
        .iter()
        .map(|property| match property {
            P::SubscriptionIdentifier(identifier) => *identifier,
            other => panic!("{other:?}"),
        })
        .collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn each_filter_has_its_code_in_its_place() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_SUBSCRIPTIONS", "4")]).await;
    for (level, invalid, full) in [(4, 0x80, 0x80), (5, 0x8F, 0x97)] {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        let filters = [("a", 2), ("b#", 0), ("b", 0), ("", 1), ("c/+", 1), ("d", 0), ("e", 2)];
        let suback = client.subscribe_all(&[], &filters).await;
        assert_eq!(suback.codes, [2, invalid, 0, invalid, 1, 0, full]);
        client.publish_qos0("a", "granted").await;
        assert_eq!(client.delivery().await.text(), "granted");
        client.publish_qos0("e", "refused").await;
        assert!(client.is_quiet().await);
    }
}

#[tokio::test]
async fn suback_has_the_packet_identifier_of_its_subscribe() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        for id in [1_u16, 0x1234, 65_535] {
            let body = [&id.to_be_bytes()[..], properties, &text("a"), &[1]].concat();
            client.send(&packet(0x82, &body)).await;
            let suback = client.answer().await;
            assert_eq!((suback.first, suback.id, suback.codes), (0x90, id, vec![1]));
        }
    }
}

#[tokio::test]
async fn several_filters_are_as_several_subscribes() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.retain("many/kept", "kept").await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        let filters = [("many/kept", 0), ("many/b", 0), ("many/b", 1), ("many/kept", 1)];
        assert_eq!(client.subscribe_all(&[], &filters).await.codes, [0, 0, 1, 1]);
        for qos in [0, 1] {
            let kept = client.delivery().await;
            assert_eq!((kept.retain, kept.qos), (true, qos), "sent for each of the two");
            client.complete(&kept).await;
        }
        publisher.publish("many/b", "x").await;
        let message = client.delivery().await;
        assert_eq!(message.qos, 1, "the later one replaces the earlier");
        client.complete(&message).await;
        assert!(client.is_quiet().await);
    }
}

#[tokio::test]
async fn the_same_filter_replaces_the_subscription() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.retain("replaced", "kept").await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        for (n, granted) in [(1, 2), (2, 0), (3, 1)] {
            let identifier = [P::SubscriptionIdentifier(n)];
            client.subscribe_all(&identifier, &[("replaced", granted)]).await;
            for (payload, qos) in [("kept", 1), ("live", 2)] {
                if payload == "live" {
                    publisher.publish_qos2("replaced", payload).await;
                }
                let message = client.delivery().await;
                assert_eq!((message.text(), message.qos), (payload, granted.min(qos)));
                assert_eq!(message.retain, payload == "kept", "kept messages are sent again");
                if level == 5 {
                    assert_eq!(identifiers(&message.properties), [n]);
                }
                client.complete(&message).await;
            }
            assert!(client.is_quiet().await, "one subscription, one message");
        }
    }
}

#[tokio::test]
async fn replacing_a_subscription_loses_nothing() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.subscribe("lossless", 1).await;
        let mut publisher = brooklet.connect("publisher").await;
        let publishing = async {
            for n in 0..200 {
                publisher.publish("lossless", n.to_string()).await;
            }
        };
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let renewing = async {
            let (mut subacks, mut next) = (0, 0);
            while next < 200 || subacks < 50 {
                if subacks < 50 {
                    let body = [&[0, 9][..], properties, &text("lossless"), &[1]].concat();
                    client.send(&packet(0x82, &body)).await;
                }
                let packet = client.packet().await.unwrap();
                if packet.first == 0x90 {
                    subacks += 1;
                    continue;
                }
                let message = Message::parse(&packet, level == 5);
                assert_eq!(message.text(), next.to_string());
                client.complete(&message).await;
                next += 1;
            }
        };
        tokio::join!(publishing, renewing);
    }
}

#[tokio::test]
async fn delivery_is_at_the_lower_qos_of_message_and_grant() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut publisher = Connect::new(level, "publisher").client(&brooklet).await;
        for granted in 0..=2 {
            let mut client = Connect::new(level, "c").client(&brooklet).await;
            assert_eq!(client.subscribe("lower", granted).await, granted);
            for qos in 0..=2 {
                publisher.publish_at(qos, "lower", "x").await;
                let message = client.delivery().await;
                assert_eq!(message.qos, qos.min(granted));
                client.complete(&message).await;
            }
        }
    }
}

#[tokio::test]
async fn overlapping_subscriptions_give_the_highest_qos() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        let filters = [("over/#", 0), ("over/+", 2), ("over/a", 1), ("elsewhere", 2)];
        client.subscribe_all(&[], &filters).await;
        for qos in 0..=2 {
            publisher.publish_at(qos, "over/a", "x").await;
            let message = client.delivery().await;
            assert_eq!(message.qos, qos);
            client.complete(&message).await;
            assert!(client.is_quiet().await, "one copy");
        }
    }
}

#[tokio::test]
async fn a_message_carries_the_identifiers_of_all_that_match() {
    let brooklet = Brooklet::start().await;
    let mut client = brooklet.connect("c").await;
    for (identifier, filter) in
        [(1, "ids/#"), (268_435_455, "ids/+"), (16_384, "ids/a"), (4, "ids/b")]
    {
        client.subscribe_all(&[P::SubscriptionIdentifier(identifier)], &[(filter, 0)]).await;
    }
    client.subscribe("+/a", 0).await;
    client.publish_qos0("ids/a", "x").await;
    assert_eq!(identifiers(&client.delivery().await.properties), [1, 16_384, 268_435_455]);
    client.publish_qos0("ids/c/d", "x").await;
    assert_eq!(identifiers(&client.delivery().await.properties), [1]);
    client.publish_qos0("other/a", "x").await;
    assert!(client.delivery().await.properties.is_empty(), "that one has none");
    client.subscribe("ids/a", 0).await;
    client.publish_qos0("ids/a", "x").await;
    assert_eq!(identifiers(&client.delivery().await.properties), [1, 268_435_455], "replaced");
    client.retain("ids/b", "kept").await;
    assert_eq!(identifiers(&client.delivery().await.properties), [1, 4, 268_435_455]);
    client.subscribe_all(&[P::SubscriptionIdentifier(9)], &[("ids/b", 0)]).await;
    assert_eq!(identifiers(&client.delivery().await.properties), [9], "kept messages too");
    let two = [("ids/x", 0), ("ids/y", 0)];
    client.subscribe_all(&[P::SubscriptionIdentifier(7)], &two).await;
    client.publish_qos0("ids/y", "x").await;
    assert!(identifiers(&client.delivery().await.properties).contains(&7), "of all its filters");
}

#[tokio::test]
async fn a_subscription_identifier_outlives_the_connection() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    let mut client = Connect::lasting(5, "c").client(&brooklet).await;
    client.subscribe_all(&[P::SubscriptionIdentifier(5)], &[("stays", 1)]).await;
    client.leave().await;
    publisher.publish("stays", "x").await;
    let mut client = Connect::lasting(5, "c").client(&brooklet).await;
    assert_eq!(identifiers(&client.delivery().await.properties), [5]);
}

#[tokio::test]
async fn identifiers_may_not_come_from_a_publisher() {
    let brooklet = Brooklet::start().await;
    let mut client = brooklet.connect("c").await;
    client.send(&publish5(0x30, "a", 0, &[P::SubscriptionIdentifier(1)], b"x")).await;
    client.expect_end(0x82).await;
}

#[tokio::test]
async fn no_local_keeps_a_clients_own_messages_from_it() {
    let brooklet = Brooklet::start().await;
    let mut other = brooklet.connect("other").await;
    let mut client = Connect::lasting(5, "c").client(&brooklet).await;
    let options = NO_LOCAL | RETAIN_AS_PUBLISHED | 1;
    client.subscribe_all(&[P::SubscriptionIdentifier(1)], &[("own/#", options)]).await;
    other.subscribe("own/#", NO_LOCAL).await;
    client.publish("own/a", "mine").await;
    assert_eq!(other.delivery().await.text(), "mine");
    assert!(client.is_quiet().await);
    other.publish("own/a", "theirs").await;
    let message = client.delivery().await;
    client.complete(&message).await;
    assert!(other.is_quiet().await);
    client.subscribe_all(&[P::SubscriptionIdentifier(2)], &[("own/b", 0)]).await;
    client.publish("own/b", "mine by another subscription").await;
    assert_eq!(identifiers(&client.delivery().await.properties), [2]);
    other.delivery().await;
    client.leave().await;
    let mut client = Connect::lasting(5, "c").client(&brooklet).await;
    client.publish("own/a", "mine on a new connection").await;
    assert!(client.is_quiet().await);
    other.delivery().await;
    client.retain("own/kept", "mine, kept").await;
    other.delivery().await;
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn suback_comes_before_what_the_subscription_brings() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.retain("before", "kept").await;
    for level in BOTH {
        let connect = Connect::new(level, "c").will(will("before/will"));
        let mut client = connect.client(&brooklet).await;
        let suback = client.subscribe_all(&[], &[("before/#", 1)]).await;
        assert_eq!(suback.codes, [1]);
        let kept = client.delivery().await;
        assert_eq!(kept.text(), "kept");
        client.send(&ack(PUBACK, kept.id)).await;
    }
}

#[tokio::test]
async fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let brooklet = Brooklet::start().await;
    let mut client = brooklet.connect("c").await;
    let body = [&[0, 1][..], &list(&[]), &text("$share/g/a"), &[NO_LOCAL]].concat();
    client.send(&packet(0x82, &body)).await;
    client.expect_end(0x82).await;
}
