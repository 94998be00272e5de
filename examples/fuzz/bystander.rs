//! Two clients that do nothing but exchange QoS 1 messages, one at a time: what they notice of the rest.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// A round trip that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(crate) struct Times {
    times: Vec<Duration>,
}

impl Times {
    /// In milliseconds.
    pub(crate) fn percentile(&mut self, percent: usize) -> f64 {
        self.times.sort_unstable();
        let at = self.times.len() * percent / 100;
        let time = self.times.get(at.min(self.times.len().saturating_sub(1)));
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }
}

/// Sends messages round until `stop` says so.
pub(crate) async fn run(broker: SocketAddr, stop: Arc<AtomicBool>) -> io::Result<Times> {
    let mut speaker = connect(broker, "bystander-speaks").await?;
    let mut listener = connect(broker, "bystander-listens").await?;
    listener.write_all(b"\x82\x10\x00\x01\x00\x00\x0Abystander/\x01").await?;
    read(&mut listener, 0x90).await?;
    let mut times = Times::default();
    let mut number = 0u32;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let began = Instant::now();
        let trip = round_trip(&mut speaker, &mut listener, number);
        timeout(PATIENCE, trip).await.map_err(|_| io::Error::other("a round trip is lost"))??;
        times.times.push(began.elapsed());
        sleep(PAUSE).await;
    }
    Ok(times)
}

async fn connect(broker: SocketAddr, name: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(broker).await?;
    stream.set_nodelay(true)?;
    let mut packet = vec![0x10, 13 + name.len() as u8];
    packet.extend(b"\x00\x04MQTT\x05\x02\x00\x00\x00");
    packet.extend((name.len() as u16).to_be_bytes());
    packet.extend(name.as_bytes());
    stream.write_all(&packet).await?;
    let (_, body) = read(&mut stream, 0x20).await?;
    if body.get(1) == Some(&0) { Ok(stream) } else { Err(io::Error::other("CONNECT refused")) }
}

async fn round_trip(
    speaker: &mut TcpStream,
    listener: &mut TcpStream,
    number: u32,
) -> io::Result<()> {
    let mut packet = b"\x32\x13\x00\x0Abystander/\x00\x01\x00".to_vec();
    packet.extend(number.to_be_bytes());
    speaker.write_all(&packet).await?;
    read(speaker, 0x40).await?;
    let (_, body) = read(listener, 0x32).await?;
    if !body.ends_with(&number.to_be_bytes()) {
        return Err(io::Error::other("another message than the one that was sent"));
    }
    let id = [body[12], body[13]];
    listener.write_all(&[0x40, 2, id[0], id[1]]).await
}

/// The next packet, which must begin with `first`.
async fn read(stream: &mut TcpStream, first: u8) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body).await?;
    if head[0] != first {
        return Err(io::Error::other(format!("{:#04x} instead of {first:#04x}", head[0])));
    }
    Ok((head[0], body))
}
