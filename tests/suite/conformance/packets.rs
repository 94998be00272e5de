//! Packets of both versions with all their parts: CONNECT, PUBLISH, SUBSCRIBE and UNSUBSCRIBE to be
//! sent, and what the broker answers. `level` is the protocol level: 4 is MQTT 3.1.1, 5 is 5.0.

use super::property::{Cursor, Property, list};
use crate::{
    harness::Brooklet,
    wire::{Client, Packet, binary, packet, text},
};

/// Protocol levels of the versions that the broker speaks.
pub(crate) const BOTH: [u8; 2] = [4, 5];

pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const DUP: u8 = 0b1000;

/// Reason codes that a server's DISCONNECT may have (MQTT 5.0 table 3-13).
const SERVERS_DISCONNECT_REASONS: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

#[derive(Debug, Clone)]
pub(crate) struct Connect {
    pub(crate) level: u8,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: u16,
    pub(crate) properties: Vec<Property>,
    pub(crate) client_id: String,
    pub(crate) will: Option<Will>,
}

#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<Property>,
}

pub(crate) fn will(topic: &str) -> Will {
    let (topic, payload) = (topic.to_owned(), b"gone".to_vec());
    Will { topic, payload, qos: 0, retain: false, properties: vec![] }
}

impl Connect {
    pub(crate) fn new(level: u8, client_id: &str) -> Self {
        Self {
            level,
            clean_start: true,
            keep_alive: 60,
            properties: vec![],
            client_id: client_id.to_owned(),
            will: None,
        }
    }

    /// Resumes its session, which outlives the connection.
    pub(crate) fn lasting(level: u8, client_id: &str) -> Self {
        let connect = Self { clean_start: false, ..Self::new(level, client_id) };
        if level == 5 { connect.with(Property::SessionExpiryInterval(60)) } else { connect }
    }

    pub(crate) fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    pub(crate) fn will(self, will: Will) -> Self {
        Self { will: Some(will), ..self }
    }

    pub(crate) fn keep_alive(self, keep_alive: u16) -> Self {
        Self { keep_alive, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean_start) << 1;
        let mut payload = text(&self.client_id);
        if let Some(will) = &self.will {
            flags |= 0b100 | will.qos << 3 | u8::from(will.retain) << 5;
            if self.level == 5 {
                payload.extend(list(&will.properties));
            }
            payload.extend(text(&will.topic));
            payload.extend(binary(&will.payload));
        }
        let mut body = text("MQTT");
        body.extend([self.level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.level == 5 {
            body.extend(list(&self.properties));
        }
        body.extend(payload);
        packet(0x10, &body)
    }

    /// Connects; the CONNECT must be accepted.
    pub(crate) async fn open(&self, brooklet: &Brooklet) -> (Client, Connack) {
        let (client, connack) = self.attempt(brooklet).await;
        let connack = connack.expect("a CONNACK");
        assert_eq!(connack.reason, 0, "{connack:?}");
        (client, connack)
    }

    pub(crate) async fn client(&self, brooklet: &Brooklet) -> Client {
        self.open(brooklet).await.0
    }

    pub(crate) async fn attempt(&self, brooklet: &Brooklet) -> (Client, Option<Connack>) {
        attempt(brooklet, self.level, &self.bytes()).await
    }
}

/// Sends a first packet and gives the CONNACK, if one comes.
pub(crate) async fn attempt(
    brooklet: &Brooklet,
    level: u8,
    bytes: &[u8],
) -> (Client, Option<Connack>) {
    let mut client = Client::raw(brooklet.mqtt).await;
    client.is_v5 = level == 5;
    client.send(bytes).await;
    let connack = client.packet().await.map(|packet| Connack::parse(&packet, level));
    (client, connack)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connack {
    pub(crate) session_present: bool,
    pub(crate) reason: u8,
    pub(crate) properties: Vec<Property>,
}

impl Connack {
    fn parse(packet: &Packet, level: u8) -> Self {
        assert_eq!(packet.first, 0x20, "{packet:x?}");
        let mut body = Cursor(&packet.body);
        let (flags, reason) = (body.u8(), body.u8());
        assert!(flags <= 1, "reserved flags: {flags:b}");
        let properties = if level == 5 { body.properties() } else { vec![] };
        assert!(body.0.is_empty(), "{packet:x?}");
        Self { session_present: flags == 1, reason, properties }
    }

    /// The refusal that a CONNECT with this level gets for `reason`.
    pub(crate) fn is_refusal(&self, reason: u8) -> bool {
        self.reason == reason && !self.session_present
    }
}

/// A PUBLISH from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    /// 0 for QoS 0.
    pub(crate) id: u16,
    pub(crate) properties: Vec<Property>,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn parse(packet: &Packet, is_v5: bool) -> Self {
        let first = packet.first;
        assert_eq!(first >> 4, 3, "{packet:x?}");
        let qos = first >> 1 & 3;
        let mut body = Cursor(&packet.body);
        let topic = body.string();
        let id = if qos > 0 { body.u16() } else { 0 };
        let properties = if is_v5 { body.properties() } else { vec![] };
        Self {
            dup: first & DUP != 0,
            qos,
            retain: first & 1 != 0,
            topic,
            id,
            properties,
            payload: body.0.to_vec(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// An acknowledgement, SUBACK or UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) first: u8,
    pub(crate) id: u16,
    pub(crate) codes: Vec<u8>,
    pub(crate) properties: Vec<Property>,
}

/// A PUBLISH of a 5.0 client; `first` is the first byte of the fixed header.
pub(crate) fn publish5(
    first: u8,
    topic: &str,
    id: u16,
    properties: &[Property],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    if first & 0b110 != 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(list(properties));
    body.extend(payload);
    packet(first, &body)
}

pub(crate) fn ack(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

/// An acknowledgement of a 5.0 client with a reason code.
pub(crate) fn ack5(first: u8, id: u16, reason: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    packet(first, &[high, low, reason])
}

impl Client {
    pub(crate) async fn delivery(&mut self) -> Message {
        Message::parse(&self.packet().await.expect("a PUBLISH"), self.is_v5)
    }

    /// Whatever waits to be delivered: all that comes before two PINGREQs, one after the other, are
    /// answered, for the reason that `is_quiet` has.
    pub(crate) async fn deliveries(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        for _ in 0..2 {
            self.send(&[0xC0, 0]).await;
            loop {
                let packet = self.packet().await.expect("a PINGRESP");
                if packet.first == 0xD0 {
                    break;
                }
                messages.push(Message::parse(&packet, self.is_v5));
            }
        }
        messages
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let Packet { first, body } = self.packet().await.expect("an answer");
        let mut body = Cursor(&body);
        let id = body.u16();
        match first {
            0x90 | 0xB0 => {
                let properties = if self.is_v5 { body.properties() } else { vec![] };
                Answer { first, id, codes: body.0.to_vec(), properties }
            }
            PUBACK | PUBREC | PUBREL | PUBCOMP => {
                let count = body.0.len().min(1);
                let codes = body.take(count).to_vec();
                let properties = if body.0.is_empty() { vec![] } else { body.properties() };
                Answer { first, id, codes, properties }
            }
            other => panic!("no answer: {other:x} {:x?}", body.0),
        }
    }

    /// Subscribes to filters with their options.
    pub(crate) async fn subscribe_all(
        &mut self,
        properties: &[Property],
        filters: &[(&str, u8)],
    ) -> Answer {
        let id = self.next_id();
        let mut body = id.to_be_bytes().to_vec();
        if self.is_v5 {
            body.extend(list(properties));
        }
        for (filter, options) in filters {
            body.extend(text(filter));
            body.push(*options);
        }
        self.send(&packet(0x82, &body)).await;
        let suback = self.answer().await;
        assert_eq!((suback.first, suback.id), (0x90, id));
        suback
    }

    pub(crate) async fn unsubscribe_all(&mut self, filters: &[&str]) -> Answer {
        let id = self.next_id();
        let mut body = id.to_be_bytes().to_vec();
        if self.is_v5 {
            body.push(0);
        }
        for filter in filters {
            body.extend(text(filter));
        }
        self.send(&packet(0xA2, &body)).await;
        let unsuback = self.answer().await;
        assert_eq!((unsuback.first, unsuback.id), (0xB0, id));
        unsuback
    }

    /// The acknowledgement's reason code; 0 where it is left out.
    pub(crate) async fn reason_of(&mut self, first: u8, id: u16) -> u8 {
        let answer = self.answer().await;
        assert_eq!((answer.first, answer.id), (first, id), "{answer:?}");
        assert!(answer.properties.is_empty(), "{answer:?}");
        answer.codes.first().copied().unwrap_or(0)
    }

    /// The next packet must be this acknowledgement, with success.
    pub(crate) async fn expect_ack(&mut self, first: u8, id: u16) {
        assert_eq!(self.reason_of(first, id).await, 0);
    }

    /// Acknowledges a delivery to the end.
    pub(crate) async fn complete(&mut self, message: &Message) {
        match message.qos {
            1 => self.send(&ack(PUBACK, message.id)).await,
            2 => {
                self.send(&ack(PUBREC, message.id)).await;
                self.expect_ack(PUBREL, message.id).await;
                self.send(&ack(PUBCOMP, message.id)).await;
            }
            _ => {}
        }
    }

    /// Publishes a payload at a QoS, through all of its acknowledgements.
    pub(crate) async fn publish_at(&mut self, qos: u8, topic: &str, payload: &str) {
        match qos {
            0 => self.publish_qos0(topic, payload).await,
            1 => assert_eq!(self.publish(topic, payload).await.reason, 0),
            _ => assert_eq!(self.publish_qos2(topic, payload).await.reason, 0),
        }
    }

    /// Publishes a retained payload at QoS 1.
    pub(crate) async fn retain(&mut self, topic: &str, payload: &str) {
        let id = self.next_id();
        let bytes = self.publish_packet(0x33, topic, id, payload.as_bytes());
        self.send(&bytes).await;
        self.expect_ack(PUBACK, id).await;
    }

    /// Says DISCONNECT and waits until the broker has done with the connection.
    pub(crate) async fn leave(mut self) {
        self.send(&packet(0xE0, &[])).await;
        assert!(self.packet().await.is_none());
    }

    /// The broker closes with this reason where the version has a DISCONNECT for it.
    pub(crate) async fn expect_end(&mut self, reason: u8) {
        assert!(SERVERS_DISCONNECT_REASONS.contains(&reason));
        let expected = self.is_v5.then_some(reason);
        assert_eq!(self.goodbye().await, expected);
        assert!(self.packet().await.is_none(), "closed after its last word");
    }
}
