//! A simulated fleet, and the load tool: devices that publish in the formats of the field, at a
//! chosen rate, QoS and version, with faults on request; subscribers that measure delivery.
//!
//!     cargo run --release --example fleet -- --devices 50 --qos 1 --duration 10
//!
//! Prints a line a second, and a JSON summary at the end.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::disallowed_methods, reason = "a tool of its own, outside the broker's rooms")]

mod device;
mod payload;
mod stats;
mod subscriber;
mod wire;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use tokio::{sync::oneshot, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use self::{
    payload::{Faults, Format},
    stats::Stats,
};

#[derive(Debug, Clone, Parser)]
#[command(about = "A simulated fleet of devices: load for an MQTT broker, and data to look at")]
pub(crate) struct Options {
    /// The broker's address
    #[arg(long, default_value = "127.0.0.1:1883")]
    pub(crate) mqtt: SocketAddr,
    /// The HTTP surface, for the esp32 format
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Sent as X-API-Key by the esp32 format
    #[arg(long, default_value = "")]
    pub(crate) api_key: String,
    /// Devices, each with a connection of its own
    #[arg(long, default_value_t = 10)]
    pub(crate) devices: usize,
    /// Messages per second of all devices together; 0: as fast as the broker takes them
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u64,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// MQTT version: 3 (3.1.1) or 5
    #[arg(long = "protocol", default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=5))]
    pub(crate) version: u8,
    /// Unacknowledged messages of one device
    #[arg(long, default_value_t = 20)]
    pub(crate) window: usize,
    /// What the devices speak
    #[arg(long, value_enum, default_value_t = Format::AiotFlat)]
    pub(crate) format: Format,
    /// Publish to this topic instead, {n} being the device's number, {m} the message's; for load
    /// outside ingest
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Payload length with --topic
    #[arg(long, default_value_t = 100)]
    pub(crate) payload_bytes: usize,
    /// Seconds
    #[arg(long, default_value_t = 10)]
    pub(crate) duration: u64,
    /// Stop after so many messages of each device; 0: by duration
    #[arg(long, default_value_t = 0)]
    pub(crate) messages: u64,
    /// Such as bad-json=1%,drop-out=0.1%
    #[arg(long, default_value = "")]
    pub(crate) faults: Faults,
    /// Put a time of the device's own into each payload
    #[arg(long)]
    pub(crate) own_time: bool,
    /// Connections that subscribe and measure delivery
    #[arg(long, default_value_t = 0)]
    pub(crate) subscribers: usize,
    #[arg(long, default_value = "#")]
    pub(crate) filter: String,
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) subscribe_qos: u8,
    /// Only connect, and hold the connections for the duration
    #[arg(long)]
    pub(crate) connect_only: bool,
    /// Subscribers keep their sessions when they go
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Each device comes and goes under a new client id, --messages times: it connects, subscribes,
    /// publishes once
    #[arg(long, requires = "topic")]
    pub(crate) churn: bool,
    /// Prefix of device ids
    #[arg(long, default_value = "fleet")]
    pub(crate) prefix: String,
    /// Don't print a line a second
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let options = Arc::new(Options::parse());
    let stats = Arc::new(Stats::default());
    let end = CancellationToken::new();
    let (ready, subscribed) = oneshot::channel();
    let listening = {
        let (options, stats, end) = (options.clone(), stats.clone(), end.clone());
        std::thread::spawn(move || subscriber::listen(&options, &stats, &end, ready))
    };
    subscribed.await.map_err(io::Error::other)?;
    let started = Instant::now();
    let mut devices = JoinSet::new();
    for n in 0..options.devices {
        devices.spawn(device::run(options.clone(), stats.clone(), n, started));
    }
    let progress = tokio::spawn(print_progress(options.quiet, stats.clone()));
    while devices.join_next().await.is_some() {}
    let seconds = started.elapsed().as_secs_f64();
    progress.abort();
    if options.subscribers > 0 {
        sleep(Duration::from_millis(500)).await;
    }
    end.cancel();
    let listened = listening.join();
    println!("{}", stats.summary(seconds));
    listened.unwrap_or_else(|_| Err(io::Error::other("a subscriber panicked")))
}

async fn print_progress(is_quiet: bool, stats: Arc<Stats>) {
    if is_quiet {
        return;
    }
    let mut before = stats.totals();
    loop {
        sleep(Duration::from_secs(1)).await;
        let totals = stats.totals();
        println!("{}", totals.line_since(&before, &stats));
        before = totals;
    }
}
