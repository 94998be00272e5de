//! Sessions (MQTT 5.0 §3.1.2.11.2, §4.1, §4.4; 3.1.1 §3.1.2.4, §4.1, §4.4): how long they live, what
//! they hold, what is sent again.

use std::time::Duration;

use super::{
    packets::{BOTH, Connect, DUP, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, will},
    property::{Property as P, list},
};
use crate::{harness::Brooklet, wire::packet};

/// A DISCONNECT with this session expiry interval.
fn disconnect_with_expiry(seconds: u32) -> Vec<u8> {
    packet(0xE0, &[&[0][..], &list(&[P::SessionExpiryInterval(seconds)])].concat())
}

#[tokio::test]
async fn clean_start_discards_the_session() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    for level in BOTH {
        let topic = format!("discarded/{level}");
        let mut client = Connect::lasting(level, "c").client(&brooklet).await;
        client.subscribe(&topic, 1).await;
        publisher.publish(&topic, "in flight").await;
        client.delivery().await;
        publisher.publish_qos2(&topic, "queued").await;
        drop(client);
        let (mut anew, connack) = Connect::new(level, "c").open(&brooklet).await;
        assert!(!connack.session_present);
        publisher.publish(&topic, "unsubscribed").await;
        assert!(anew.is_quiet().await);
        anew.leave().await;
        let (mut later, connack) = Connect::lasting(level, "c").open(&brooklet).await;
        assert!(!connack.session_present, "state of a clean session is not reused");
        publisher.publish(&topic, "still unsubscribed").await;
        assert!(later.is_quiet().await);
        Connect::new(level, "c").client(&brooklet).await;
    }
}

#[tokio::test]
async fn a_session_is_resumed_with_all_that_it_holds() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    for level in BOTH {
        let topic = format!("held/{level}");
        let (mut client, connack) = Connect::lasting(level, "c").open(&brooklet).await;
        assert!(!connack.session_present, "a new session where there is none");
        client.subscribe(&topic, 2).await;
        let unreleased = client.publish_packet(0x34, "elsewhere", 77, b"once");
        client.send(&unreleased).await;
        client.expect_ack(PUBREC, 77).await;
        client.leave().await;
        publisher.publish(&topic, "one").await;
        publisher.publish_qos2(&topic, "two").await;
        let mut watcher = brooklet.connect("watcher").await;
        watcher.subscribe("elsewhere", 0).await;
        let (mut client, connack) = Connect::lasting(level, "c").open(&brooklet).await;
        assert!(connack.session_present);
        for (qos, payload) in [(1, "one"), (2, "two")] {
            let message = client.delivery().await;
            assert_eq!((message.qos, message.text()), (qos, payload));
            assert!(!message.dup, "sent for the first time");
            client.complete(&message).await;
        }
        let mut again = unreleased.clone();
        again[0] |= DUP;
        client.send(&again).await;
        client.expect_ack(PUBREC, 77).await;
        client.send(&ack(PUBREL, 77)).await;
        client.expect_ack(PUBCOMP, 77).await;
        assert!(watcher.is_quiet().await, "the message had been taken before");
        Connect::new(level, "c").client(&brooklet).await;
    }
}

#[tokio::test]
async fn a_session_may_change_its_version() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    for (from, to) in [(4, 5), (5, 4)] {
        let topic = format!("moves/{from}");
        let id = format!("mover{from}");
        let mut client = Connect::lasting(from, &id).client(&brooklet).await;
        client.subscribe(&topic, 1).await;
        publisher.publish(&topic, "unacknowledged").await;
        let sent = client.delivery().await;
        drop(client);
        let (mut client, connack) = Connect::lasting(to, &id).open(&brooklet).await;
        assert!(connack.session_present);
        let again = client.delivery().await;
        assert_eq!((again.dup, again.id, again.text()), (true, sent.id, "unacknowledged"));
        client.complete(&again).await;
        publisher.publish(&topic, "subscribed").await;
        assert_eq!(client.delivery().await.text(), "subscribed");
    }
}

#[tokio::test]
async fn a_session_without_expiry_ends_with_its_connection() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    let resumes = |level| Connect { clean_start: false, ..Connect::new(level, "c") };
    for connect in [Connect::new(4, "c"), resumes(5).with(P::SessionExpiryInterval(0)), resumes(5)]
    {
        let mut client = connect.client(&brooklet).await;
        client.subscribe("a", 1).await;
        client.leave().await;
        publisher.publish("a", "to nobody").await;
        let (mut client, connack) = resumes(connect.level).open(&brooklet).await;
        assert!(!connack.session_present, "{connect:?}");
        assert!(client.is_quiet().await);
        client.leave().await;
        Connect::new(connect.level, "c").client(&brooklet).await;
    }
}

#[tokio::test]
async fn an_expired_session_is_discarded() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("wills/#", 0).await;
    let mut delayed = will("wills/expired");
    delayed.properties = vec![P::WillDelayInterval(60)];
    let resumes = Connect { clean_start: false, ..Connect::new(5, "c") };
    let connect = resumes.clone().with(P::SessionExpiryInterval(1)).will(delayed);
    let mut client = connect.client(&brooklet).await;
    client.subscribe("a", 1).await;
    drop(client);
    // A delayed will is published when its session ends.
    assert_eq!(watcher.delivery().await.topic, "wills/expired");
    let (mut client, connack) = resumes.open(&brooklet).await;
    assert!(!connack.session_present);
    watcher.publish("a", "unsubscribed").await;
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn a_session_does_not_expire_while_connected() {
    let brooklet = Brooklet::start().await;
    let connect = Connect { clean_start: false, ..Connect::new(5, "c") };
    let mut client = connect.with(P::SessionExpiryInterval(1)).client(&brooklet).await;
    client.subscribe("a", 1).await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("a", "early").await;
    let early = client.delivery().await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    client.complete(&early).await;
    publisher.publish("a", "late").await;
    assert_eq!(client.delivery().await.text(), "late");
}

#[tokio::test]
async fn disconnect_may_change_the_session_expiry() {
    let brooklet = Brooklet::start().await;
    let lasting = || Connect::lasting(5, "c");
    let mut client = lasting().client(&brooklet).await;
    client.send(&disconnect_with_expiry(0)).await;
    assert!(client.packet().await.is_none());
    let (mut client, connack) = lasting().open(&brooklet).await;
    assert!(!connack.session_present, "ended by the DISCONNECT");
    client.send(&disconnect_with_expiry(120)).await;
    assert!(client.packet().await.is_none());
    assert!(lasting().open(&brooklet).await.1.session_present);
}

#[tokio::test]
async fn disconnect_cannot_revive_a_session_without_expiry() {
    let brooklet = Brooklet::start().await;
    let resumes = || Connect { clean_start: false, ..Connect::new(5, "c") };
    for connect in [resumes(), resumes().with(P::SessionExpiryInterval(0))] {
        let mut client = connect.client(&brooklet).await;
        client.send(&disconnect_with_expiry(60)).await;
        client.expect_end(0x82).await;
        assert!(!resumes().open(&brooklet).await.1.session_present);
    }
    let mut client = resumes().client(&brooklet).await;
    client.send(&disconnect_with_expiry(0)).await;
    assert_eq!(client.goodbye().await, None, "0 after 0 changes nothing");
}

#[tokio::test]
async fn retained_messages_outlive_the_session_that_set_them() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let topic = format!("outlives/{level}");
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.retain(&topic, "kept").await;
        client.leave().await;
        let mut later = Connect::new(level, "c").client(&brooklet).await;
        later.subscribe(&topic, 0).await;
        assert_eq!(later.delivery().await.text(), "kept");
    }
}

#[tokio::test]
async fn what_is_unacknowledged_is_sent_again_in_order_and_only_after_a_reconnect() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    for level in BOTH {
        let topic = format!("again/{level}");
        let mut client = Connect::lasting(level, "c").client(&brooklet).await;
        client.subscribe(&topic, 2).await;
        for (n, qos) in [1, 2, 1, 2, 2, 1].into_iter().enumerate() {
            publisher.publish_at(qos, &topic, &n.to_string()).await;
        }
        let mut sent = Vec::new();
        for _ in 0..6 {
            sent.push(client.delivery().await);
        }
        client.send(&ack(PUBACK, sent[2].id)).await;
        client.send(&ack(PUBREC, sent[3].id)).await;
        client.expect_ack(PUBREL, sent[3].id).await;
        assert!(client.is_quiet().await, "nothing is sent again meanwhile");
        drop(client);
        let mut client = Connect::lasting(level, "c").client(&brooklet).await;
        for n in [0, 1, 3, 4, 5] {
            if n == 3 {
                client.expect_ack(PUBREL, sent[3].id).await;
                continue;
            }
            let again = client.delivery().await;
            assert!(again.dup);
            assert_eq!(
                (again.id, again.qos, again.text()),
                (sent[n].id, sent[n].qos, sent[n].text())
            );
        }
        client.send(&ack(PUBCOMP, sent[3].id)).await;
        for n in [5, 4, 1, 0] {
            client.complete(&sent[n]).await;
        }
        assert!(client.is_quiet().await);
        client.leave().await;
        let mut client = Connect::lasting(level, "c").client(&brooklet).await;
        assert!(client.is_quiet().await, "all is acknowledged");
        Connect::new(level, "c").client(&brooklet).await;
    }
}
