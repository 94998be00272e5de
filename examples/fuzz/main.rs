//! Mutated packets over real sockets against a running broker, while a bystander exchanges messages.
//!
//!     cargo run --release --example fuzz -- --packets 1000000 --pid "$(pidof brooklet)" --log brooklet.log
//!
//! Prints what was sent, how connections ended, what the bystander noticed and what the broker's memory
//! did. Fails on a panic in the log, a round trip that is lost, or memory that has grown.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::indexing_slicing, reason = "a tool that fails is to panic")]
#![allow(clippy::disallowed_methods, reason = "a tool of its own, outside the broker's rooms")]

mod bystander;
mod packets;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

use self::packets::Dice;

/// How long the bystander is alone, before.
const CALM: Duration = Duration::from_secs(3);
/// Between the last packet and the look at the memory.
const REST: Duration = Duration::from_secs(3);
/// Packets that are written at a time.
const BURST: usize = 8;
/// How long an answer is waited for before more is sent.
const SILENCE: Duration = Duration::from_millis(10);
/// A connection that swallows everything is given up after so many packets.
const PACKETS_OF_ONE: u64 = 2000;

#[derive(Debug, Clone, Parser)]
#[command(about = "Mutated packets against an MQTT broker, and what a bystander notices of them")]
struct Options {
    /// The broker's address
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    #[arg(long, default_value_t = 1_000_000)]
    packets: u64,
    /// At a time
    #[arg(long, default_value_t = 8)]
    connections: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The broker's process, whose memory is watched
    #[arg(long)]
    pid: Option<u32>,
    /// The broker's log, which is to tell of no panic
    #[arg(long)]
    log: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    connections: AtomicU64,
    /// How connections ended: by the reason code that the broker gave, or how else.
    ends: Mutex<BTreeMap<String, u64>>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let options = Options::parse();
    let mut alone = bystand(&options, sleep(CALM)).await?;
    let before = resident_kb(options.pid)?;
    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    let mut beside = bystand(&options, fuzz(&options, &tally)).await?;
    let seconds = began.elapsed().as_secs_f64();
    sleep(REST).await;
    let after = resident_kb(options.pid)?;
    let sent = tally.sent.load(Ordering::Relaxed);
    let connections = tally.connections.load(Ordering::Relaxed);
    println!("packets {sent} in {seconds:.1} s over {connections} connections");
    if let Ok(ends) = tally.ends.lock() {
        for (end, count) in &*ends {
            println!("  ended by {end}: {count}");
        }
    }
    for (name, times) in [("alone", &mut alone), ("beside", &mut beside)] {
        let (p50, p99) = (times.percentile(50), times.percentile(99));
        println!("bystander {name}: {} round trips, ms p50 {p50:.2} p99 {p99:.2}", times.len());
    }
    println!("resident memory: {} MB before, {} MB after", before / 1024, after / 1024);
    judge(&options, before, after)
}

fn judge(options: &Options, before: u64, after: u64) -> io::Result<()> {
    if let Some(log) = &options.log {
        let log = std::fs::read_to_string(log)?;
        if let Some(line) = log.lines().find(|line| line.contains("panic")) {
            return Err(io::Error::other(format!("a panic: {line}")));
        }
    }
    if after > before + before / 5 + 10 * 1024 {
        return Err(io::Error::other("the broker's memory has grown"));
    }
    Ok(())
}

/// What a bystander notices while `work` goes on.
async fn bystand(
    options: &Options,
    work: impl Future<Output = ()>,
) -> io::Result<bystander::Times> {
    let stop = Arc::new(AtomicBool::new(false));
    let bystander = tokio::spawn(bystander::run(options.mqtt, stop.clone()));
    work.await;
    stop.store(true, Ordering::Relaxed);
    bystander.await.map_err(io::Error::other)?
}

async fn fuzz(options: &Options, tally: &Arc<Tally>) {
    let mut connections = JoinSet::new();
    for n in 0..options.connections {
        let (options, tally) = (options.clone(), tally.clone());
        connections.spawn(async move {
            let mut dice = Dice::new(options.seed.wrapping_mul(1000) + n);
            while tally.sent.load(Ordering::Relaxed) < options.packets {
                let end = one_connection(&options, &tally, n, &mut dice).await;
                tally.connections.fetch_add(1, Ordering::Relaxed);
                if let Ok(mut ends) = tally.ends.lock() {
                    *ends.entry(end).or_default() += 1;
                }
            }
        });
    }
    while connections.join_next().await.is_some() {}
}

/// Sends until the connection is closed; how it ended.
async fn one_connection(options: &Options, tally: &Tally, n: u64, dice: &mut Dice) -> String {
    let version = if dice.below(3) == 0 { 4 } else { 5 };
    let Ok(stream) = TcpStream::connect(options.mqtt).await else {
        sleep(Duration::from_millis(100)).await;
        return "no connection".to_owned();
    };
    let (mut from, mut to) = stream.into_split();
    let has_answered = Arc::new(Notify::new());
    let answered = has_answered.clone();
    let reader = tokio::spawn(async move {
        let mut last = Vec::new();
        let mut space = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut space).await {
            last.extend_from_slice(&space[..read]);
            last.drain(..last.len().saturating_sub(256));
            answered.notify_one();
        }
        answered.notify_one();
        last
    });
    let mut hello = packets::connect(version, &format!("fuzz{n}-{}", dice.below(3)), dice);
    if dice.below(20) == 0 {
        packets::mutate(&mut hello, dice);
    }
    let mut is_open = to.write_all(&hello).await.is_ok();
    let mut sent = 1;
    while is_open && sent < PACKETS_OF_ONE && !reader.is_finished() {
        let mut bytes = Vec::new();
        for _ in 0..BURST {
            let mut packet = packets::any(version, dice);
            packets::mutate(&mut packet, dice);
            bytes.extend(packet);
        }
        // What is answered in any case, unless an open packet swallows it.
        bytes.extend([0xC0, 0]);
        sent += BURST as u64;
        let write = timeout(Duration::from_secs(10), to.write_all(&bytes)).await;
        is_open = matches!(write, Ok(Ok(())));
        let _ = timeout(SILENCE, has_answered.notified()).await;
    }
    tally.sent.fetch_add(sent, Ordering::Relaxed);
    drop(to);
    match timeout(Duration::from_secs(10), reader).await {
        Ok(Ok(last)) => how(&last, version),
        _ => "not closed in time".to_owned(),
    }
}

/// The reason of a DISCONNECT or of a CONNACK, where the stream ended with one.
fn how(last: &[u8], version: u8) -> String {
    // A DISCONNECT is told by its first byte and a length that reaches to the end.
    let at = last.iter().rposition(|byte| *byte == 0xE0);
    let goodbye = at.map(|at| &last[at..]);
    match (goodbye, last) {
        (Some([0xE0, length, reason, rest @ ..]), _)
            if version == 5 && usize::from(*length) == rest.len() + 1 =>
        {
            format!("DISCONNECT {reason:#04x}")
        }
        (_, [0x20, _, _, reason, ..]) if *reason != 0 => format!("CONNACK {reason:#04x}"),
        (_, []) => "a close without an answer".to_owned(),
        _ => "a close".to_owned(),
    }
}

fn resident_kb(pid: Option<u32>) -> io::Result<u64> {
    let Some(pid) = pid else { return Ok(0) };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other("no VmRSS"))
}
