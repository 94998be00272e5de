//! Load on the live streams: sensors that publish at a rate, one listener for each of them, and some who
//! listen to everything, half over WebSocket and half over Server-Sent Events. Each checks that of every
//! sensor every reading comes, once and in order.
//!
//!     BROOKLET__STREAMS__MAX_CLIENTS_PER_ADDRESS=0 brooklet &
//!     cargo run --release --example listeners -- --sensors 1000 --everything 50 --rate 1000
//!
//! Prints a JSON summary; ends with 1 where anything is missing.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::disallowed_methods, reason = "a tool of its own, outside the broker's rooms")]

mod listener;
mod publisher;
#[path = "../fleet/wire.rs"]
#[allow(dead_code, reason = "the fleet uses all of it")]
mod wire;

use std::{
    io,
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::listener::{Heard, Listener, Transport};

/// After the last reading listeners have so long to hear of it.
const GRACE: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Parser)]
#[command(about = "Load on the live streams: who listens, and whether anything is missing")]
struct Options {
    /// The broker's address
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// The HTTP surface
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Sent as X-API-Key
    #[arg(long, default_value = "")]
    api_key: String,
    /// Sensors, each of a device of its own and with a listener of its own
    #[arg(long, default_value_t = 1000)]
    sensors: usize,
    /// Who listens to everything
    #[arg(long, default_value_t = 50)]
    everything: usize,
    /// Readings a second of all sensors together
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Connections that publish
    #[arg(long, default_value_t = 20)]
    publishers: usize,
    /// Seconds
    #[arg(long, default_value_t = 20)]
    duration: u64,
}

/// What the publishers and the listeners share.
struct Board {
    started: Instant,
    rounds: usize,
    /// When each reading was sent, in microseconds since the start; by round, then by sensor.
    sent: Vec<AtomicU64>,
    sensors: usize,
    acknowledged: AtomicU64,
    /// What all listeners have heard together.
    heard: AtomicU64,
}

impl Board {
    fn note_sent(&self, sensor: usize, round: usize) {
        if let Some(slot) = self.sent.get(round * self.sensors + sensor) {
            slot.store(self.started.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
    }

    /// Microseconds since a reading was sent.
    fn age(&self, sensor: usize, round: usize) -> Option<u32> {
        let sent = self.sent.get(round * self.sensors + sensor)?.load(Ordering::Relaxed);
        Some((self.started.elapsed().as_micros() as u64).saturating_sub(sent) as u32)
    }
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let options = Arc::new(Options::parse());
    let rounds = (options.rate * options.duration) as usize / options.sensors.max(1);
    let mut sent = Vec::new();
    sent.resize_with(rounds * options.sensors, AtomicU64::default);
    let board = Arc::new(Board {
        started: Instant::now(),
        rounds,
        sent,
        sensors: options.sensors,
        acknowledged: AtomicU64::default(),
        heard: AtomicU64::default(),
    });
    let stop = CancellationToken::new();
    let mut listeners = JoinSet::new();
    for n in 0..options.sensors + options.everything {
        let transport = if n % 2 == 0 { Transport::WebSocket } else { Transport::Events };
        let sensor = (n < options.sensors).then_some(n);
        let listener = Listener::open(&options, transport, sensor).await?;
        listeners.spawn(listener.run(board.clone(), stop.clone()));
    }
    println!("{} listen; publishing for {} s", listeners.len(), options.duration);
    let began = Instant::now();
    let mut publishers = JoinSet::new();
    for n in 0..options.publishers {
        publishers.spawn(publisher::run(options.clone(), board.clone(), n));
    }
    while let Some(published) = publishers.join_next().await {
        published.map_err(io::Error::other)??;
    }
    let took = began.elapsed();
    let readings = (rounds * options.sensors) as u64;
    let expected = readings * (1 + options.everything as u64);
    let all_heard = async {
        while board.heard.load(Ordering::Relaxed) < expected {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(GRACE, all_heard).await;
    stop.cancel();
    let mut heard = Heard::default();
    while let Some(one) = listeners.join_next().await {
        heard.add(one.map_err(io::Error::other)?);
    }
    Ok(show(&options, &board, (took, expected), heard))
}

fn show(
    options: &Options,
    board: &Board,
    (took, expected): (Duration, u64),
    mut heard: Heard,
) -> ExitCode {
    heard.ages.sort_unstable();
    let at = |share: f64| {
        let place = (heard.ages.len().saturating_sub(1) as f64 * share) as usize;
        heard.ages.get(place).map(|micros| f64::from(*micros) / 1000.0)
    };
    let lost = expected.saturating_sub(heard.events);
    let summary = json!({
        "listeners": options.sensors + options.everything,
        "readings": board.rounds * options.sensors,
        "acknowledged": board.acknowledged.load(Ordering::Relaxed),
        "seconds": took.as_secs_f64(),
        "events_expected": expected,
        "events_heard": heard.events,
        "events_per_second": (heard.events as f64 / took.as_secs_f64()).round(),
        "lost": lost,
        "out_of_order_or_twice": heard.strange,
        "gaps": heard.gaps,
        "ended_early": heard.ended,
        "from_publish_ms": {"p50": at(0.5), "p99": at(0.99), "max": at(1.0)},
    });
    println!("{summary:#}");
    let is_good = lost == 0 && heard.strange == 0 && heard.gaps == 0 && heard.ended == 0;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
