//! Properties (MQTT 5.0 §2.2.2) to bytes and back. Writes what a test asks for, illegal values and
//! wrong places included; what comes from the broker must be well-formed.

use crate::wire::{binary, text};

#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the specification's names")]
pub(crate) enum Property {
    PayloadFormatIndicator(u8),
    MessageExpiryInterval(u32),
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(Vec<u8>),
    SubscriptionIdentifier(u32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(String),
    ServerKeepAlive(u16),
    AuthenticationMethod(String),
    AuthenticationData(Vec<u8>),
    RequestProblemInformation(u8),
    WillDelayInterval(u32),
    RequestResponseInformation(u8),
    ResponseInformation(String),
    ServerReference(String),
    ReasonString(String),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(u8),
    RetainAvailable(u8),
    UserProperty(String, String),
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(u8),
    SubscriptionIdentifierAvailable(u8),
    SharedSubscriptionAvailable(u8),
}

use Property as P;

pub(crate) fn user(name: &str, value: &str) -> Property {
    P::UserProperty(name.to_owned(), value.to_owned())
}

pub(crate) fn variable_integer(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return out;
        }
    }
}

/// A property list with its length before it.
pub(crate) fn list(properties: &[Property]) -> Vec<u8> {
    let encoded: Vec<u8> = properties.iter().flat_map(Property::encode).collect();
    [variable_integer(encoded.len()), encoded].concat()
}

impl Property {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let id = self.identifier();
        let value = match self {
            P::PayloadFormatIndicator(bit)
            | P::RequestProblemInformation(bit)
            | P::RequestResponseInformation(bit)
            | P::MaximumQos(bit)
            | P::RetainAvailable(bit)
            | P::WildcardSubscriptionAvailable(bit)
            | P::SubscriptionIdentifierAvailable(bit)
            | P::SharedSubscriptionAvailable(bit) => vec![*bit],
            P::ServerKeepAlive(number)
            | P::ReceiveMaximum(number)
            | P::TopicAliasMaximum(number)
            | P::TopicAlias(number) => number.to_be_bytes().to_vec(),
            P::MessageExpiryInterval(number)
            | P::SessionExpiryInterval(number)
            | P::WillDelayInterval(number)
            | P::MaximumPacketSize(number) => number.to_be_bytes().to_vec(),
            P::SubscriptionIdentifier(number) => variable_integer(*number as usize),
            P::CorrelationData(data) | P::AuthenticationData(data) => binary(data),
            P::UserProperty(name, value) => [text(name), text(value)].concat(),
            P::ContentType(string)
            | P::ResponseTopic(string)
            | P::AssignedClientIdentifier(string)
            | P::AuthenticationMethod(string)
            | P::ResponseInformation(string)
            | P::ServerReference(string)
            | P::ReasonString(string) => text(string),
        };
        [vec![id], value].concat()
    }

    fn identifier(&self) -> u8 {
        match self {
            P::PayloadFormatIndicator(_) => 1,
            P::MessageExpiryInterval(_) => 2,
            P::ContentType(_) => 3,
            P::ResponseTopic(_) => 8,
            P::CorrelationData(_) => 9,
            P::SubscriptionIdentifier(_) => 11,
            P::SessionExpiryInterval(_) => 17,
            P::AssignedClientIdentifier(_) => 18,
            P::ServerKeepAlive(_) => 19,
            P::AuthenticationMethod(_) => 21,
            P::AuthenticationData(_) => 22,
            P::RequestProblemInformation(_) => 23,
            P::WillDelayInterval(_) => 24,
            P::RequestResponseInformation(_) => 25,
            P::ResponseInformation(_) => 26,
            P::ServerReference(_) => 28,
            P::ReasonString(_) => 31,
            P::ReceiveMaximum(_) => 33,
            P::TopicAliasMaximum(_) => 34,
            P::TopicAlias(_) => 35,
            P::MaximumQos(_) => 36,
            P::RetainAvailable(_) => 37,
            P::UserProperty(..) => 38,
            P::MaximumPacketSize(_) => 39,
            P::WildcardSubscriptionAvailable(_) => 40,
            P::SubscriptionIdentifierAvailable(_) => 41,
            P::SharedSubscriptionAvailable(_) => 42,
        }
    }
}

/// Takes a packet's body apart from the front.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    /// Fails on an encoding that is not the shortest.
    fn variable_integer(&mut self) -> u32 {
        let before = self.0;
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.u8();
            value |= u32::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        assert!(before.starts_with(&variable_integer(value as usize)), "{before:x?}");
        value
    }

    fn binary(&mut self) -> Vec<u8> {
        let length = usize::from(self.u16());
        self.take(length).to_vec()
    }

    pub(crate) fn string(&mut self) -> String {
        String::from_utf8(self.binary()).unwrap()
    }

    pub(crate) fn properties(&mut self) -> Vec<Property> {
        let length = self.variable_integer() as usize;
        let mut list = Cursor(self.take(length));
        let mut properties = Vec::new();
        while !list.0.is_empty() {
            properties.push(list.property());
        }
        properties
    }

    fn property(&mut self) -> Property {
        match self.u8() {
            1 => P::PayloadFormatIndicator(self.u8()),
            2 => P::MessageExpiryInterval(self.u32()),
            3 => P::ContentType(self.string()),
            8 => P::ResponseTopic(self.string()),
            9 => P::CorrelationData(self.binary()),
            11 => P::SubscriptionIdentifier(self.variable_integer()),
            17 => P::SessionExpiryInterval(self.u32()),
            18 => P::AssignedClientIdentifier(self.string()),
            19 => P::ServerKeepAlive(self.u16()),
            21 => P::AuthenticationMethod(self.string()),
            22 => P::AuthenticationData(self.binary()),
            26 => P::ResponseInformation(self.string()),
            28 => P::ServerReference(self.string()),
            31 => P::ReasonString(self.string()),
            33 => P::ReceiveMaximum(self.u16()),
            34 => P::TopicAliasMaximum(self.u16()),
            35 => P::TopicAlias(self.u16()),
            36 => P::MaximumQos(self.u8()),
            37 => P::RetainAvailable(self.u8()),
            38 => P::UserProperty(self.string(), self.string()),
            39 => P::MaximumPacketSize(self.u32()),
            40 => P::WildcardSubscriptionAvailable(self.u8()),
            41 => P::SubscriptionIdentifierAvailable(self.u8()),
            42 => P::SharedSubscriptionAvailable(self.u8()),
            other => panic!("a server sends no property {other}"),
        }
    }
}
