//! Will messages (MQTT 5.0 §3.1.2.5–7, §3.1.3.2; 3.1.1 §3.1.2.5–7): when they are published, how,
//! and when they are not.

use std::time::{Duration, Instant};

use super::{
    packets::{BOTH, Connect, Will, will},
    property::{Property as P, list, user},
};
use crate::{
    harness::Brooklet,
    wire::{Client, packet},
};

async fn watcher(brooklet: &Brooklet) -> Client {
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("wills/#", 2).await;
    watcher
}

fn delayed(topic: &str, seconds: u32) -> Will {
    Will { properties: vec![P::WillDelayInterval(seconds)], ..will(topic) }
}

#[tokio::test]
async fn a_will_is_published_when_the_connection_ends_without_a_word() {
    let brooklet = Brooklet::start().await;
    let mut watcher = watcher(&brooklet).await;
    for level in BOTH {
        let open =
            async |topic: &str| Connect::new(level, "c").will(will(topic)).client(&brooklet).await;
        let client = open("wills/lost").await;
        assert!(watcher.is_quiet().await, "not before the end");
        drop(client);
        assert_eq!(watcher.delivery().await.topic, "wills/lost");

        let mut client = open("wills/protocol error").await;
        client.send(&packet(0x36, &[0, 1, b'a', 0, 1])).await;
        client.expect_end(0x81).await;
        assert_eq!(watcher.delivery().await.topic, "wills/protocol error");

        let mut first = open("wills/taken over").await;
        let second = Connect::new(level, "c").client(&brooklet).await;
        first.expect_end(0x8E).await;
        assert_eq!(watcher.delivery().await.topic, "wills/taken over");
        drop(second);
        assert!(watcher.is_quiet().await, "no will flag, no will; and none a second time");
    }
}

#[tokio::test]
async fn a_normal_disconnect_discards_the_will_and_another_does_not() {
    let brooklet = Brooklet::start().await;
    let mut watcher = watcher(&brooklet).await;
    for level in BOTH {
        Connect::new(level, "c").will(will("wills/a")).client(&brooklet).await.leave().await;
        assert!(watcher.is_quiet().await);
    }
    for reason in [0x00, 0x04, 0x80, 0x97] {
        let topic = format!("wills/{reason:x}");
        let mut client = Connect::new(5, "c").will(will(&topic)).client(&brooklet).await;
        client.send(&packet(0xE0, &[reason])).await;
        assert!(client.packet().await.is_none());
        if reason != 0 {
            assert_eq!(watcher.delivery().await.topic, topic);
        }
        assert!(watcher.is_quiet().await);
    }
}

#[tokio::test]
async fn a_will_has_its_own_qos_and_retain() {
    let brooklet = Brooklet::start().await;
    let mut watcher = watcher(&brooklet).await;
    for level in BOTH {
        for qos in 0..=2 {
            for retain in [false, true] {
                let topic = format!("wills/{level}/{qos}/{retain}");
                let will = Will { qos, retain, ..will(&topic) };
                drop(Connect::new(level, "c").will(will).client(&brooklet).await);
                let live = watcher.delivery().await;
                assert_eq!((live.qos, live.retain, live.text()), (qos, false, "gone"));
                watcher.complete(&live).await;
                let mut late = Connect::new(level, "late").client(&brooklet).await;
                late.subscribe(&topic, 2).await;
                if retain {
                    let kept = late.delivery().await;
                    assert_eq!((kept.qos, kept.retain, kept.text()), (qos, true, "gone"));
                } else {
                    assert!(late.is_quiet().await);
                }
            }
        }
    }
}

#[tokio::test]
async fn an_empty_retained_will_clears_its_topic() {
    let brooklet = Brooklet::start().await;
    let mut watcher = watcher(&brooklet).await;
    watcher.retain("wills/status", "online").await;
    let live = watcher.delivery().await;
    watcher.complete(&live).await;
    let clears = Will { retain: true, payload: vec![], ..will("wills/status") };
    drop(Connect::new(4, "c").will(clears).client(&brooklet).await);
    assert!(watcher.delivery().await.payload.is_empty());
    let mut late = brooklet.connect("late").await;
    late.subscribe("wills/status", 0).await;
    assert!(late.is_quiet().await);
}

#[tokio::test]
async fn a_will_keeps_its_properties_in_order() {
    let brooklet = Brooklet::start().await;
    let mut watcher = watcher(&brooklet).await;
    let mut old = brooklet.connect_v4("old").await;
    old.subscribe("wills/#", 0).await;
    let forwarded = vec![
        P::PayloadFormatIndicator(1),
        user("b", "1"),
        P::ContentType("text/plain".to_owned()),
        user("a", "2"),
        P::ResponseTopic("answers".to_owned()),
        P::CorrelationData(vec![0, 0xFF]),
        user("b", "0"),
    ];
    let mut properties = forwarded.clone();
    properties.insert(3, P::MessageExpiryInterval(60));
    properties.insert(1, P::WillDelayInterval(0));
    let will = Will { properties, ..will("wills/rich") };
    drop(Connect::new(5, "c").will(will).client(&brooklet).await);
    let mut message = watcher.delivery().await;
    let is_expiry = |p: &P| matches!(p, P::MessageExpiryInterval(59 | 60));
    assert!(message.properties.iter().any(is_expiry), "{message:?}");
    message.properties.retain(|p| !is_expiry(p));
    let users = |list: &[P]| -> Vec<P> {
        list.iter().filter(|p| matches!(p, P::UserProperty(..))).cloned().collect()
    };
    assert_eq!(users(&message.properties), users(&forwarded));
    for property in &forwarded {
        assert!(message.properties.contains(property), "{property:?}");
    }
    assert_eq!(message.properties.len(), forwarded.len());
    assert_eq!(old.delivery().await.text(), "gone", "and 3.1.1 gets the message alone");
}

#[tokio::test]
async fn a_delayed_will_waits_its_time() {
    let brooklet = Brooklet::start().await;
    let mut watcher = watcher(&brooklet).await;
    for goodbye in [None, Some(4)] {
        let connect = Connect::lasting(5, "c").will(delayed("wills/late", 1));
        let mut client = connect.client(&brooklet).await;
        let since = Instant::now();
        if let Some(reason) = goodbye {
            client.send(&packet(0xE0, &[reason])).await;
        }
        drop(client);
        assert_eq!(watcher.delivery().await.topic, "wills/late");
        assert!(since.elapsed() >= Duration::from_millis(990), "{:?}", since.elapsed());
    }
    assert!(watcher.is_quiet().await);
}

#[tokio::test]
async fn a_new_connection_in_time_withdraws_a_delayed_will() {
    let brooklet = Brooklet::start().await;
    let mut watcher = watcher(&brooklet).await;
    let connect = || Connect::lasting(5, "c");
    drop(connect().will(delayed("wills/withdrawn", 1)).client(&brooklet).await);
    // This one ends without a will of its own; the witness's will is due after the withdrawn one.
    drop(connect().client(&brooklet).await);
    let mut first = connect().will(delayed("wills/taken over", 1)).client(&brooklet).await;
    let _second = connect().client(&brooklet).await;
    first.expect_end(0x8E).await;
    drop(Connect::lasting(5, "witness").will(delayed("wills/witness", 2)).client(&brooklet).await);
    assert_eq!(watcher.delivery().await.topic, "wills/witness");
}

#[tokio::test]
async fn a_delayed_will_is_published_when_its_session_ends_before() {
    let brooklet = Brooklet::start().await;
    let mut watcher = watcher(&brooklet).await;
    let connect = |topic: &str| Connect::lasting(5, "c").will(delayed(topic, 600));
    drop(connect("wills/clean start").client(&brooklet).await);
    let anew = Connect::new(5, "c").client(&brooklet).await;
    assert_eq!(watcher.delivery().await.topic, "wills/clean start");
    drop(anew);

    let mut client = connect("wills/ended by disconnect").client(&brooklet).await;
    let expires = list(&[P::SessionExpiryInterval(0)]);
    client.send(&packet(0xE0, &[&[4][..], &expires].concat())).await;
    assert_eq!(watcher.delivery().await.topic, "wills/ended by disconnect");

    let no_expiry = Connect::new(5, "c").will(delayed("wills/no expiry", 600));
    drop(no_expiry.client(&brooklet).await);
    assert_eq!(watcher.delivery().await.topic, "wills/no expiry");
}

#[tokio::test]
async fn a_will_belongs_to_one_connection() {
    let brooklet = Brooklet::start().await;
    let mut watcher = watcher(&brooklet).await;
    for level in BOTH {
        drop(Connect::lasting(level, "c").will(will("wills/first")).client(&brooklet).await);
        assert_eq!(watcher.delivery().await.topic, "wills/first");
        let client = Connect::lasting(level, "c").client(&brooklet).await;
        drop(client);
        let other = Connect::lasting(level, "c").will(will("wills/other"));
        drop(other.client(&brooklet).await);
        assert_eq!(watcher.delivery().await.topic, "wills/other");
        Connect::new(level, "c").client(&brooklet).await;
        assert!(watcher.is_quiet().await);
    }
}
