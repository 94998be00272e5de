//! Property lists (MQTT 5.0 §2.2.2): what belongs in which packet, once or many times, with which
//! values; and a list that is not one.

use super::{
    packets::{Connect, attempt, publish5, will},
    property::{Property as P, list, user},
};
use crate::{
    harness::Brooklet,
    wire::{binary, packet, text},
};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;

fn s(text: &str) -> String {
    text.to_owned()
}

/// One of every kind, each with a legal value.
fn every() -> Vec<P> {
    vec![
        P::PayloadFormatIndicator(1),
        P::MessageExpiryInterval(60),
        P::ContentType(s("t")),
        P::ResponseTopic(s("t")),
        P::CorrelationData(vec![1]),
        P::SubscriptionIdentifier(1),
        P::SessionExpiryInterval(0),
        P::AssignedClientIdentifier(s("i")),
        P::ServerKeepAlive(1),
        P::AuthenticationMethod(s("m")),
        P::AuthenticationData(vec![1]),
        P::RequestProblemInformation(1),
        P::WillDelayInterval(0),
        P::RequestResponseInformation(1),
        P::ResponseInformation(s("r")),
        P::ServerReference(s("s")),
        P::ReasonString(s("r")),
        P::ReceiveMaximum(9),
        P::TopicAliasMaximum(1),
        P::TopicAlias(1),
        P::MaximumQos(1),
        P::RetainAvailable(1),
        user("a", "b"),
        P::MaximumPacketSize(1000),
        P::WildcardSubscriptionAvailable(1),
        P::SubscriptionIdentifierAvailable(1),
        P::SharedSubscriptionAvailable(1),
    ]
}

/// A packet a client sends, how it carries a list, and the identifiers that it may carry.
type Carrier = (&'static str, fn(&[u8]) -> Vec<u8>, &'static [u8]);

const CARRIERS: [Carrier; 8] = [
    ("PUBLISH", |l| packet(0x30, &[&text("a"), l].concat()), &[1, 2, 3, 8, 9, 11, 35, 38]),
    ("PUBACK", |l| packet(0x40, &[&[0, 1, 0], l].concat()), &[31, 38]),
    ("PUBREC", |l| packet(0x50, &[&[0, 1, 0], l].concat()), &[31, 38]),
    ("PUBREL", |l| packet(0x62, &[&[0, 1, 0], l].concat()), &[31, 38]),
    ("PUBCOMP", |l| packet(0x70, &[&[0, 1, 0], l].concat()), &[31, 38]),
    ("SUBSCRIBE", |l| packet(0x82, &[&[0, 1], l, &text("a"), &[0]].concat()), &[11, 38]),
    ("UNSUBSCRIBE", |l| packet(0xA2, &[&[0, 1], l, &text("a")].concat()), &[38]),
    ("DISCONNECT", |l| packet(0xE0, &[&[0], l].concat()), &[17, 31, 38]),
];

const IN_CONNECT: &[u8] = &[17, 21, 22, 23, 25, 33, 34, 38, 39];
const IN_WILL: &[u8] = &[1, 2, 3, 8, 9, 24, 38];

/// Sends the packet and gives the reason of the broker's DISCONNECT; `None` when it sends none.
async fn reason(brooklet: &Brooklet, bytes: &[u8]) -> Option<u8> {
    let mut client = brooklet.connect("c").await;
    client.send(bytes).await;
    if bytes[0] == 0xE0 {
        return client.goodbye().await;
    }
    client.send(&packet(0xC0, &[])).await;
    while let Some(packet) = client.packet().await {
        match packet.first {
            0xE0 => return Some(packet.body[0]),
            0xD0 => return None,
            _ => {}
        }
    }
    panic!("closed without a word: {bytes:x?}");
}

fn connect_with(properties: &[u8], will_properties: &[u8]) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([5, 2 | 4, 0, 60]);
    body.extend(properties);
    body.extend(text("c"));
    body.extend(will_properties);
    body.extend([text("w"), binary(b"w")].concat());
    packet(0x10, &body)
}

async fn refusal(brooklet: &Brooklet, connect: &[u8]) -> u8 {
    attempt(brooklet, 5, connect).await.1.unwrap().reason
}

#[tokio::test]
async fn a_property_belongs_in_its_packets_only() {
    let brooklet = Brooklet::start().await;
    for (name, carry, legal) in CARRIERS {
        for property in every() {
            let id = property.encode()[0];
            let expected = match (name, id) {
                ("PUBLISH", 11) => Some(PROTOCOL_ERROR),
                _ => (!legal.contains(&id)).then_some(MALFORMED),
            };
            let bytes = carry(&list(&[property]));
            assert_eq!(reason(&brooklet, &bytes).await, expected, "{id} in {name}");
        }
    }
    for property in every() {
        let (id, list) = (property.encode()[0], list(&[property]));
        let expected = match id {
            21 => 0x8C,
            22 => PROTOCOL_ERROR,
            id if IN_CONNECT.contains(&id) => 0,
            _ => MALFORMED,
        };
        assert_eq!(refusal(&brooklet, &connect_with(&list, &[0])).await, expected, "{id}");
        let expected = if IN_WILL.contains(&id) { 0 } else { MALFORMED };
        assert_eq!(
            refusal(&brooklet, &connect_with(&[0], &list)).await,
            expected,
            "{id} in a will"
        );
    }
}

#[tokio::test]
async fn a_property_stands_once_but_the_users_own() {
    let brooklet = Brooklet::start().await;
    for (name, carry, legal) in CARRIERS {
        for property in every() {
            let id = property.encode()[0];
            if !legal.contains(&id) {
                continue;
            }
            let twice = carry(&list(&[property.clone(), user("x", "y"), property]));
            let expected = (id != 38).then_some(PROTOCOL_ERROR);
            assert_eq!(reason(&brooklet, &twice).await, expected, "{id} in {name}");
        }
    }
    for property in every() {
        let id = property.encode()[0];
        let twice = list(&[property.clone(), property]);
        let expected = if id == 38 { 0 } else { PROTOCOL_ERROR };
        if IN_CONNECT.contains(&id) {
            assert_eq!(refusal(&brooklet, &connect_with(&twice, &[0])).await, expected, "{id}");
        }
        if IN_WILL.contains(&id) {
            assert_eq!(refusal(&brooklet, &connect_with(&[0], &twice)).await, expected, "{id}");
        }
    }
}

#[tokio::test]
async fn a_property_has_a_legal_value() {
    let brooklet = Brooklet::start().await;
    for property in [
        P::PayloadFormatIndicator(2),
        P::ResponseTopic(s("a/#")),
        P::ResponseTopic(s("+")),
        P::ResponseTopic(s("")),
    ] {
        let publish = publish5(0x30, "a", 0, std::slice::from_ref(&property), b"x");
        assert_eq!(reason(&brooklet, &publish).await, Some(PROTOCOL_ERROR), "{property:?}");
        let will = connect_with(&[0], &list(std::slice::from_ref(&property)));
        assert_eq!(refusal(&brooklet, &will).await, PROTOCOL_ERROR, "{property:?}");
    }
    let (_, subscribe, _) = CARRIERS[5];
    let zero = subscribe(&list(&[P::SubscriptionIdentifier(0)]));
    assert_eq!(reason(&brooklet, &zero).await, Some(PROTOCOL_ERROR));
    for property in [
        P::ReceiveMaximum(0),
        P::MaximumPacketSize(0),
        P::RequestProblemInformation(2),
        P::RequestResponseInformation(2),
    ] {
        let connect = connect_with(&list(std::slice::from_ref(&property)), &[0]);
        assert_eq!(refusal(&brooklet, &connect).await, PROTOCOL_ERROR, "{property:?}");
    }
}

#[tokio::test]
async fn strings_in_properties_are_utf8() {
    let brooklet = Brooklet::start().await;
    let good = text("x");
    for bad in [&b"\xFF"[..], b"\xED\xA0\x80", b"a\0"] {
        let bad = binary(bad);
        let property = |id: u8, parts: &[&[u8]]| {
            let encoded = [&[id][..], &parts.concat()].concat();
            [&[encoded.len() as u8][..], &encoded].concat()
        };
        for (name, carry, legal) in CARRIERS {
            for id in [3, 8, 31] {
                if legal.contains(&id) {
                    let bytes = carry(&property(id, &[&bad]));
                    assert_eq!(reason(&brooklet, &bytes).await, Some(MALFORMED), "{id} in {name}");
                }
            }
            for pair in [[&bad[..], &good], [&good, &bad]] {
                let bytes = carry(&property(38, &pair));
                assert_eq!(reason(&brooklet, &bytes).await, Some(MALFORMED), "38 in {name}");
            }
        }
        for pair in [[&bad[..], &good], [&good, &bad]] {
            let list = property(38, &pair);
            assert_eq!(refusal(&brooklet, &connect_with(&list, &[0])).await, MALFORMED);
            assert_eq!(refusal(&brooklet, &connect_with(&[0], &list)).await, MALFORMED);
        }
        let method = property(21, &[&bad]);
        assert_eq!(refusal(&brooklet, &connect_with(&method, &[0])).await, MALFORMED);
    }
}

#[tokio::test]
async fn a_list_is_as_long_as_it_says() {
    let brooklet = Brooklet::start().await;
    for (name, carry, _) in CARRIERS {
        for broken in [
            // An identifier that does not exist, one of two bytes, and lists cut in mid-value.
            &[2, 100, 0][..],
            &[3, 0xA6, 0, 0],
            &[1, 38],
            &[4, 38, 0, 1, b'a'],
            &[6, 38, 0, 1, b'a', 0, 9],
            &[200],
            &[0xFF, 0xFF, 0xFF, 0xFF, 1],
        ] {
            let bytes = carry(broken);
            assert_eq!(reason(&brooklet, &bytes).await, Some(MALFORMED), "{name} {broken:x?}");
        }
    }
    for broken in [&[2, 100, 0][..], &[1, 38], &[2, 33, 0], &[250, 1]] {
        assert_eq!(refusal(&brooklet, &connect_with(broken, &[0])).await, MALFORMED);
        assert_eq!(refusal(&brooklet, &connect_with(&[0], broken)).await, MALFORMED);
    }
}

#[tokio::test]
async fn user_properties_are_taken_everywhere() {
    let brooklet = Brooklet::start().await;
    let many = [user("", ""), user("a", "1"), user("a", "2"), user("温", "度")];
    for (name, carry, _) in CARRIERS {
        assert_eq!(reason(&brooklet, &carry(&list(&many))).await, None, "{name}");
    }
    let mut connect = Connect::new(5, "c").will(will("w"));
    connect.properties = many.to_vec();
    connect.client(&brooklet).await;
}
