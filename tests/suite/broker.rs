//! The broker: versions on one port, acknowledgements, sessions, retained messages, wills, limits.

use std::time::Duration;

use crate::{
    harness::Brooklet,
    wire::{Client, Packet, binary, connect, packet, text},
};

#[tokio::test]
async fn delivery_is_at_the_lower_of_both_qos_in_both_versions() {
    let brooklet = Brooklet::start().await;
    for (granted, expected) in [(0, [0, 0, 0]), (1, [0, 1, 1]), (2, [0, 1, 2])] {
        let mut old = brooklet.connect_v4(&format!("old{granted}")).await;
        let mut five = brooklet.connect(&format!("five{granted}")).await;
        assert_eq!(old.subscribe("温度/+", granted).await, granted);
        assert_eq!(five.subscribe("温度/#", granted).await, granted);
        let mut publisher = brooklet.connect("publisher").await;
        publisher.publish_qos0("温度/1", "0").await;
        publisher.publish("温度/1", "1").await;
        publisher.publish_qos2("温度/1", "2").await;
        for client in [&mut old, &mut five] {
            for (sent, qos) in expected.iter().enumerate() {
                let (first, topic, id, payload) = client.message().await;
                assert_eq!((first >> 1 & 3, topic.as_str()), (*qos, "温度/1"));
                assert_eq!(payload, sent.to_string().as_bytes());
                match qos {
                    1 => client.send(&packet(0x40, &id.to_be_bytes())).await,
                    2 => {
                        client.send(&packet(0x50, &id.to_be_bytes())).await;
                        assert_eq!(client.ack().await.first, 0x62);
                        client.send(&packet(0x70, &id.to_be_bytes())).await;
                    }
                    _ => {}
                }
            }
            assert!(client.is_quiet().await);
        }
    }
}

#[tokio::test]
async fn qos_2_is_routed_once_however_often_it_is_sent() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("a", 0).await;
    let mut client = brooklet.connect("client").await;
    let publish = client.publish_packet(0x34, "a", 7, b"once");
    client.send(&publish).await;
    assert_eq!(client.ack().await.first, 0x50);
    let mut again = publish.clone();
    again[0] |= 8;
    client.send(&again).await;
    assert_eq!(client.ack().await.first, 0x50);
    client.send(&packet(0x62, &7u16.to_be_bytes())).await;
    assert_eq!(client.ack().await.first, 0x70);
    client.send(&packet(0x62, &7u16.to_be_bytes())).await;
    assert_eq!(client.ack().await.reason, 0x92);
    assert_eq!(watcher.message().await.3, b"once");
    assert!(watcher.is_quiet().await);
}

#[tokio::test]
async fn unsubscribing_ends_delivery_and_dollar_topics_stand_apart() {
    let brooklet = Brooklet::start().await;
    let mut client = brooklet.connect("client").await;
    client.subscribe("#", 0).await;
    client.publish_qos0("x", "1").await;
    assert_eq!(client.message().await.3, b"1");
    let mut body = 9u16.to_be_bytes().to_vec();
    body.push(0);
    body.extend(text("#"));
    body.extend(text("never"));
    client.send(&packet(0xA2, &body)).await;
    assert_eq!(
        client.packet().await.unwrap(),
        Packet { first: 0xB0, body: vec![0, 9, 0, 0, 0x11] }
    );
    client.publish_qos0("x", "2").await;
    assert!(client.is_quiet().await);
    for illegal in ["a/#/b", "a+", "$share//x", ""] {
        assert_eq!(client.subscribe(illegal, 0).await, 0x8F, "{illegal}");
    }
}

#[tokio::test]
async fn a_connect_that_is_refused_is_told_so() {
    let brooklet = Brooklet::with(&[("MQTT__CONNECT_TIMEOUT", "200ms")]).await;
    let mut old_level = connect(4, 2, 60, &[], "x");
    old_level[8] = 3;
    let auth = [&[21][..], &text("SCRAM")].concat();
    for (bytes, answer) in [
        (old_level, Some(vec![0x20, 2, 0, 1])),
        (connect(4, 0, 60, &[], ""), Some(vec![0x20, 2, 0, 2])),
        (connect(4, 3, 60, &[], "reserved"), None),
        (packet(0xC0, &[]), None),
    ] {
        let mut client = Client::raw(brooklet.mqtt).await;
        client.send(&bytes).await;
        let got = client.packet().await.map(|p| packet(p.first, &p.body));
        assert_eq!(got, answer, "{bytes:x?}");
        assert!(client.packet().await.is_none());
    }
    for (bytes, reason) in [
        (connect(5, 2, 60, &auth, "auth"), 0x8C),
        (connect(5, 3, 60, &[], "reserved"), 0x81),
        (connect(5, 2, 60, &[33, 0, 1, 33, 0, 1], "twice"), 0x82),
        (connect(6, 2, 60, &[], "six"), 0x84),
    ] {
        let mut client = Client::raw(brooklet.mqtt).await;
        client.send(&bytes).await;
        assert_eq!(client.packet().await.unwrap().body[1], reason);
    }
    let mut silent = Client::raw(brooklet.mqtt).await;
    assert!(silent.packet().await.is_none());
}

#[tokio::test]
async fn over_the_connection_limit_a_client_is_told_and_others_stay() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_CONNECTIONS", "2")]).await;
    let mut one = brooklet.connect("1").await;
    let _two = brooklet.connect("2").await;
    for (bytes, code) in [(connect(5, 2, 0, &[], "3"), 0x97), (connect(4, 2, 0, &[], "3"), 3)] {
        let mut third = Client::raw(brooklet.mqtt).await;
        third.send(&bytes).await;
        assert_eq!(third.packet().await.unwrap().body[1], code);
    }
    assert!(one.is_quiet().await);
}

#[tokio::test]
async fn an_assigned_client_id_and_the_servers_limits_are_told() {
    let brooklet = Brooklet::start().await;
    let (_client, connack) = Client::open(brooklet.mqtt, connect(5, 2, 0, &[], ""), true).await;
    let told = &connack.body[3..];
    assert!(told.contains(&18), "assigned client identifier: {told:x?}");
    assert!(told.windows(3).any(|w| w == [33, 1, 0]), "receive maximum 256: {told:x?}");
}

#[tokio::test]
async fn a_taken_over_connection_is_told_and_its_session_goes_on() {
    let brooklet = Brooklet::start().await;
    let keeps = || connect(5, 0, 60, &[17, 0, 0, 1, 0], "same");
    let (mut first, connack) = Client::open(brooklet.mqtt, keeps(), true).await;
    assert_eq!(connack.body[0], 0);
    first.subscribe("a", 1).await;
    let (mut second, connack) = Client::open(brooklet.mqtt, keeps(), true).await;
    assert_eq!(connack.body[0], 1, "session present");
    assert_eq!(first.goodbye().await, Some(0x8E));
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("a", "still subscribed").await;
    assert_eq!(second.message().await.3, b"still subscribed");
}

#[tokio::test]
async fn an_absent_clients_messages_wait_and_unacknowledged_ones_come_again() {
    let brooklet = Brooklet::start().await;
    let keeps = || connect(4, 0, 60, &[], "keeper");
    let (mut keeper, _) = Client::open(brooklet.mqtt, keeps(), false).await;
    keeper.subscribe("a", 1).await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("a", "unacknowledged").await;
    let (_, _, id, _) = keeper.message().await;
    drop(keeper);
    publisher.publish("a", "while away").await;
    publisher.publish_qos0("a", "not owed").await;
    let (mut keeper, connack) = Client::open(brooklet.mqtt, keeps(), false).await;
    assert_eq!(connack.body[0], 1);
    let (first, _, again, payload) = keeper.message().await;
    assert_eq!((first & 8, again, payload.as_slice()), (8, id, &b"unacknowledged"[..]));
    assert_eq!(keeper.message().await.3, b"while away");
    let (mut anew, connack) =
        Client::open(brooklet.mqtt, connect(4, 2, 60, &[], "keeper"), false).await;
    assert_eq!(connack.body[0], 0);
    publisher.publish("a", "forgotten").await;
    assert!(anew.is_quiet().await);
}

#[tokio::test]
async fn retained_messages_reach_late_subscribers_and_go_when_emptied() {
    let brooklet = Brooklet::start().await;
    let mut client = brooklet.connect("client").await;
    for n in 0..500 {
        let retained = client.publish_packet(0x31, &format!("ret/{n}"), 0, b"kept");
        client.send(&retained).await;
    }
    client.subscribe("ret/#", 0).await;
    for _ in 0..500 {
        let (first, _, _, payload) = client.message().await;
        assert_eq!((first & 1, payload.as_slice()), (1, &b"kept"[..]));
    }
    let emptied = client.publish_packet(0x31, "ret/7", 0, b"");
    client.send(&emptied).await;
    let (first, ..) = client.message().await;
    assert_eq!(first & 1, 0, "an established subscription sees it as any message");
    client.subscribe("ret/7", 0).await;
    assert!(client.is_quiet().await);
}

fn with_will(client_id: &str, keep_alive: u16, topic: &str) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([5, 2 | 4]);
    body.extend(keep_alive.to_be_bytes());
    body.push(0);
    body.extend(text(client_id));
    body.push(0);
    body.extend(text(topic));
    body.extend(binary(b"gone"));
    packet(0x10, &body)
}

#[tokio::test]
async fn a_will_is_published_unless_the_client_says_goodbye() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("wills/#", 0).await;
    let (client, _) = Client::open(brooklet.mqtt, with_will("drops", 0, "wills/a"), true).await;
    drop(client);
    assert_eq!(watcher.message().await.1, "wills/a");
    let (mut client, _) =
        Client::open(brooklet.mqtt, with_will("silent", 1, "wills/b"), true).await;
    assert_eq!(client.goodbye().await, Some(0x8D));
    assert_eq!(watcher.message().await.1, "wills/b");
    let (mut client, _) = Client::open(brooklet.mqtt, with_will("asks", 0, "wills/c"), true).await;
    client.send(&[0xE0, 1, 4]).await;
    assert_eq!(watcher.message().await.1, "wills/c");
    let (mut client, _) =
        Client::open(brooklet.mqtt, with_will("polite", 0, "wills/d"), true).await;
    client.send(&[0xE0, 0]).await;
    assert!(client.packet().await.is_none());
    assert!(watcher.is_quiet().await);
    // A will on an ingest topic is stored like any message.
    let will = with_will("device", 0, "devices/w/status");
    drop(Client::open(brooklet.mqtt, will, true).await);
    let device =
        brooklet.eventually("/api/devices?q=w", |page| page["items"][0]["status"] == "gone").await;
    assert_eq!(device["items"][0]["device"], "w");
}

#[tokio::test]
async fn a_slow_subscriber_loses_messages_that_are_counted_and_delays_nobody() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_QUEUED_MESSAGES", "50")]).await;
    let mut slow = brooklet.connect("slow").await;
    slow.subscribe("flood", 0).await;
    let mut owed = brooklet.connect("owed").await;
    owed.subscribe("owed", 1).await;
    let mut publisher = brooklet.connect("publisher").await;
    let payload = vec![b'x'; 100_000];
    for _ in 0..200 {
        publisher.publish("flood", &payload).await;
    }
    // More than the window and the queue hold, none acknowledged.
    for _ in 0..400 {
        publisher.publish("owed", "y").await;
    }
    let metrics = brooklet.request(reqwest::Method::GET, "/metrics", None).await.text;
    let oldest = r#"brooklet_mqtt_messages_dropped_total{reason="oldest"} 94"#;
    assert!(metrics.lines().any(|line| line == oldest), "{metrics}");
    for _ in 0..306 {
        let (_, _, id, _) = owed.message().await;
        owed.send(&packet(0x40, &id.to_be_bytes())).await;
    }
    assert!(owed.is_quiet().await);
    for reason in ["queue_full", "oldest"] {
        let line = metrics
            .lines()
            .find(|l| l.starts_with("brooklet_mqtt_messages_dropped_total") && l.contains(reason));
        let count: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(count > 0.0, "{line:?}");
    }
    slow.message().await;
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection_with_its_reason() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_PACKET_SIZE", "1KiB")]).await;
    let large = |client: &Client| client.publish_packet(0x30, "a", 0, &[0; 2000]);
    let mut client = brooklet.connect("large").await;
    let bytes = large(&client);
    client.send(&bytes).await;
    assert_eq!(client.goodbye().await, Some(0x95));
    for (bytes, reason) in [
        (packet(0x36, &[0, 1, b'a', 0, 1]), 0x81),
        (packet(0x82, &[0, 1, 0]), 0x82),
        (packet(0x80, &[0, 1, 0, 0, 1, b'a', 0]), 0x81),
        (packet(0x10, &[]), 0x82),
        (packet(0xF0, &[]), 0x82),
        (packet(0x30, &[0, 3, b'a', b'/', b'#', 0]), 0x90),
        (packet(0x30, &[0, 0, 0]), 0x82),
        (packet(0x30, &[0, 0, 3, 35, 0, 5]), 0x94),
        (packet(0x40, &[0, 0]), 0x82),
        (vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1], 0x81),
    ] {
        let mut client = brooklet.connect("breaks").await;
        client.send(&bytes).await;
        assert_eq!(client.goodbye().await, Some(reason), "{bytes:x?}");
    }
    let mut old = brooklet.connect_v4("old").await;
    old.send(&packet(0x36, &[0, 1, b'a', 0, 1])).await;
    assert!(old.packet().await.is_none(), "3.1.1 has no DISCONNECT from the server");
}

#[tokio::test]
async fn shared_subscriptions_give_each_message_to_one_member() {
    let brooklet = Brooklet::start().await;
    let (mut a, mut b) = (brooklet.connect("a").await, brooklet.connect("b").await);
    a.subscribe("$share/g/jobs/+", 0).await;
    b.subscribe("$share/g/jobs/+", 0).await;
    let mut publisher = brooklet.connect("publisher").await;
    for n in 0..10 {
        publisher.publish(&format!("jobs/{n}"), "x").await;
    }
    for client in [&mut a, &mut b] {
        for _ in 0..5 {
            client.message().await;
        }
        assert!(client.is_quiet().await);
    }
}

#[tokio::test]
async fn a_stop_acknowledges_what_was_received_and_says_goodbye() {
    let mut brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    let mut idle = brooklet.connect("idle").await;
    device.publish("devices/d/data", r#"{"t": 0}"#).await;
    let mut bytes = Vec::new();
    for n in 1..=100 {
        let id = device.next_id();
        let payload = format!(r#"{{"t": {n}, "ts": {}}}"#, 1_766_125_800 + n);
        bytes.extend(device.publish_packet(0x32, "devices/d/data", id, payload.as_bytes()));
    }
    device.send(&bytes).await;
    brooklet.stop().await;
    let mut acknowledged = 0;
    while let Some(packet) = device.packet().await {
        match packet.first {
            0x40 => acknowledged += 1,
            0xE0 => assert_eq!(packet.body[0], 0x8B),
            other => panic!("{other:x}"),
        }
    }
    assert_eq!(idle.goodbye().await, Some(0x8B));
    let brooklet = brooklet.restart().await;
    let history = brooklet.get("/api/data/history?device_id=d&limit=1000").await;
    assert!(history["items"].as_array().unwrap().len() > acknowledged);
}

#[tokio::test]
async fn any_bytes_leave_a_bystander_alone() {
    let brooklet = Brooklet::with(&[("MQTT__CONNECT_TIMEOUT", "1s")]).await;
    let mut bystander = brooklet.connect("bystander").await;
    bystander.subscribe("b", 0).await;
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..300_u64 {
        let mut client = Client::raw(brooklet.mqtt).await;
        let mut bytes = connect(if round % 2 == 0 { 5 } else { 4 }, 2, 60, &[], "fuzz");
        bytes.extend(packet(0x82, &[0, 1, 0, 0, 1, b'#', 1]));
        bytes.extend(client.publish_packet(0x34, "devices/f/data", 3, br#"{"t":1}"#));
        for _ in 0..=round % 5 {
            let at = (random() % bytes.len() as u64) as usize;
            bytes[at] = random() as u8;
        }
        client.send(&bytes).await;
        if round % 50 == 0 {
            bystander.publish_qos0("b", "still here").await;
            assert_eq!(bystander.message().await.3, b"still here");
        }
    }
    assert!(bystander.is_quiet().await);
    assert!(!bystander.quiet_for(Duration::from_millis(1)).await || bystander.is_quiet().await);
}
