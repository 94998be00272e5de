//! A small MQTT client that says exactly what a test wants said, and shows every byte that comes.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// Whatever MQTT is spoken over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
    pub(crate) is_v5: bool,
    next_id: u16,
}

/// A packet as it came: its first byte and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

/// An acknowledgement, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) first: u8,
    pub(crate) id: u16,
    pub(crate) reason: u8,
    /// The text of its properties, unparsed.
    pub(crate) properties: String,
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u16).to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7F) as u8;
        length >>= 7;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

/// A CONNECT. `flags` without user name and password.
pub(crate) fn connect(
    level: u8,
    flags: u8,
    keep_alive: u16,
    properties: &[u8],
    client_id: &str,
) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([level, flags]);
    body.extend(keep_alive.to_be_bytes());
    if level == 5 {
        body.push(properties.len() as u8);
        body.extend(properties);
    }
    body.extend(text(client_id));
    packet(0x10, &body)
}

/// A CONNECT with a clean start that logs in. `None`: without that field.
pub(crate) fn login(
    level: u8,
    client_id: &str,
    user: Option<&str>,
    password: Option<&str>,
) -> Vec<u8> {
    let flags = 2 | u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6;
    let mut body = text("MQTT");
    body.extend([level, flags, 0, 60]);
    if level == 5 {
        body.push(0);
    }
    for field in [Some(client_id), user, password].into_iter().flatten() {
        body.extend(text(field));
    }
    packet(0x10, &body)
}

impl Client {
    pub(crate) async fn raw(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// Over a stream that is open already.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: BufReader::new(Box::new(stream)), is_v5: true, next_id: 1 }
    }

    /// Sends a CONNECT and gives the CONNACK's return or reason code; `None`: closed without one.
    pub(crate) async fn log_in(&mut self, connect: &[u8]) -> Option<u8> {
        if !self.try_send(connect).await {
            return None;
        }
        let connack = self.packet().await?;
        assert_eq!(connack.first, 0x20);
        Some(connack.body[1])
    }

    pub(crate) async fn v5(address: SocketAddr, client_id: &str) -> Self {
        Self::open(address, connect(5, 2, 60, &[], client_id), true).await.0
    }

    pub(crate) async fn v4(address: SocketAddr, client_id: &str) -> Self {
        Self::open(address, connect(4, 2, 60, &[], client_id), false).await.0
    }

    /// Sends a CONNECT and gives the CONNACK, which must be a success.
    pub(crate) async fn open(address: SocketAddr, connect: Vec<u8>, is_v5: bool) -> (Self, Packet) {
        let mut client = Self::raw(address).await;
        client.is_v5 = is_v5;
        client.send(&connect).await;
        let connack = client.packet().await.expect("a CONNACK");
        assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
        (client, connack)
    }

    /// As `open`, of a 5.0 client; `None` when the broker is gone.
    pub(crate) async fn try_open(address: SocketAddr, connect: Vec<u8>) -> Option<(Self, Packet)> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut client = Self::over(stream);
        client.try_send(&connect).await.then_some(())?;
        let connack = client.packet().await?;
        assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
        Some((client, connack))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// `false` when the connection is gone.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// The next packet; `None` when the broker has closed the connection.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        let read = async {
            let first = self.stream.read_u8().await.ok()?;
            let (mut length, mut shift) = (0usize, 0);
            loop {
                let byte = self.stream.read_u8().await.ok()?;
                length |= usize::from(byte & 0x7F) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Packet { first, body })
        };
        timeout(super::harness::PATIENCE, read).await.expect("a packet or the end in time")
    }

    /// Whether nothing comes for a moment: PINGREQ is answered first. Twice, because the broker may
    /// read the first one together with the packet before it, and answers what it reads before it
    /// delivers what that brought about.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        for _ in 0..2 {
            self.send(&[0xC0, 0]).await;
            if self.packet().await != Some(Packet { first: 0xD0, body: vec![] }) {
                return false;
            }
        }
        true
    }

    pub(crate) fn next_id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(crate) fn publish_packet(
        &self,
        first: u8,
        topic: &str,
        id: u16,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut body = text(topic);
        if first & 0b110 != 0 {
            body.extend(id.to_be_bytes());
        }
        if self.is_v5 {
            body.push(0);
        }
        body.extend(payload);
        packet(first, &body)
    }

    /// Publishes at QoS 1 and gives the PUBACK.
    pub(crate) async fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Acked {
        let id = self.next_id();
        let bytes = self.publish_packet(0x32, topic, id, payload.as_ref());
        self.send(&bytes).await;
        let acked = self.ack().await;
        assert_eq!((acked.first, acked.id), (0x40, id));
        acked
    }

    pub(crate) async fn publish_qos0(&mut self, topic: &str, payload: impl AsRef<[u8]>) {
        let bytes = self.publish_packet(0x30, topic, 0, payload.as_ref());
        self.send(&bytes).await;
    }

    /// Publishes at QoS 2, through PUBREC, PUBREL and PUBCOMP; gives the PUBREC.
    pub(crate) async fn publish_qos2(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Acked {
        let id = self.next_id();
        let bytes = self.publish_packet(0x34, topic, id, payload.as_ref());
        self.send(&bytes).await;
        let received = self.ack().await;
        assert_eq!((received.first, received.id), (0x50, id));
        if received.reason < 0x80 {
            self.send(&packet(0x62, &id.to_be_bytes())).await;
            let complete = self.ack().await;
            assert_eq!((complete.first, complete.id, complete.reason), (0x70, id, 0));
        }
        received
    }

    pub(crate) async fn ack(&mut self) -> Acked {
        let Packet { first, body } = self.packet().await.expect("an acknowledgement");
        Acked {
            first,
            id: u16::from_be_bytes([body[0], body[1]]),
            reason: body.get(2).copied().unwrap_or(0),
            properties: String::from_utf8_lossy(body.get(4..).unwrap_or(&[])).into_owned(),
        }
    }

    /// Subscribes and gives the reason code.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let id = self.next_id();
        let mut body = id.to_be_bytes().to_vec();
        if self.is_v5 {
            body.push(0);
        }
        body.extend(text(filter));
        body.push(qos);
        self.send(&packet(0x82, &body)).await;
        let suback = self.packet().await.expect("a SUBACK");
        assert_eq!(suback.first, 0x90);
        *suback.body.last().unwrap()
    }

    /// The next message: first byte, topic, packet id, payload.
    pub(crate) async fn message(&mut self) -> (u8, String, u16, Vec<u8>) {
        let Packet { first, body } = self.packet().await.expect("a message");
        assert_eq!(first >> 4, 3, "{first:x} {body:?}");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut at = 2 + length;
        let mut id = 0;
        if first & 0b110 != 0 {
            id = u16::from_be_bytes([body[at], body[at + 1]]);
            at += 2;
        }
        if self.is_v5 {
            at += 1 + usize::from(body[at]);
        }
        (first, topic, id, body[at..].to_vec())
    }

    /// Waits for the broker's DISCONNECT and gives its reason; `None` when it just closes.
    pub(crate) async fn goodbye(&mut self) -> Option<u8> {
        while let Some(packet) = self.packet().await {
            if packet.first == 0xE0 {
                return packet.body.first().copied();
            }
        }
        None
    }

    /// Nothing is read for a moment while `work` goes on elsewhere.
    pub(crate) async fn quiet_for(&mut self, time: Duration) -> bool {
        timeout(time, self.stream.fill_buf()).await.is_err()
    }
}
