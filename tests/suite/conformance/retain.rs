//! Retained messages (MQTT 5.0 §3.3.1.3, §3.8.3.1; 3.1.1 §3.3.1.3): what is kept, who gets it and
//! with which RETAIN flag.

use super::packets::{BOTH, Connect, Message, PUBACK, ack};
use crate::{harness::Brooklet, wire::Client};

const RETAIN_AS_PUBLISHED: u8 = 0b1000;
const SEND_IF_NEW: u8 = 0b1_0000;
const DO_NOT_SEND: u8 = 0b10_0000;

/// What a new subscriber of each version gets, with the RETAIN flag it has.
async fn kept(brooklet: &Brooklet, filter: &str) -> Vec<Message> {
    let mut found = Vec::new();
    for level in BOTH {
        let mut late = Connect::new(level, "late").client(brooklet).await;
        late.subscribe(filter, 2).await;
        let mut messages = late.deliveries().await;
        assert!(messages.iter().all(|message| message.retain && !message.dup));
        messages.sort_by(|a, b| a.topic.cmp(&b.topic));
        if level == 5 {
            assert_eq!(messages, found, "the same in both versions");
        }
        found = messages;
    }
    found
}

async fn set(client: &mut Client, first: u8, topic: &str, payload: &str) {
    let id = client.next_id();
    let bytes = client.publish_packet(first, topic, id, payload.as_bytes());
    client.send(&bytes).await;
    if first & 0b110 != 0 {
        client.answer().await;
    }
}

#[tokio::test]
async fn the_last_message_is_kept_with_its_qos() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        for (first, qos) in [(0x31, 0), (0x33, 1), (0x35, 2), (0x31, 0)] {
            let payload = format!("{level}/{first:x}");
            set(&mut client, first, "kept", &payload).await;
            assert!(client.is_quiet().await);
            let messages = kept(&brooklet, "kept").await;
            assert_eq!(messages.len(), 1, "it replaces the one before");
            assert_eq!((messages[0].qos, messages[0].text()), (qos, payload.as_str()));
        }
    }
}

#[tokio::test]
async fn a_message_without_retain_leaves_the_kept_one_alone() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        set(&mut client, 0x32, "alone/none", "not kept").await;
        set(&mut client, 0x33, "alone/kept", "kept").await;
        set(&mut client, 0x32, "alone/kept", "not kept").await;
        set(&mut client, 0x32, "alone/kept", "").await;
        let messages = kept(&brooklet, "alone/#").await;
        assert_eq!(messages.len(), 1);
        assert_eq!((messages[0].topic.as_str(), messages[0].text()), ("alone/kept", "kept"));
    }
}

#[tokio::test]
async fn an_empty_payload_removes_the_kept_message_and_is_delivered() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        set(&mut client, 0x33, "removed", "kept").await;
        set(&mut client, 0x33, "removed/not", "kept").await;
        let mut watcher = Connect::new(level, "watcher").client(&brooklet).await;
        watcher.subscribe("removed", 0).await;
        assert!(watcher.delivery().await.retain);
        for _ in 0..2 {
            set(&mut client, 0x33, "removed", "").await;
            let message = watcher.delivery().await;
            assert!(message.payload.is_empty() && !message.retain, "as any message");
        }
        let messages = kept(&brooklet, "removed/#").await;
        assert_eq!(messages.len(), 1, "an empty message is not kept");
        assert_eq!(messages[0].topic, "removed/not");
    }
}

#[tokio::test]
async fn retain_handling_says_when_kept_messages_are_sent() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.retain("handling/a", "kept").await;
    publisher.retain("handling/b", "kept").await;
    let mut client = brooklet.connect("c").await;
    for (options, expected) in
        [(DO_NOT_SEND, 0), (SEND_IF_NEW, 0), (0, 2), (0, 2), (SEND_IF_NEW, 0), (DO_NOT_SEND, 0)]
    {
        client.subscribe("handling/+", options).await;
        for _ in 0..expected {
            assert!(client.delivery().await.retain);
        }
        assert!(client.is_quiet().await, "{options:b}");
    }
    client.unsubscribe_all(&["handling/+"]).await;
    client.subscribe("handling/+", SEND_IF_NEW).await;
    for _ in 0..2 {
        assert!(client.delivery().await.retain, "new again");
    }
    assert!(client.is_quiet().await);
    let mut old = brooklet.connect_v4("old").await;
    for _ in 0..2 {
        old.subscribe("handling/#", 0).await;
        for _ in 0..2 {
            assert!(old.delivery().await.retain, "3.1.1 is sent them each time");
        }
    }
}

#[tokio::test]
async fn retain_as_published_keeps_the_flag_of_live_messages() {
    let brooklet = Brooklet::start().await;
    let mut as_published = brooklet.connect("as published").await;
    as_published.subscribe("live/#", RETAIN_AS_PUBLISHED).await;
    let mut plain = brooklet.connect("plain").await;
    plain.subscribe("live/#", 0).await;
    let mut old = brooklet.connect_v4("old").await;
    old.subscribe("live/#", 0).await;
    for level in BOTH {
        let mut publisher = Connect::new(level, "publisher").client(&brooklet).await;
        for (first, retain) in [(0x31, true), (0x30, false), (0x33, true), (0x32, false)] {
            set(&mut publisher, first, "live/a", "x").await;
            assert_eq!(as_published.delivery().await.retain, retain);
            assert!(!plain.delivery().await.retain);
            assert!(!old.delivery().await.retain);
        }
    }
}

#[tokio::test]
async fn kept_messages_come_at_the_lower_qos_of_each_filter_that_matches() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    set(&mut publisher, 0x35, "each/a", "2").await;
    set(&mut publisher, 0x33, "each/b", "1").await;
    publisher.send(&[0x62, 2, 0, 1]).await;
    publisher.answer().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        let suback = client.subscribe_all(&[], &[("each/a", 1), ("each/b", 0), ("no", 2)]).await;
        assert_eq!(suback.codes, [1, 0, 2]);
        let (a, b) = (client.delivery().await, client.delivery().await);
        assert_eq!((a.topic.as_str(), a.qos, a.retain), ("each/a", 1, true));
        assert_eq!((b.topic.as_str(), b.qos, b.retain), ("each/b", 0, true));
        client.send(&ack(PUBACK, a.id)).await;
        assert!(client.is_quiet().await);
    }
}
