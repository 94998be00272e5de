//! Packets that break the format (MQTT 5.0 §1.5, §2, §4.13; 3.1.1 §1.5, §2, §4.8): each ends its
//! connection, with its reason where the version has a DISCONNECT for it, and no other connection.

use super::packets::{BOTH, Connect, attempt};
use crate::{
    harness::Brooklet,
    wire::{Client, binary, packet, text},
};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;

/// Sends each packet on a connection of its own, which must end for the reason given.
async fn assert_ends(brooklet: &Brooklet, level: u8, cases: &[(&str, Vec<u8>, u8)]) {
    let mut bystander = Connect::new(level, "bystander").client(brooklet).await;
    for (what, bytes, reason) in cases {
        let mut client = Connect::new(level, "c").client(brooklet).await;
        client.send(bytes).await;
        let told = client.goodbye().await;
        assert_eq!(told, (level == 5).then_some(*reason), "{what} ({level}): {bytes:x?}");
        assert!(client.packet().await.is_none(), "{what}");
    }
    assert!(bystander.is_quiet().await);
}

fn no_properties(level: u8) -> &'static [u8] {
    if level == 5 { &[0] } else { &[] }
}

/// A SUBSCRIBE or UNSUBSCRIBE with this packet identifier and payload.
fn filters(level: u8, first: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    packet(first, &[&id.to_be_bytes()[..], no_properties(level), payload].concat())
}

#[tokio::test]
async fn reserved_flags_have_their_values() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut cases = Vec::new();
        let subscribe = [text("a"), vec![0]].concat();
        for flags in 0..16 {
            let mut add = |name, legal: u8, packet: Vec<u8>| {
                if flags != legal {
                    let mut packet = packet;
                    packet[0] = packet[0] & 0xF0 | flags;
                    cases.push((name, packet, MALFORMED));
                }
            };
            add("PUBACK", 0, packet(0x40, &[0, 1]));
            add("PUBREC", 0, packet(0x50, &[0, 1]));
            add("PUBREL", 2, packet(0x60, &[0, 1]));
            add("PUBCOMP", 0, packet(0x70, &[0, 1]));
            add("SUBSCRIBE", 2, filters(level, 0x80, 1, &subscribe));
            add("UNSUBSCRIBE", 2, filters(level, 0xA0, 1, &text("a")));
            add("PINGREQ", 0, packet(0xC0, &[]));
            add("DISCONNECT", 0, packet(0xE0, &[]));
            add("AUTH", 0, packet(0xF0, &[]));
        }
        assert_ends(&brooklet, level, &cases).await;
    }
}

#[tokio::test]
async fn packets_that_a_client_does_not_send() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let cases = [
            ("type 0", packet(0x00, &[]), MALFORMED),
            ("CONNACK", packet(0x20, &[0, 0]), PROTOCOL_ERROR),
            ("SUBACK", packet(0x90, &[0, 1, 0]), PROTOCOL_ERROR),
            ("UNSUBACK", packet(0xB0, &[0, 1]), PROTOCOL_ERROR),
            ("PINGRESP", packet(0xD0, &[]), PROTOCOL_ERROR),
            ("AUTH", packet(0xF0, &[]), PROTOCOL_ERROR),
        ];
        assert_ends(&brooklet, level, &cases).await;
    }
}

#[tokio::test]
async fn packets_that_are_too_short_or_too_long() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut cases = vec![
            ("a length of five bytes", vec![0xC0, 0x80, 0x80, 0x80, 0x80, 0], MALFORMED),
            ("an empty PUBLISH", packet(0x30, &[]), MALFORMED),
            ("a cut topic", packet(0x30, &[0, 5, b'a']), MALFORMED),
            ("no packet identifier", packet(0x32, &text("a")), MALFORMED),
            ("half a packet identifier", packet(0x32, &[0, 1, b'a', 0]), MALFORMED),
            ("an empty SUBSCRIBE", packet(0x82, &[]), MALFORMED),
            ("a filter without options", filters(level, 0x82, 1, &text("a")), MALFORMED),
            ("a cut filter", filters(level, 0x82, 1, &[0, 9, b'a', 0]), MALFORMED),
            ("an empty UNSUBSCRIBE", packet(0xA2, &[]), MALFORMED),
            ("a cut filter", filters(level, 0xA2, 1, &[0, 9, b'a']), MALFORMED),
            ("PINGREQ with a body", packet(0xC0, &[0]), MALFORMED),
        ];
        for first in [0x40, 0x50, 0x62, 0x70] {
            cases.push(("an empty acknowledgement", packet(first, &[]), MALFORMED));
            cases.push(("half an acknowledgement", packet(first, &[0]), MALFORMED));
            let long: &[u8] = if level == 5 { &[0, 1, 0, 0, 0] } else { &[0, 1, 0] };
            cases.push(("a long acknowledgement", packet(first, long), MALFORMED));
        }
        let long: &[u8] = if level == 5 { &[0, 0, 0] } else { &[0] };
        cases.push(("a long DISCONNECT", packet(0xE0, long), MALFORMED));
        if level == 5 {
            cases.push(("PUBLISH without a property length", packet(0x30, &text("a")), MALFORMED));
            cases.push(("SUBSCRIBE without a property length", packet(0x82, &[0, 1]), MALFORMED));
        }
        assert_ends(&brooklet, level, &cases).await;
    }
}

#[tokio::test]
async fn values_that_may_not_be() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let properties = no_properties(level);
        let publish = |first, id: &[u8]| packet(first, &[&text("a")[..], id, properties].concat());
        let option = |bits: u8| filters(level, 0x82, 1, &[text("a"), vec![bits]].concat());
        let mut cases = vec![
            ("QoS 3", publish(0x36, &[0, 1]), MALFORMED),
            ("DUP at QoS 0", publish(0x38, &[]), MALFORMED),
            ("PUBLISH 0", publish(0x32, &[0, 0]), PROTOCOL_ERROR),
            ("PUBLISH 0", publish(0x34, &[0, 0]), PROTOCOL_ERROR),
            ("SUBSCRIBE 0", filters(level, 0x82, 0, &[0, 1, b'a', 0]), PROTOCOL_ERROR),
            ("UNSUBSCRIBE 0", filters(level, 0xA2, 0, &text("a")), PROTOCOL_ERROR),
            ("SUBSCRIBE to nothing", filters(level, 0x82, 1, &[]), PROTOCOL_ERROR),
            ("UNSUBSCRIBE from nothing", filters(level, 0xA2, 1, &[]), PROTOCOL_ERROR),
            ("requested QoS 3", option(3), MALFORMED),
            ("reserved option bits", option(0x80), MALFORMED),
            ("reserved option bits", option(0x40), MALFORMED),
        ];
        for first in [0x40, 0x50, 0x62, 0x70] {
            cases.push(("acknowledgement 0", packet(first, &[0, 0]), PROTOCOL_ERROR));
        }
        match level {
            5 => cases.push(("retain handling 3", option(0x30), PROTOCOL_ERROR)),
            _ => cases.extend([4, 8, 0x10, 0x20].map(|bits| ("5.0's", option(bits), MALFORMED))),
        }
        assert_ends(&brooklet, level, &cases).await;
    }
}

#[tokio::test]
async fn strings_that_are_not_utf8() {
    let brooklet = Brooklet::start().await;
    let ill_formed: [&[u8]; 8] = [
        b"\x80",
        b"\xFF",
        b"a\xC3",
        b"\xC0\xAF",
        b"\xE0\x80\xAF",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xF4\x90\x80\x80",
    ];
    for level in BOTH {
        let mut cases = Vec::new();
        for string in ill_formed.into_iter().chain([&b"a\0"[..]]) {
            let string = binary(string);
            let publish = [&string[..], no_properties(level)].concat();
            cases.push(("topic name", packet(0x30, &publish), MALFORMED));
            let subscribe = [&text("a")[..], &[0], &string, &[0]].concat();
            cases.push(("filter", filters(level, 0x82, 1, &subscribe), MALFORMED));
            let unsubscribe = [text("a"), string].concat();
            cases.push(("filter", filters(level, 0xA2, 1, &unsubscribe), MALFORMED));
        }
        assert_ends(&brooklet, level, &cases).await;
    }
}

#[tokio::test]
async fn reason_codes_of_another_packet() {
    let brooklet = Brooklet::start().await;
    let ack = |first: u8, reason: u8| packet(first, &[0, 1, reason]);
    let cases = [
        ("PUBACK", ack(0x40, 0x01), MALFORMED),
        ("PUBACK", ack(0x40, 0x92), MALFORMED),
        ("PUBREC", ack(0x50, 0x8E), MALFORMED),
        ("PUBREL", ack(0x62, 0x10), MALFORMED),
        ("PUBREL", ack(0x62, 0x80), MALFORMED),
        ("PUBCOMP", ack(0x70, 0x97), MALFORMED),
    ];
    assert_ends(&brooklet, 5, &cases).await;
}

#[tokio::test]
async fn lengths_take_as_few_bytes_as_they_can() {
    let brooklet = Brooklet::start().await;
    let cases = [
        ("remaining length", vec![0xC0, 0x80, 0], MALFORMED),
        ("remaining length", vec![0xC0, 0x80, 0x80, 0], MALFORMED),
        ("remaining length", vec![0x40, 0x82, 0x80, 0x80, 0, 0, 1], MALFORMED),
        ("property length", packet(0x30, &[0, 1, b'a', 0x80, 0]), MALFORMED),
        ("property length", packet(0x30, &[0, 1, b'a', 0x82, 0, 1, 0]), MALFORMED),
        (
            "subscription identifier",
            packet(0x82, &[0, 1, 3, 11, 0x81, 0, 0, 1, b'a', 0]),
            MALFORMED,
        ),
        (
            "subscription identifier of five bytes",
            packet(0x82, &[0, 1, 6, 11, 0x80, 0x80, 0x80, 0x80, 1, 0, 1, b'a', 0]),
            MALFORMED,
        ),
    ];
    assert_ends(&brooklet, 5, &cases).await;
    let mut connect = Connect::new(5, "c").bytes();
    let length = connect[1];
    connect.splice(1..2, [length | 0x80, 0]);
    let (_, connack) = attempt(&brooklet, 5, &connect).await;
    assert!(connack.unwrap().is_refusal(MALFORMED));
    let mut old = brooklet.connect_v4("old").await;
    old.send(&[0xC0, 0x80, 0x80, 0]).await;
    assert_eq!(old.packet().await.unwrap().first, 0xD0, "3.1.1 does not forbid it");
}

#[tokio::test]
async fn packets_come_in_pieces_and_together() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut bytes = Connect::new(level, "c").bytes();
        bytes.extend(filters(level, 0x82, 1, &[text("pieces"), vec![1]].concat()));
        let payload = vec![b'x'; 300];
        let body = [&text("pieces")[..], &[0, 2], no_properties(level), &payload].concat();
        bytes.extend(packet(0x32, &body));
        bytes.extend(packet(0xC0, &[]));
        for size in [1, 7, bytes.len()] {
            let mut client = Client::raw(brooklet.mqtt).await;
            client.is_v5 = level == 5;
            for piece in bytes.chunks(size) {
                client.send(piece).await;
            }
            let mut firsts = Vec::new();
            for _ in 0..5 {
                firsts.push(client.packet().await.unwrap().first);
            }
            firsts.sort_unstable();
            assert_eq!(firsts, [0x20, 0x32, 0x40, 0x90, 0xD0], "pieces of {size}");
        }
    }
}
