//! QoS 1 and 2 in both directions (MQTT 5.0 §3.4–3.7, §4.3, §4.6; 3.1.1 the same): packet
//! identifiers, answers, their order, and what becomes of unknown or refused ones.

use super::{
    packets::{BOTH, Connect, DUP, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, ack5},
    property::{Property as P, list, user},
};
use crate::{harness::Brooklet, wire::packet};

#[tokio::test]
async fn qos_1_is_answered_each_time_whatever_dup_says() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("once", 0).await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        for (first, id) in [(0x32, 1), (0x32, 1), (0x32 | DUP, 1), (0x32, 65_535), (0x32, 7)] {
            let bytes = client.publish_packet(first, "once", id, b"x");
            client.send(&bytes).await;
            client.expect_ack(PUBACK, id).await;
            assert_eq!(watcher.delivery().await.text(), "x", "a new message each time");
        }
        assert!(client.is_quiet().await && watcher.is_quiet().await);
    }
}

#[tokio::test]
async fn qos_2_is_taken_once_between_publish_and_pubrel() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("exactly", 0).await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        let publish = client.publish_packet(0x34, "exactly", 9, b"x");
        let again = client.publish_packet(0x34 | DUP, "exactly", 9, b"x");
        for _ in 0..2 {
            for bytes in [&publish, &again, &publish] {
                client.send(bytes).await;
                client.expect_ack(PUBREC, 9).await;
            }
            assert_eq!(watcher.delivery().await.text(), "x");
            assert!(watcher.is_quiet().await, "taken once");
            client.send(&ack(PUBREL, 9)).await;
            client.expect_ack(PUBCOMP, 9).await;
        }
        client.send(&again).await;
        client.expect_ack(PUBREC, 9).await;
        assert_eq!(watcher.delivery().await.text(), "x", "after PUBCOMP it is a new message");
    }
}

#[tokio::test]
async fn a_refused_qos_2_message_leaves_its_identifier_free() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("free", 0).await;
    let mut client = brooklet.connect("c").await;
    let refused = client.publish_packet(0x34, "$SYS/mine", 9, b"x");
    client.send(&refused).await;
    assert_eq!(client.reason_of(PUBREC, 9).await, 0x87);
    let taken = client.publish_packet(0x34, "free", 9, b"x");
    client.send(&taken).await;
    client.expect_ack(PUBREC, 9).await;
    assert_eq!(watcher.delivery().await.text(), "x");
    client.send(&ack(PUBREL, 9)).await;
    client.expect_ack(PUBCOMP, 9).await;
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_messages() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        let mut bytes = Vec::new();
        for id in 1..=40 {
            let first = if id % 3 == 0 { 0x34 } else { 0x32 };
            // Messages that are stored first mixed with such that are routed at once.
            let topic = if id % 2 == 0 { "devices/order/data" } else { "order" };
            bytes.extend(client.publish_packet(first, topic, id, br#"{"t": 1}"#));
        }
        client.send(&bytes).await;
        for id in 1..=40 {
            client.expect_ack(if id % 3 == 0 { PUBREC } else { PUBACK }, id).await;
        }
        for id in (3..=39).step_by(3) {
            client.send(&ack(PUBREL, id)).await;
        }
        for id in (3..=39).step_by(3) {
            client.expect_ack(PUBCOMP, id).await;
        }
    }
}

#[tokio::test]
async fn messages_of_one_publisher_keep_their_order() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut subscriber = Connect::new(level, "subscriber").client(&brooklet).await;
        subscriber.subscribe("ordered", 2).await;
        let mut publisher = Connect::new(level, "publisher").client(&brooklet).await;
        for qos in 0..=2 {
            for n in 0..50 {
                publisher.publish_at(qos, "ordered", &n.to_string()).await;
            }
            let mut messages = Vec::new();
            for n in 0..50 {
                messages.push(subscriber.delivery().await);
                assert_eq!((messages[n].qos, messages[n].text()), (qos, n.to_string().as_str()));
            }
            for message in &messages {
                subscriber.complete(message).await;
            }
        }
    }
}

#[tokio::test]
async fn deliveries_have_unused_identifiers_and_end_with_their_answers() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut subscriber = Connect::lasting(level, "subscriber").client(&brooklet).await;
        subscriber.subscribe("ids", 2).await;
        let mut publisher = Connect::new(level, "publisher").client(&brooklet).await;
        for n in 0..20 {
            publisher.publish_at(1 + n % 2, "ids", "x").await;
        }
        let mut messages = Vec::new();
        for _ in 0..20 {
            messages.push(subscriber.delivery().await);
        }
        let mut ids: Vec<_> = messages.iter().map(|message| message.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 20);
        assert!(ids[0] > 0 && messages.iter().all(|message| !message.dup));
        // Any order of answers will do, a QoS 2 exchange left open among others included.
        let (open, rest) = messages.split_last().unwrap();
        subscriber.send(&ack(PUBREC, open.id)).await;
        subscriber.expect_ack(PUBREL, open.id).await;
        for message in rest.iter().rev() {
            subscriber.complete(message).await;
        }
        subscriber.send(&ack(PUBREC, open.id)).await;
        subscriber.expect_ack(PUBREL, open.id).await;
        subscriber.send(&ack(PUBCOMP, open.id)).await;
        subscriber.leave().await;
        let mut subscriber = Connect::lasting(level, "subscriber").client(&brooklet).await;
        assert!(subscriber.is_quiet().await, "nothing is left under way");
        Connect::new(level, "subscriber").client(&brooklet).await;
    }
}

#[tokio::test]
async fn an_identifier_under_way_is_passed_over_when_they_come_round_again() {
    const BATCH: u16 = 200;
    let brooklet = Brooklet::start().await;
    let mut subscriber = brooklet.connect("subscriber").await;
    subscriber.subscribe("round", 1).await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("round", "held").await;
    let held = subscriber.delivery().await.id;
    let batch: Vec<u8> =
        (1..=BATCH).flat_map(|id| publisher.publish_packet(0x32, "round", id, b"x")).collect();
    let (mut seen, mut first_again) = (0, false);
    while seen <= 65_535 + u32::from(BATCH) {
        publisher.send(&batch).await;
        let mut answers = Vec::new();
        for id in 1..=BATCH {
            publisher.expect_ack(PUBACK, id).await;
            let message = subscriber.delivery().await;
            assert!(message.id != 0 && message.id != held);
            first_again |= seen > 60_000 && message.id < held.saturating_add(BATCH);
            answers.extend(ack(PUBACK, message.id));
            seen += 1;
        }
        subscriber.send(&answers).await;
    }
    assert!(first_again, "they have come round");
}

#[tokio::test]
async fn an_error_from_the_receiver_ends_the_delivery() {
    let brooklet = Brooklet::start().await;
    let mut subscriber = Connect::lasting(5, "subscriber").client(&brooklet).await;
    subscriber.subscribe("refused", 2).await;
    let mut publisher = brooklet.connect("publisher").await;
    for reason in [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        for (qos, answer) in [(1, PUBACK), (2, PUBREC)] {
            publisher.publish_at(qos, "refused", "x").await;
            let message = subscriber.delivery().await;
            subscriber.send(&ack5(answer, message.id, reason)).await;
            assert!(subscriber.is_quiet().await, "no PUBREL");
        }
    }
    publisher.publish_at(1, "refused", "no subscribers is a success").await;
    let message = subscriber.delivery().await;
    subscriber.send(&ack5(PUBACK, message.id, 0x10)).await;
    subscriber.leave().await;
    let mut subscriber = Connect::lasting(5, "subscriber").client(&brooklet).await;
    assert!(subscriber.is_quiet().await, "nothing is sent again");
}

#[tokio::test]
async fn an_answer_to_nothing_is_told_so_or_ignored() {
    let brooklet = Brooklet::start().await;
    for (level, reason) in [(4, 0), (5, 0x92)] {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.send(&ack(PUBREL, 77)).await;
        assert_eq!(client.reason_of(PUBCOMP, 77).await, reason);
        client.send(&ack(PUBREC, 78)).await;
        assert_eq!(client.reason_of(PUBREL, 78).await, reason);
        for first in [PUBACK, PUBCOMP] {
            client.send(&ack(first, 79)).await;
            assert!(client.is_quiet().await);
        }
    }
}

#[tokio::test]
async fn answers_with_reasons_and_properties_are_understood() {
    let brooklet = Brooklet::start().await;
    let mut subscriber = brooklet.connect("subscriber").await;
    subscriber.subscribe("verbose", 2).await;
    let mut publisher = brooklet.connect("publisher").await;
    let properties = list(&[user("a", "1"), P::ReasonString("fine".to_owned()), user("a", "2")]);
    let verbose =
        |first: u8, id: u16| packet(first, &[&id.to_be_bytes()[..], &[0], &properties].concat());
    for end in [&[0][..], &[0, 0]] {
        publisher.publish("verbose", "1").await;
        let message = subscriber.delivery().await;
        let id = message.id.to_be_bytes();
        subscriber.send(&packet(PUBACK, &[&id, end].concat())).await;
    }
    publisher.publish_qos2("verbose", "2").await;
    let message = subscriber.delivery().await;
    subscriber.send(&verbose(PUBREC, message.id)).await;
    subscriber.expect_ack(PUBREL, message.id).await;
    subscriber.send(&verbose(PUBCOMP, message.id)).await;
    let publish = publisher.publish_packet(0x34, "verbose", 9, b"x");
    publisher.send(&publish).await;
    publisher.expect_ack(PUBREC, 9).await;
    publisher.send(&verbose(PUBREL, 9)).await;
    publisher.expect_ack(PUBCOMP, 9).await;
    assert_eq!(subscriber.delivery().await.text(), "x");
}

#[tokio::test]
async fn explanations_respect_the_clients_wish_and_size() {
    let brooklet = Brooklet::start().await;
    let told = Connect::new(5, "told");
    let untold = Connect::new(5, "untold").with(P::RequestProblemInformation(0));
    let small = Connect::new(5, "small").with(P::MaximumPacketSize(24));
    for (connect, is_told) in [(told, true), (untold, false), (small, false)] {
        let mut client = connect.client(&brooklet).await;
        for (first, answer) in [(0x32, PUBACK), (0x34, PUBREC)] {
            let bytes = client.publish_packet(first, "devices/d/data", 9, b"no reading at all");
            client.send(&bytes).await;
            let packet = client.answer().await;
            assert_eq!(
                (packet.first, packet.id, packet.codes.as_slice()),
                (answer, 9, &[0x83][..])
            );
            assert_eq!(!packet.properties.is_empty(), is_told, "{packet:?}");
        }
        client.send(&packet(PUBREL, &[0, 99])).await;
        assert!(client.answer().await.properties.is_empty());
        assert!(client.subscribe_all(&[], &[("a#", 0)]).await.properties.is_empty());
        assert!(client.unsubscribe_all(&["a"]).await.properties.is_empty());
    }
}
