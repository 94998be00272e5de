//! CONNACK (MQTT 5.0 §3.2, 3.1.1 §3.2): the first word, session present, what the server tells of
//! itself, and how a refusal ends.

use std::time::{Duration, Instant};

use super::{
    packets::{BOTH, Connect, attempt, will},
    property::Property as P,
};
use crate::{
    harness::Brooklet,
    wire::{Client, packet, text},
};

/// Reason codes that a CONNACK may have (MQTT 5.0 table 3-1).
const CONNECT_REASONS: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];

#[tokio::test]
async fn connack_is_the_first_packet_and_comes_once() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.retain("hello", "retained").await;
    for level in BOTH {
        let mut bytes = Connect::new(level, "hasty").bytes();
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        bytes.extend(packet(0xC0, &[]));
        bytes.extend(packet(0x82, &[&[0, 9], properties, &text("hello"), &[0]].concat()));
        bytes.extend(packet(0xC0, &[]));
        let (mut client, connack) = attempt(&brooklet, level, &bytes).await;
        let connack = connack.unwrap();
        assert_eq!((connack.session_present, connack.reason), (false, 0));
        let mut firsts = Vec::new();
        for _ in 0..4 {
            firsts.push(client.packet().await.unwrap().first);
        }
        firsts.sort_unstable();
        assert_eq!(firsts, [0x31, 0x90, 0xD0, 0xD0], "no other CONNACK");
        assert!(client.is_quiet().await);
    }
}

#[tokio::test]
async fn session_present_says_whether_a_session_is_resumed() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let id = format!("keeper{level}");
        let (lasting, clean) = (Connect::lasting(level, &id), Connect::new(level, &id));
        for (connect, present) in
            [(&lasting, false), (&lasting, true), (&clean, false), (&lasting, false)]
        {
            let (client, connack) = connect.open(&brooklet).await;
            assert_eq!(connack.session_present, present, "{connect:?}");
            client.leave().await;
        }
    }
}

#[tokio::test]
async fn a_refusal_has_no_session_and_closes() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_PACKET_SIZE", "1KiB")]).await;
    for level in BOTH {
        Connect::lasting(level, "known").client(&brooklet).await;
    }
    let method = P::AuthenticationMethod("none".to_owned());
    let lasting = Connect { clean_start: false, ..Connect::new(5, "known") };
    let long_id = "x".repeat(300);
    for (connect, reason) in [
        (lasting.clone().with(method), 0x8C),
        (lasting.clone().will(will("a/#")), 0x90),
        (lasting.clone().with(P::ReceiveMaximum(0)), 0x82),
        (lasting.clone().with(P::TopicAlias(1)), 0x81),
        (Connect { client_id: long_id.clone(), ..lasting.clone() }, 0x85),
        (Connect { level: 6, ..lasting }, 0x84),
        (Connect { client_id: long_id, ..Connect::lasting(4, "") }, 2),
        (Connect { level: 3, ..Connect::lasting(4, "known") }, 1),
    ] {
        let answered_as = if connect.level < 5 { 4 } else { 5 };
        let (mut client, connack) = attempt(&brooklet, answered_as, &bytes_of(&connect)).await;
        let connack = connack.unwrap();
        assert!(connack.is_refusal(reason), "{connect:?}: {connack:?}");
        assert!(answered_as == 4 || CONNECT_REASONS.contains(&reason));
        assert!(client.packet().await.is_none(), "no DISCONNECT after a refusal, but the end");
    }
}

/// Level 6 is written as 5.0 is.
fn bytes_of(connect: &Connect) -> Vec<u8> {
    let written_as = Connect { level: connect.level.clamp(4, 5), ..connect.clone() };
    let mut bytes = written_as.bytes();
    let at = bytes.windows(4).position(|window| window == b"MQTT").unwrap() + 4;
    bytes[at] = connect.level;
    bytes
}

#[tokio::test]
async fn a_return_code_for_what_3_1_1_has_none_for_is_not_made_up() {
    let brooklet = Brooklet::start().await;
    let refused = Connect::new(4, "c").will(will("a/#"));
    let (mut client, connack) = refused.attempt(&brooklet).await;
    assert_eq!(connack, None);
    assert!(client.packet().await.is_none());
}

#[tokio::test]
async fn nothing_is_announced_that_would_narrow_what_is_supported() {
    let brooklet = Brooklet::start().await;
    let asks = Connect::new(5, "c").with(P::RequestResponseInformation(1));
    for connect in [Connect::new(5, "d"), asks] {
        let (_, connack) = connect.open(&brooklet).await;
        for property in &connack.properties {
            let narrows = matches!(
                property,
                P::MaximumQos(_)
                    | P::RetainAvailable(0)
                    | P::WildcardSubscriptionAvailable(0)
                    | P::SubscriptionIdentifierAvailable(0)
                    | P::SharedSubscriptionAvailable(0)
                    | P::ResponseInformation(_)
                    | P::AuthenticationMethod(_)
            );
            assert!(!narrows, "{property:?}");
        }
        let mut properties = connack.properties.clone();
        properties.dedup();
        assert_eq!(properties, connack.properties, "each once");
    }
    for level in BOTH {
        for (qos, retain) in [(0, false), (1, true), (2, true)] {
            let mut will = will("w");
            (will.qos, will.retain) = (qos, retain);
            Connect::new(level, "w").will(will).client(&brooklet).await;
        }
    }
}

#[tokio::test]
async fn limits_are_announced() {
    let brooklet = Brooklet::with(&[
        ("MQTT__RECEIVE_MAXIMUM", "7"),
        ("MQTT__MAX_PACKET_SIZE", "2KiB"),
        ("MQTT__MAX_TOPIC_ALIASES", "3"),
        ("MQTT__MAX_SESSION_EXPIRY", "1h"),
    ])
    .await;
    let (_, connack) =
        Connect::new(5, "c").with(P::SessionExpiryInterval(u32::MAX)).open(&brooklet).await;
    for property in [
        P::ReceiveMaximum(7),
        P::MaximumPacketSize(2048),
        P::TopicAliasMaximum(3),
        P::SessionExpiryInterval(3600),
    ] {
        assert!(connack.properties.contains(&property), "{property:?}: {connack:?}");
    }
    let (_, connack) =
        Connect::new(5, "d").with(P::SessionExpiryInterval(60)).open(&brooklet).await;
    let told = |p: &&P| matches!(p, P::SessionExpiryInterval(_));
    assert_ne!(connack.properties.iter().find(told), Some(&P::SessionExpiryInterval(3600)));
}

#[tokio::test]
async fn a_server_keep_alive_is_told_and_kept() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_KEEP_ALIVE", "1s")]).await;
    let told = |properties: &[P]| {
        properties.iter().find_map(|p| match p {
            P::ServerKeepAlive(seconds) => Some(*seconds),
            _ => None,
        })
    };
    let since = Instant::now();
    let (mut shortened, connack) = Connect::new(5, "long").keep_alive(60).open(&brooklet).await;
    assert_eq!(told(&connack.properties), Some(1));
    let (mut without, connack) = Connect::new(5, "none").keep_alive(0).open(&brooklet).await;
    assert_eq!(told(&connack.properties), Some(1));
    let (mut own, connack) = Connect::new(5, "own").keep_alive(1).open(&brooklet).await;
    assert_eq!(told(&connack.properties), None);
    let ends = async |client: &mut Client| {
        client.expect_end(0x8D).await;
        assert!(since.elapsed() >= Duration::from_millis(1490));
        assert!(since.elapsed() < Duration::from_secs(4));
    };
    tokio::join!(ends(&mut shortened), ends(&mut without), ends(&mut own));
}

#[tokio::test]
async fn a_connack_keeps_to_the_clients_maximum_packet_size() {
    let brooklet = Brooklet::start().await;
    let size = P::MaximumPacketSize(10);
    let method = P::AuthenticationMethod("SCRAM".to_owned());
    for connect in [
        Connect::new(5, "c").with(size.clone()).with(method),
        Connect::new(5, "c").with(size.clone()).will(will("a/#")),
        Connect::new(5, "").with(size),
    ] {
        let mut client = Client::raw(brooklet.mqtt).await;
        client.send(&connect.bytes()).await;
        if let Some(connack) = client.packet().await {
            assert!(connack.body.len() + 2 <= 10, "{connack:x?}");
        }
    }
}
