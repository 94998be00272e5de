//! Packets of every kind and both versions, whole and damaged, against the codec and against a
//! connection: nothing panics, an error stays one, and what is written is read back the same.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{
    options,
    spec::Message,
    wire,
    world::{PACKET_SIZE_MAX, World, read, write},
};
use crate::mqtt::{
    codec::{
        CodecError, Frame, PublishHead, decode, decode_connect, next_frame, write_ack,
        write_disconnect, write_publish_head,
    },
    packet::{Ack, AckKind, Incoming, PacketId, QoS, Version},
    reason::ReasonCode,
};

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(vec![Version::V4, Version::V5])
}

/// A packet as a client sends it.
fn packet(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let id = 1u16..6;
    let filter = prop::sample::select(vec!["a/#", "+/b", "$share/g/a/#", "a", "#/bad", ""]);
    let answer = prop::sample::select(vec![0x40, 0x50, 0x62, 0x70]);
    let reason = prop::sample::select(vec![0, 0x10, 0x80, 0x92]);
    prop_oneof![
        (any::<bool>(), 0u32..20, 1u16..4).prop_map(move |(clean, expiry, window)| wire::connect(
            version, "fuzz", clean, expiry, window
        )),
        (super::qos(), any::<[bool; 3]>(), id.clone(), prop::option::of(0u32..9)).prop_map(
            move |(qos, [retain, is_empty, dup], id, expiry)| {
                let message = Message {
                    number: 12345,
                    topic: "a/b",
                    qos,
                    retain,
                    is_empty,
                    expiry,
                    sent_at: 0,
                    sent_again_at: 0,
                    is_resent: false,
                    publisher: 0,
                    incarnation: 0,
                };
                wire::publish(version, &message, id, dup)
            }
        ),
        (answer, id.clone(), reason)
            .prop_map(move |(first, id, reason)| wire::ack(version, first, id, reason)),
        (id.clone(), filter.clone(), options())
            .prop_map(move |(id, filter, options)| wire::subscribe(version, id, filter, options)),
        (id, filter).prop_map(move |(id, filter)| wire::unsubscribe(version, id, filter)),
        Just(wire::packet(0xC0, &[])),
        Just(wire::packet(0xE0, &[])),
        Just(wire::packet(0xE0, &[0x04, 5, 0x11, 0, 0, 0, 9])),
        Just(wire::packet(0xF0, &[])),
        prop::collection::vec(any::<u8>(), 1..20),
    ]
}

#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
    /// The remaining length is put right, so that the damage is inside a complete frame.
    Mend,
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        at().prop_map(Damage::Remove),
        at().prop_map(Damage::Cut),
        Just(Damage::Mend),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.len() < 2 {
            break;
        }
        let length = bytes.len();
        match damage {
            Damage::Set(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Damage::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Damage::Remove(at) => drop(bytes.remove(at.index(length))),
            Damage::Cut(at) => bytes.truncate(at.index(length) + 1),
            Damage::Mend if length < 128 => bytes[1] = (length - 2) as u8,
            Damage::Mend => {}
        }
    }
    bytes
}

fn packets() -> impl Strategy<Value = (Version, Vec<Vec<u8>>)> {
    let one = |version| {
        let damages = prop_oneof![
            3 => Just(Vec::new()),
            2 => prop::collection::vec(damage(), 1..4),
        ];
        (packet(version), damages).prop_map(|(bytes, damages)| damaged(bytes, &damages))
    };
    version()
        .prop_flat_map(move |version| (Just(version), prop::collection::vec(one(version), 1..12)))
}

/// The frame that `bytes` begin with, cut from a stream in which more follows.
fn frame(bytes: &[u8]) -> Option<Result<Frame, CodecError>> {
    next_frame(&mut BytesMut::from(bytes), PACKET_SIZE_MAX).transpose()
}

fn written(packet: &Incoming, version: Version) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    match packet {
        Incoming::Publish(publish) => {
            let topic = std::str::from_utf8(&publish.topic).ok()?;
            let head = PublishHead {
                topic,
                topic_alias: publish.properties.topic_alias,
                qos: publish.qos,
                retain: publish.retain,
                dup: publish.dup,
                packet_id: publish.packet_id,
                forwarded: &publish.properties.forwarded,
                message_expiry: publish.properties.message_expiry,
                subscription_identifiers: &[],
                payload_len: publish.payload.len(),
            };
            assert_eq!(head.packet_len(version) - publish.payload.len(), {
                write_publish_head(&mut out, &head, version);
                out.len()
            });
            out.extend_from_slice(&publish.payload);
        }
        Incoming::Ack(Ack { kind, packet_id, reason }) => {
            write_ack(&mut out, version, *kind, *packet_id, *reason, None, usize::MAX);
        }
        Incoming::Disconnect(goodbye) if goodbye.session_expiry.is_none() => {
            if version == Version::V4 {
                return None;
            }
            write_disconnect(&mut out, goodbye.reason, None);
        }
        _ => return None,
    }
    Some(out)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_codec_takes_anything((version, packets) in packets()) {
        for bytes in packets {
            let Some(found) = frame(&bytes) else {
                // More bytes are needed: that stays so for every part of them.
                let shorter = &bytes[..bytes.len() - 1];
                prop_assert!(frame(shorter).is_none());
                continue;
            };
            let longer = [&bytes[..], &[0x30, 0, 0xFF]].concat();
            let Ok(found) = found else {
                prop_assert!(frame(&longer).is_some_and(|again| again.is_err()));
                continue;
            };
            let again = frame(&longer).and_then(Result::ok).expect("the same frame");
            let decoded = decode(found.clone(), version);
            prop_assert_eq!(&decoded, &decode(again.clone(), version));
            prop_assert_eq!(decode_connect(found), decode_connect(again));
            if let Ok(packet) = decoded
                && let Some(bytes) = written(&packet, version)
            {
                let back = frame(&bytes).and_then(Result::ok).expect("a frame");
                prop_assert_eq!(decode(back, version), Ok(packet));
            }
        }
    }

    #[test]
    fn a_connection_takes_anything((version, packets) in packets(), cuts in any::<[u8; 4]>()) {
        let mut world = World::new();
        let mut pipe = world.open();
        write(&mut pipe, &wire::connect(version, "fuzz", false, 100, 3));
        world.run();
        while world.commit(usize::MAX) {}
        let bytes = packets.concat();
        let parts = bytes.chunks(usize::from(cuts[0] % 60) + 1);
        for (n, part) in parts.enumerate() {
            write(&mut pipe, part);
            world.run();
            if cuts[n % cuts.len()] % 3 == 0 {
                world.commit(1);
            }
        }
        while world.commit(usize::MAX) {}
        let mut heard = Vec::new();
        read(&mut pipe, &mut heard);
        prop_assert!(heard.starts_with(&[0x20]), "no CONNACK");
        while wire::next(&mut heard, version).is_some() {}
        prop_assert!(heard.is_empty(), "half a packet: {heard:?}");
        drop(pipe);
        world.run();
        while world.commit(usize::MAX) {}
        // The broker serves others as ever.
        let mut other = world.open();
        write(&mut other, &wire::connect(Version::V5, "other", true, 0, 1));
        world.run();
        while world.commit(usize::MAX) {}
        let mut heard = Vec::new();
        prop_assert!(read(&mut other, &mut heard));
        prop_assert!(heard.starts_with(&[0x20]));
    }

    #[test]
    fn what_is_not_a_connect_ends_the_connection((_, packets) in packets()) {
        let mut world = World::new();
        let mut pipe = world.open();
        let bytes = packets.concat();
        write(&mut pipe, &bytes);
        world.run();
        while world.commit(usize::MAX) {}
        let mut heard = Vec::new();
        let is_open = read(&mut pipe, &mut heard);
        let is_incomplete = frame(&bytes).is_none();
        prop_assert!(!is_open || is_incomplete || heard.starts_with(&[0x20]));
    }

    #[test]
    fn a_publish_is_read_as_it_was_written(
        version in version(),
        topic in "[a-zé/]{1,40}",
        payload in prop::collection::vec(any::<u8>(), 0..300),
        qos in super::qos(),
        flags in any::<[bool; 2]>(),
        expiry in prop::option::of(any::<u32>()),
        id in any::<PacketId>(),
    ) {
        let head = PublishHead {
            topic: &topic,
            topic_alias: None,
            qos,
            retain: flags[0],
            dup: flags[1] && qos != QoS::AtMostOnce,
            packet_id: (qos != QoS::AtMostOnce).then_some(id),
            forwarded: &[],
            message_expiry: expiry,
            subscription_identifiers: &[],
            payload_len: payload.len(),
        };
        let mut bytes = BytesMut::new();
        write_publish_head(&mut bytes, &head, version);
        bytes.extend_from_slice(&payload);
        let found = frame(&bytes).and_then(Result::ok).expect("a frame");
        let Ok(Incoming::Publish(publish)) = decode(found, version) else {
            panic!("not a PUBLISH");
        };
        prop_assert_eq!(publish.topic, topic.as_bytes());
        prop_assert_eq!(publish.payload, Bytes::from(payload));
        prop_assert_eq!((publish.qos, publish.packet_id), (qos, head.packet_id));
        prop_assert_eq!((publish.retain, publish.dup), (head.retain, head.dup));
        let expected = expiry.filter(|_| version == Version::V5);
        prop_assert_eq!(publish.properties.message_expiry, expected);
    }
}

#[test]
fn an_acknowledgement_is_read_as_it_was_written() {
    let id = PacketId::MIN;
    for version in [Version::V4, Version::V5] {
        for kind in [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp] {
            let packet = Incoming::Ack(Ack { kind, packet_id: id, reason: ReasonCode::SUCCESS });
            let bytes = written(&packet, version).expect("it is written");
            let found = frame(&bytes).and_then(Result::ok).expect("a frame");
            assert_eq!(decode(found, version), Ok(packet));
        }
    }
}
