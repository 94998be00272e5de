//! Flow control and packet sizes (MQTT 5.0 §3.1.2.11.3–4, §3.3.4, §4.9): Receive Maximum and Maximum
//! Packet Size, in both directions.

use super::{
    packets::{BOTH, Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, ack5},
    property::Property as P,
};
use crate::{
    harness::Brooklet,
    wire::{packet, text},
};

#[tokio::test]
async fn no_more_than_the_clients_receive_maximum_is_under_way() {
    let brooklet = Brooklet::start().await;
    let mut client = Connect::new(5, "c").with(P::ReceiveMaximum(3)).client(&brooklet).await;
    client.subscribe("window", 2).await;
    let mut publisher = brooklet.connect("publisher").await;
    for qos in [1, 2, 2, 1, 2, 1, 1, 1] {
        publisher.publish_at(qos, "window", "x").await;
    }
    let first = client.deliveries().await;
    assert_eq!(first.iter().map(|message| message.qos).collect::<Vec<_>>(), [1, 2, 2]);

    // All else goes on: PINGREQ above, and these.
    assert_eq!(client.subscribe("elsewhere", 0).await, 0);
    client.unsubscribe_all(&["elsewhere"]).await;
    assert_eq!(client.publish("unheard", "x").await.reason, 0);
    assert_eq!(client.publish_qos2("unheard", "x").await.reason, 0);

    client.send(&ack(PUBACK, first[0].id)).await;
    assert_eq!(client.deliveries().await.len(), 1, "PUBACK makes room");
    client.send(&ack(PUBREC, first[1].id)).await;
    client.expect_ack(PUBREL, first[1].id).await;
    assert_eq!(client.deliveries().await.len(), 0, "PUBREC does not");
    client.send(&ack(PUBCOMP, first[1].id)).await;
    assert_eq!(client.deliveries().await.len(), 1, "PUBCOMP does");
    client.send(&ack5(PUBREC, first[2].id, 0x97)).await;
    assert_eq!(client.deliveries().await.len(), 1, "an error does");
}

#[tokio::test]
async fn without_a_receive_maximum_the_servers_own_limit_holds() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_INFLIGHT", "5")]).await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.subscribe("window", 1).await;
        let mut publisher = Connect::new(level, "publisher").client(&brooklet).await;
        for _ in 0..12 {
            publisher.publish("window", "x").await;
        }
        let mut seen = 0;
        for expected in [5, 5, 2] {
            let messages = client.deliveries().await;
            assert_eq!(messages.len(), expected);
            for message in messages {
                client.send(&ack(PUBACK, message.id)).await;
                seen += 1;
            }
        }
        assert_eq!(seen, 12);
    }
}

#[tokio::test]
async fn the_receive_maximum_is_of_each_connection() {
    let brooklet = Brooklet::start().await;
    let lasting = || Connect::lasting(5, "c");
    let mut client = lasting().with(P::ReceiveMaximum(4)).client(&brooklet).await;
    client.subscribe("window", 1).await;
    let mut publisher = brooklet.connect("publisher").await;
    for _ in 0..6 {
        publisher.publish("window", "x").await;
    }
    assert_eq!(client.deliveries().await.len(), 4);
    client.leave().await;
    let mut client = lasting().with(P::ReceiveMaximum(5)).client(&brooklet).await;
    assert_eq!(client.deliveries().await.len(), 5, "four again and one more");
}

#[tokio::test]
async fn what_is_sent_again_keeps_to_the_new_receive_maximum() {
    let brooklet = Brooklet::start().await;
    let lasting = || Connect::lasting(5, "c");
    let mut client = lasting().client(&brooklet).await;
    client.subscribe("window", 1).await;
    let mut publisher = brooklet.connect("publisher").await;
    for _ in 0..6 {
        publisher.publish("window", "x").await;
    }
    assert_eq!(client.deliveries().await.len(), 6);
    client.leave().await;
    let mut client = lasting().with(P::ReceiveMaximum(2)).client(&brooklet).await;
    for _ in 0..3 {
        let messages = client.deliveries().await;
        assert_eq!(messages.len(), 2);
        for message in messages {
            client.send(&ack(PUBACK, message.id)).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_exceeds_the_servers_receive_maximum_is_sent_away() {
    let brooklet = Brooklet::with(&[("MQTT__RECEIVE_MAXIMUM", "3")]).await;
    let mut client = brooklet.connect("c").await;
    let publish = |id: u16| packet(0x34, &[&text("a")[..], &id.to_be_bytes(), &[0]].concat());
    for round in 0..2 {
        for id in 1..=3 {
            client.send(&publish(id)).await;
            client.expect_ack(PUBREC, id).await;
        }
        client.send(&publish(2)).await;
        client.expect_ack(PUBREC, 2).await;
        for id in 1..=3 {
            client.send(&ack(PUBREL, id)).await;
            client.expect_ack(PUBCOMP, id).await;
        }
        assert!(client.is_quiet().await, "{round}");
    }
    for id in 1..=4 {
        client.send(&publish(id)).await;
    }
    client.expect_end(0x93).await;
}

#[tokio::test]
async fn a_message_too_large_for_a_client_is_as_good_as_delivered() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    let limited = Connect::new(5, "c").with(P::MaximumPacketSize(60)).with(P::ReceiveMaximum(1));
    let mut client = limited.client(&brooklet).await;
    let mut other = brooklet.connect("other").await;
    client.subscribe("size", 2).await;
    other.subscribe("size", 0).await;
    // Fixed header 2, topic 2 + 4, packet identifier 2, property length 1.
    for (qos, overhead) in [(0, 9), (1, 11), (2, 11)] {
        for (excess, fits) in [(0, true), (1, false), (1000, false)] {
            let payload = "x".repeat(60 - overhead + excess);
            publisher.publish_at(qos, "size", &payload).await;
            assert_eq!(other.delivery().await.text(), payload);
            if fits {
                let message = client.delivery().await;
                assert_eq!(message.text(), payload);
                client.complete(&message).await;
            }
            assert!(client.is_quiet().await, "{qos} {excess}");
        }
        publisher.publish_at(qos, "size", "next").await;
        let message = client.delivery().await;
        assert_eq!(message.text(), "next", "a place in the window is free");
        client.complete(&message).await;
        other.delivery().await;
    }
    let kept = "y".repeat(100);
    publisher.retain("kept", &kept).await;
    client.subscribe("kept", 1).await;
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn a_redelivery_too_large_for_the_new_connection_is_dropped() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    let mut client = Connect::lasting(5, "c").client(&brooklet).await;
    client.subscribe("size", 1).await;
    publisher.publish("size", "x".repeat(200)).await;
    client.delivery().await;
    client.leave().await;
    let small = Connect::lasting(5, "c").with(P::MaximumPacketSize(100));
    let mut client = small.client(&brooklet).await;
    assert!(client.is_quiet().await);
    client.leave().await;
    let mut client = Connect::lasting(5, "c").client(&brooklet).await;
    assert!(client.is_quiet().await, "as if delivered");
}

#[tokio::test]
async fn no_answer_is_larger_than_the_client_takes() {
    let brooklet = Brooklet::start().await;
    for subscribes in [true, false] {
        let limited = Connect::new(5, "c").with(P::MaximumPacketSize(40));
        let mut client = limited.client(&brooklet).await;
        let mut body = vec![0, 1, 0];
        for n in 0..60 {
            body.extend(text(&format!("a/{n}")));
            body.extend(subscribes.then_some(0));
        }
        client.send(&packet(if subscribes { 0x82 } else { 0xA2 }, &body)).await;
        client.send(&[0xC0, 0]).await;
        while let Some(packet) = client.packet().await {
            assert!(packet.body.len() + 2 <= 40, "{packet:x?}");
            if packet.first == 0xD0 {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_packet_larger_than_the_server_takes_ends_the_connection() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_PACKET_SIZE", "1KiB")]).await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.subscribe("a", 0).await;
        let overhead = client.publish_packet(0x30, "a", 0, &[0; 900]).len() - 900;
        let payload = vec![b'x'; 1024 - overhead];
        client.publish_qos0("a", &payload).await;
        assert_eq!(client.delivery().await.payload, payload, "as large as it may be");
        let too_large = client.publish_packet(0x30, "a", 0, &[payload, vec![0]].concat());
        assert_eq!(too_large.len(), 1025);
        // Known from the header alone.
        client.send(&too_large[..3]).await;
        client.expect_end(0x95).await;
    }
}
