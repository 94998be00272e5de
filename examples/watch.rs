//! Subscribes and shows what comes: topic, QoS, payload.
//!
//!     cargo run --release --example watch -- 'devices/#'
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::Duration;

use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = std::env::args().nth(1).unwrap_or_else(|| "#".to_owned());
    let port = std::env::var("BROOKLET_PORT").ok().and_then(|port| port.parse().ok());
    let (client, events) = AsyncClient::new(options(port.unwrap_or(1883)), 16);
    client.subscribe(filter, QoS::AtLeastOnce).await?;
    show(events).await
}

fn options(port: u16) -> MqttOptions {
    let mut options = MqttOptions::new("watch", "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(30));
    options
}

async fn show(mut events: EventLoop) -> Result<(), Box<dyn std::error::Error>> {
    loop {
        if let Event::Incoming(Packet::Publish(message)) = events.poll().await? {
            let topic = String::from_utf8_lossy(&message.topic);
            let payload = String::from_utf8_lossy(&message.payload);
            let retained = if message.retain { " retained" } else { "" };
            println!("{topic} (QoS {}{retained}) {payload}", message.qos as u8);
        }
    }
}
