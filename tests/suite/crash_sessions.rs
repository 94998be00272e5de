//! `kill -9` at any moment: every acknowledged message reaches the subscriber whose session is kept,
//! a QoS 2 one exactly once.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    crash::rounds,
    harness::Brooklet,
    wire::{Client, Packet, connect, packet},
};

const PUBLISHERS: usize = 4;
const LIMITS: [(&str, &str); 1] = [("MQTT__MAX_QUEUED_MESSAGES", "60000")];

type Messages = Arc<Mutex<HashSet<String>>>;

/// What a subscriber knows across its connections.
#[derive(Default)]
struct Inbox {
    /// Each message, and how often it came.
    messages: BTreeMap<String, u32>,
    /// QoS 2 packet ids that are not released.
    unreleased: HashSet<u16>,
}

fn hello(n: usize) -> Vec<u8> {
    connect(5, 0, 60, &[17, 0xFF, 0xFF, 0xFF, 0xFF], &format!("subscriber-{n}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_reaches_the_returning_subscriber() {
    let mut brooklet = Brooklet::with(&LIMITS).await;
    let mut inboxes = [Inbox::default(), Inbox::default()];
    for n in 0..inboxes.len() {
        let (mut client, _) = Client::open(brooklet.mqtt, hello(n), true).await;
        assert_eq!(client.subscribe("crash/#", 2).await, 2);
    }
    let acknowledged = Messages::default();
    for round in 0..rounds() {
        let address = brooklet.mqtt;
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| tokio::spawn(publish(address, publisher, round, acknowledged.clone())))
            .collect();
        let subscribers: Vec<_> = std::mem::take(&mut inboxes)
            .into_iter()
            .enumerate()
            .map(|(n, inbox)| tokio::spawn(receive(address, n, inbox, false)))
            .collect();
        let moment = 20 + (round * 7919 + u64::from(brooklet.pid())) % 180;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        brooklet.kill();
        for publisher in publishers {
            publisher.await.unwrap();
        }
        for (n, subscriber) in subscribers.into_iter().enumerate() {
            inboxes[n] = subscriber.await.unwrap();
        }
        brooklet = brooklet.restart().await;
    }
    for (n, inbox) in inboxes.into_iter().enumerate() {
        let inbox = receive(brooklet.mqtt, n, inbox, true).await;
        for message in acknowledged.lock().unwrap().iter() {
            let times = inbox.messages.get(message).copied().unwrap_or(0);
            assert!(times > 0, "subscriber {n} never got {message}");
            assert!(times == 1 || message.starts_with("q1"), "{message} came {times} times");
        }
    }
    assert!(acknowledged.lock().unwrap().len() as u64 > rounds());
}

/// Publishes until the broker dies, noting what is acknowledged; QoS 1 and 2 by turns.
async fn publish(address: SocketAddr, publisher: usize, round: u64, acknowledged: Messages) {
    let id = format!("publisher-{publisher}");
    let Some((mut client, _)) = Client::try_open(address, connect(5, 2, 60, &[], &id)).await else {
        return;
    };
    for n in 0..60_000_u16 {
        let (first, name) = if n % 2 == 0 { (0x32, "q1") } else { (0x34, "q2") };
        let message = format!("{name} {publisher} {round} {n}");
        let bytes = client.publish_packet(first, "crash/x", n + 1, message.as_bytes());
        if !client.try_send(&bytes).await || client.packet().await.is_none() {
            return;
        }
        acknowledged.lock().unwrap().insert(message);
        if first == 0x34 {
            let release = packet(0x62, &(n + 1).to_be_bytes());
            if !client.try_send(&release).await || client.packet().await.is_none() {
                return;
            }
        }
    }
}

/// Receives as a client that keeps its state does, until the broker dies or, at last, nothing comes.
async fn receive(address: SocketAddr, n: usize, mut inbox: Inbox, to_the_end: bool) -> Inbox {
    let Some((mut client, connack)) = Client::try_open(address, hello(n)).await else {
        return inbox;
    };
    assert_eq!(connack.body[0], 1, "the session is kept");
    loop {
        if to_the_end && client.quiet_for(Duration::from_millis(700)).await {
            return inbox;
        }
        let Some(Packet { first, body }) = client.packet().await else {
            return inbox;
        };
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let answer = match first >> 4 {
            6 => {
                inbox.unreleased.remove(&word(0));
                packet(0x70, &body[..2])
            }
            _ => take(&mut inbox, first, &body),
        };
        if !client.try_send(&answer).await {
            return inbox;
        }
    }
}

/// Notes a message; the acknowledgement that it is to be answered with.
fn take(inbox: &mut Inbox, first: u8, body: &[u8]) -> Vec<u8> {
    let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let id = u16::from_be_bytes([body[topic_end], body[topic_end + 1]]);
    let message = String::from_utf8(body[topic_end + 3..].to_vec()).unwrap();
    let is_qos2 = first & 0b100 != 0;
    if !is_qos2 || inbox.unreleased.insert(id) {
        *inbox.messages.entry(message).or_default() += 1;
    }
    packet(if is_qos2 { 0x50 } else { 0x40 }, &id.to_be_bytes())
}
