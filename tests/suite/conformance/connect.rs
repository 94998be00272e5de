//! CONNECT (MQTT 5.0 §3.1, 3.1.1 §3.1): what is accepted, what is refused and how, who is connected
//! afterwards.

use std::time::{Duration, Instant};

use super::{
    packets::{BOTH, Connect, attempt, will},
    property::{Property as P, list},
};
use crate::{
    harness::Brooklet,
    wire::{Client, binary, packet, text},
};

/// A CONNECT put together from its parts, flags and payload independent of each other.
fn connect_of(level: u8, flags: u8, payload: &[Vec<u8>]) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([level, flags, 0, 60]);
    if level == 5 {
        body.push(0);
    }
    body.extend(payload.concat());
    packet(0x10, &body)
}

/// The CONNECT must fail: 5.0 is told why, 3.1.1 is cut off.
async fn assert_malformed(brooklet: &Brooklet, level: u8, bytes: &[u8], what: &str) {
    let (mut client, connack) = attempt(brooklet, level, bytes).await;
    match connack {
        None => assert_eq!(level, 4, "{what}"),
        Some(connack) => assert!(level == 5 && connack.is_refusal(0x81), "{what}: {connack:?}"),
    }
    assert!(client.packet().await.is_none(), "{what}");
}

#[tokio::test]
async fn the_first_packet_must_be_connect() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("#", 0).await;
    let publish = watcher.publish_packet(0x30, "a", 0, b"unheard");
    let subscribe = [&[0, 1, 0][..], &text("#"), &[0]].concat();
    for first in [
        publish,
        packet(0x82, &subscribe),
        packet(0x40, &[0, 1]),
        packet(0xC0, &[]),
        packet(0xE0, &[]),
        packet(0xF0, &[]),
        packet(0x20, &[0, 0]),
        packet(0x00, &[]),
    ] {
        let mut client = Client::raw(brooklet.mqtt).await;
        client.send(&first).await;
        assert!(client.packet().await.is_none(), "{first:x?}");
    }
    assert!(watcher.is_quiet().await);
}

#[tokio::test]
async fn a_second_connect_is_a_protocol_error() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let connect = Connect::new(level, "again");
        let mut client = connect.client(&brooklet).await;
        client.send(&connect.bytes()).await;
        client.expect_end(0x82).await;
    }
}

#[tokio::test]
async fn the_protocol_name_and_level_are_those_of_3_1_1_or_5_0() {
    let brooklet = Brooklet::start().await;
    let connect = |name: &str, level: u8| {
        let mut body = text(name);
        body.extend([level, 2, 0, 60]);
        if level >= 5 {
            body.push(0);
        }
        body.extend(text("c"));
        packet(0x10, &body)
    };
    for (name, level, refusal) in [
        ("MQTT", 3, Some(1)),
        ("MQIsdp", 3, Some(1)),
        ("MQTT", 6, Some(0x84)),
        ("MQTT", 0x84, Some(0x84)),
        ("mqtt", 4, None),
        ("MQTT\0", 4, None),
    ] {
        let answered_as = if level >= 5 { 5 } else { 4 };
        let bytes = connect(name, level);
        let (mut client, connack) = attempt(&brooklet, answered_as, &bytes).await;
        assert_eq!(connack.as_ref().map(|c| c.reason), refusal, "{name} {level}");
        assert!(connack.is_none_or(|c| !c.session_present));
        assert!(client.packet().await.is_none(), "{name} {level}");
    }
    let (mut client, connack) = attempt(&brooklet, 5, &connect("MQTX", 5)).await;
    assert!(connack.is_none_or(|c| c.is_refusal(0x84) || c.is_refusal(0x81)));
    assert!(client.packet().await.is_none());
}

#[tokio::test]
async fn flags_and_payload_must_agree() {
    let brooklet = Brooklet::start().await;
    let (id, topic, empty) = (|| text("c"), || text("w"), || binary(b""));
    let cases = |level: u8| {
        let properties = || if level == 5 { vec![0] } else { vec![] };
        vec![
            ("the reserved flag", 3, vec![id()]),
            ("will QoS without a will", 2 | 0b01000, vec![id()]),
            ("will retain without a will", 2 | 0b10_0000, vec![id()]),
            ("will QoS 3", 2 | 0b11100, vec![id(), properties(), topic(), empty()]),
            ("a will flag, no will", 2 | 4, vec![id()]),
            ("a will topic, no payload", 2 | 4, vec![id(), properties(), topic()]),
            ("a will, no will flag", 2, vec![id(), properties(), topic(), empty()]),
            ("a user name flag, no user name", 2 | 0x80, vec![id()]),
            ("a user name, no flag", 2, vec![id(), text("u")]),
            ("a password flag, no password", 2 | 0xC0, vec![id(), text("u")]),
            ("a password, no flag", 2 | 0x80, vec![id(), text("u"), binary(b"p")]),
            ("no client identifier", 2, vec![]),
            ("a cut client identifier", 2, vec![vec![0, 5, b'c']]),
        ]
    };
    for level in BOTH {
        for (what, flags, payload) in cases(level) {
            assert_malformed(&brooklet, level, &connect_of(level, flags, &payload), what).await;
        }
        let mut flagged = Connect::new(level, "c").bytes();
        flagged[0] |= 1;
        assert_malformed(&brooklet, level, &flagged, "flags of the fixed header").await;
    }
    let password = connect_of(4, 2 | 0x40, &[text("c"), binary(b"p")]);
    assert_malformed(&brooklet, 4, &password, "a password without a user name").await;
}

#[tokio::test]
async fn strings_of_the_payload_are_utf8() {
    let brooklet = Brooklet::start().await;
    let good = || text("x");
    for level in BOTH {
        let properties = || if level == 5 { vec![0] } else { vec![] };
        for bad in [&b"\xFF"[..], b"a\0b", b"\xED\xA0\x80", b"\xC0\x80", b"\xF5\x80\x80\x80"] {
            let bad = || binary(bad);
            for (what, flags, payload) in [
                ("client identifier", 2, vec![bad()]),
                ("will topic", 2 | 4, vec![good(), properties(), bad(), good()]),
                ("user name", 2 | 0x80, vec![good(), bad()]),
            ] {
                assert_malformed(&brooklet, level, &connect_of(level, flags, &payload), what).await;
            }
        }
        let binary_will = vec![good(), properties(), good(), binary(b"\xFF\0")];
        let connect = connect_of(level, 2 | 4, &binary_will);
        let (_client, connack) = attempt(&brooklet, level, &connect).await;
        assert_eq!(connack.unwrap().reason, 0, "a will's payload is any bytes");
    }
}

#[tokio::test]
async fn payload_fields_come_in_their_order() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("order/#", 0).await;
    for level in BOTH {
        let properties = if level == 5 { list(&[P::ContentType("t".to_owned())]) } else { vec![] };
        let fields = [text("ordered"), properties, text("order/will"), binary(b"last words")];
        let (client, connack) = attempt(&brooklet, level, &connect_of(level, 2 | 4, &fields)).await;
        assert_eq!(connack.unwrap().reason, 0);
        drop(client);
        let message = watcher.delivery().await;
        assert_eq!((message.topic.as_str(), message.text()), ("order/will", "last words"));
    }
}

#[tokio::test]
async fn a_will_topic_must_be_a_topic_name() {
    let brooklet = Brooklet::start().await;
    for topic in ["a/#", "+/a", ""] {
        for level in BOTH {
            let (mut client, connack) =
                Connect::new(level, "c").will(will(topic)).attempt(&brooklet).await;
            match connack {
                None => assert_eq!(level, 4, "{topic}"),
                Some(connack) => assert!(level == 5 && connack.is_refusal(0x90), "{connack:?}"),
            }
            assert!(client.packet().await.is_none());
        }
    }
}

#[tokio::test]
async fn client_ids_of_letters_and_digits_are_taken() {
    let brooklet = Brooklet::start().await;
    let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut ids = vec!["a", "0", "Z"];
    ids.extend((0..=39).step_by(13).map(|at| &alphabet[at..at + 23]));
    for level in BOTH {
        for id in &ids {
            Connect::new(level, id).client(&brooklet).await;
        }
        Connect::new(level, "设备 1/\u{FEFF}").client(&brooklet).await;
    }
}

#[tokio::test]
async fn an_empty_client_id_is_replaced_by_a_unique_one() {
    let brooklet = Brooklet::start().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (client, connack) = Connect::new(5, "").open(&brooklet).await;
        let assigned = connack.properties.iter().find_map(|property| match property {
            P::AssignedClientIdentifier(id) => Some(id.clone()),
            _ => None,
        });
        seen.push((assigned.unwrap(), client));
    }
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    seen.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(seen.len(), 3);
    for (assigned, mut client) in seen {
        assert!(!assigned.is_empty());
        assert!(client.is_quiet().await, "nobody is taken over");
        let mut named = Connect::new(5, &assigned).client(&brooklet).await;
        client.expect_end(0x8E).await;
        assert!(named.is_quiet().await);
    }
    let (_, connack) = Connect::new(5, "given").open(&brooklet).await;
    let is_assigned = |p: &P| matches!(p, P::AssignedClientIdentifier(_));
    assert!(!connack.properties.iter().any(is_assigned));
    let mut first = Connect::new(4, "").client(&brooklet).await;
    let mut second = Connect::new(4, "").client(&brooklet).await;
    assert!(first.is_quiet().await && second.is_quiet().await);
    let (mut client, connack) = Connect::lasting(4, "").attempt(&brooklet).await;
    assert!(connack.unwrap().is_refusal(2), "3.1.1: an empty id needs a clean session");
    assert!(client.packet().await.is_none());
    let (_, connack) = Connect::lasting(5, "").open(&brooklet).await;
    assert!(connack.properties.iter().any(is_assigned) && !connack.session_present);
}

#[tokio::test]
async fn a_client_id_that_is_not_accepted_is_refused_as_such() {
    let brooklet = Brooklet::start().await;
    for (level, reason) in [(4, 2), (5, 0x85)] {
        let (mut client, connack) = Connect::new(level, &"x".repeat(300)).attempt(&brooklet).await;
        assert!(connack.unwrap().is_refusal(reason));
        assert!(client.packet().await.is_none());
    }
}

#[tokio::test]
async fn a_connected_client_is_taken_over_whatever_its_version() {
    let brooklet = Brooklet::start().await;
    for old in BOTH {
        for new in BOTH {
            let mut first = Connect::new(old, "same").client(&brooklet).await;
            let mut other = Connect::new(old, "other").client(&brooklet).await;
            let mut second = Connect::new(new, "same").client(&brooklet).await;
            first.expect_end(0x8E).await;
            assert!(second.is_quiet().await && other.is_quiet().await);
        }
    }
}

#[tokio::test]
async fn nothing_is_processed_after_a_refusal() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("#", 0).await;
    let mut id_refused = Connect::lasting(4, "").bytes();
    id_refused.extend(packet(0x30, &[text("a"), b"unheard".to_vec()].concat()));
    let method = P::AuthenticationMethod("SCRAM".to_owned());
    let mut method_refused = Connect::new(5, "c").with(method).bytes();
    method_refused.extend(watcher.publish_packet(0x32, "a", 1, b"unheard"));
    for (level, bytes) in [(4, id_refused), (5, method_refused)] {
        let (mut client, connack) = attempt(&brooklet, level, &bytes).await;
        assert_ne!(connack.unwrap().reason, 0);
        assert!(client.packet().await.is_none());
    }
    assert!(watcher.is_quiet().await);
}

#[tokio::test]
async fn a_silent_client_is_gone_after_one_and_a_half_keep_alives() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("wills/#", 0).await;
    let silent = |level: u8| {
        let id = format!("silent{level}");
        Connect::new(level, &id).keep_alive(1).will(will(&format!("wills/{level}")))
    };
    let since = Instant::now();
    let (mut old, mut five) =
        (silent(4).client(&brooklet).await, silent(5).client(&brooklet).await);
    let mut patient = Connect::new(5, "patient").keep_alive(0).client(&brooklet).await;
    let ends = async |client: &mut Client| {
        client.expect_end(0x8D).await;
        let after = since.elapsed();
        assert!(after >= Duration::from_millis(1490), "{after:?}");
        assert!(after < Duration::from_secs(4), "{after:?}");
    };
    tokio::join!(ends(&mut old), ends(&mut five));
    let mut topics = [watcher.delivery().await.topic, watcher.delivery().await.topic];
    topics.sort();
    assert_eq!(topics, ["wills/4", "wills/5"], "as if the network had failed");
    assert!(patient.is_quiet().await, "keep-alive 0 is none");
}

#[tokio::test]
async fn any_packet_keeps_a_client_alive() {
    let brooklet = Brooklet::start().await;
    let mut old = Connect::new(4, "old").keep_alive(1).client(&brooklet).await;
    let mut five = Connect::new(5, "five").keep_alive(1).client(&brooklet).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(old.is_quiet().await);
        assert_eq!(five.publish("a", "alive").await.reason, 0);
    }
}
