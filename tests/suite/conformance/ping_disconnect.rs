//! PINGREQ, PINGRESP and DISCONNECT (MQTT 5.0 §3.12–3.14; 3.1.1 the same).

use super::{
    packets::{BOTH, Connect},
    property::{Cursor, Property as P, list, user},
};
use crate::{
    harness::Brooklet,
    wire::{Packet, packet},
};

#[tokio::test]
async fn every_pingreq_is_answered() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.send(&[0xC0, 0, 0xC0, 0, 0xC0, 0]).await;
        for _ in 0..3 {
            assert_eq!(client.packet().await, Some(Packet { first: 0xD0, body: vec![] }));
        }
    }
}

#[tokio::test]
async fn disconnect_closes_the_connection_without_an_answer() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("#", 0).await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        let mut bytes = packet(0xE0, &[]);
        bytes.extend(client.publish_packet(0x30, "after", 0, b"unheard"));
        client.send(&bytes).await;
        assert!(client.packet().await.is_none());
    }
    assert!(watcher.is_quiet().await, "nothing counts after DISCONNECT");
}

#[tokio::test]
async fn a_client_may_say_why_it_goes() {
    let brooklet = Brooklet::start().await;
    let told = list(&[user("a", "1"), P::ReasonString("moved".to_owned()), user("a", "2")]);
    for reason in
        [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
    {
        for rest in [&[][..], &[0], &told] {
            let mut client = brooklet.connect("c").await;
            client.send(&packet(0xE0, &[&[reason], rest].concat())).await;
            assert!(client.packet().await.is_none(), "{reason:x}");
        }
    }
    for reason in [0x01, 0x10, 0x87, 0x8B, 0x8D, 0x8E, 0xFF] {
        let mut client = brooklet.connect("c").await;
        client.send(&packet(0xE0, &[reason])).await;
        let told = client.goodbye().await;
        assert!(matches!(told, Some(0x81 | 0x82)), "{reason:x} is not a client's: {told:x?}");
    }
}

#[tokio::test]
async fn the_servers_disconnect_is_its_last_word_and_fits() {
    let brooklet = Brooklet::start().await;
    let long = Connect::new(5, "long");
    let short = Connect::new(5, "short").with(P::MaximumPacketSize(24));
    for (connect, explains) in [(long, true), (short, false)] {
        let mut client = connect.client(&brooklet).await;
        // Malformed, and one more packet behind it.
        client.send(&[0x00, 0, 0xC0, 0]).await;
        let Packet { first, body } = client.packet().await.unwrap();
        assert_eq!((first, body[0]), (0xE0, 0x81));
        let properties = match body.len() {
            1 => vec![],
            _ => Cursor(&body[1..]).properties(),
        };
        let is_text = |p: &P| matches!(p, P::ReasonString(_));
        assert!(properties.iter().all(is_text), "no session expiry: {properties:?}");
        assert_eq!(!properties.is_empty(), explains);
        assert!(explains || body.len() + 2 <= 24);
        assert!(client.packet().await.is_none());
    }
}
