//! As much of MQTT as a fleet needs, without a client library between.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) fn length(out: &mut Vec<u8>, mut value: usize) {
    while value > 127 {
        out.push((value & 127) as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// Connects and waits for the CONNACK. With `keeps` the session outlives the connection.
pub(crate) async fn connect(
    address: SocketAddr,
    version: u8,
    client_id: &str,
    keeps: bool,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.extend([if version == 5 { 5 } else { 4 }, if keeps { 0 } else { 2 }, 0, 0]);
    match (version, keeps) {
        (5, true) => body.extend([5, 17, 0, 0, 14, 16]),
        (5, false) => body.push(0),
        _ => {}
    }
    text(&mut body, client_id);
    let mut packet = vec![0x10];
    length(&mut packet, body.len());
    packet.extend(body);
    stream.write_all(&packet).await?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let mut rest = vec![0; usize::from(head[1])];
    stream.read_exact(&mut rest).await?;
    match (head[0], rest.get(1)) {
        (0x20, Some(0)) => Ok(stream),
        (_, code) => Err(io::Error::other(format!("refused: {code:?}"))),
    }
}

pub(crate) fn publish(
    out: &mut Vec<u8>,
    version: u8,
    qos: u8,
    topic: &str,
    id: u16,
    payload: &[u8],
) {
    out.push(0x30 | qos << 1);
    let id_len = if qos > 0 { 2 } else { 0 };
    let properties = usize::from(version == 5);
    length(out, 2 + topic.len() + id_len + properties + payload.len());
    text(out, topic);
    if qos > 0 {
        out.extend(id.to_be_bytes());
    }
    if version == 5 {
        out.push(0);
    }
    out.extend(payload);
}

pub(crate) fn subscribe(out: &mut Vec<u8>, version: u8, filter: &str, qos: u8) {
    out.push(0x82);
    length(out, 2 + usize::from(version == 5) + 2 + filter.len() + 1);
    out.extend([0, 1]);
    if version == 5 {
        out.push(0);
    }
    text(out, filter);
    out.push(qos);
}

/// Packets cut from a stream.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    at: usize,
}

impl Inbox {
    /// Reads once; `false` at the end of the stream.
    pub(crate) async fn fill(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.reserve(64 * 1024);
        Ok(stream.read_buf(&mut self.bytes).await? > 0)
    }

    /// The next complete packet: its first byte and its body.
    pub(crate) fn next(&mut self) -> Option<(u8, &[u8])> {
        let rest = self.bytes.get(self.at..)?;
        let first = *rest.first()?;
        let (mut size, mut shift, mut header) = (0usize, 0, 1);
        loop {
            let byte = *rest.get(header)?;
            size |= usize::from(byte & 127) << shift;
            shift += 7;
            header += 1;
            if byte & 128 == 0 {
                break;
            }
        }
        let body = rest.get(header..header + size)?;
        self.at += header + size;
        Some((first, body))
    }
}
