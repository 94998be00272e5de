//! A connection that subscribes, counts what comes, and measures how long it took.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{io::AsyncWriteExt, net::TcpStream, sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    Options,
    stats::Stats,
    wire::{self, Inbox},
};

struct Subscriber {
    stream: TcpStream,
    inbox: Inbox,
    is_v5: bool,
    delivered: u64,
    stats: Arc<Stats>,
}

/// Listens until `end`, on a thread of its own: devices that publish flat out would else take the
/// processor from those who measure them. Says `ready` when everything is subscribed.
pub(crate) fn listen(
    options: &Options,
    stats: &Arc<Stats>,
    end: &CancellationToken,
    ready: oneshot::Sender<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut subscribers = JoinSet::new();
        for n in 0..options.subscribers {
            let subscriber = open(options, n, stats.clone()).await?;
            subscribers.spawn(subscriber.run());
        }
        // Nobody waits when the devices could not be started.
        let _ = ready.send(());
        end.cancelled().await;
        subscribers.shutdown().await;
        Ok(())
    })
}

/// Connects, subscribes and waits until that is granted.
async fn open(options: &Options, n: usize, stats: Arc<Stats>) -> io::Result<Subscriber> {
    let client_id = format!("{}-subscriber{n}", options.prefix);
    let mut stream =
        wire::connect(options.mqtt, options.version, &client_id, options.persistent).await?;
    let mut packet = Vec::new();
    wire::subscribe(&mut packet, options.version, &options.filter, options.subscribe_qos);
    stream.write_all(&packet).await?;
    let mut inbox = Inbox::default();
    while inbox.next().is_none_or(|(first, _)| first != 0x90) {
        inbox.fill(&mut stream).await?;
    }
    Ok(Subscriber { stream, inbox, is_v5: options.version == 5, delivered: 0, stats })
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Ok(mut each) = self.stats.of_each_subscriber.lock() {
            each.push(self.delivered);
        }
    }
}

impl Subscriber {
    async fn run(mut self) {
        let stats = self.stats.clone();
        let mut acks = Vec::new();
        while let Ok(true) = self.inbox.fill(&mut self.stream).await {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut delivered = 0;
            while let Some((first, body)) = self.inbox.next() {
                match first >> 4 {
                    3 => {
                        delivered += 1;
                        measure(first, body, self.is_v5, now, &stats, &mut acks);
                    }
                    6 => {
                        acks.extend([0x70, 2]);
                        acks.extend(body.iter().take(2));
                    }
                    _ => {}
                }
            }
            Stats::add(&stats.delivered, delivered);
            self.delivered += delivered;
            if !acks.is_empty() && self.stream.write_all(&acks).await.is_err() {
                return;
            }
            acks.clear();
        }
    }
}

fn measure(first: u8, body: &[u8], is_v5: bool, now: Duration, stats: &Stats, acks: &mut Vec<u8>) {
    let [high, low, rest @ ..] = body else { return };
    let topic = usize::from(u16::from_be_bytes([*high, *low]));
    let Some(mut rest) = rest.get(topic..) else { return };
    let qos = first >> 1 & 3;
    if qos > 0 {
        let Some((id, after)) = rest.split_at_checked(2) else { return };
        acks.extend([if qos == 1 { 0x40 } else { 0x50 }, 2]);
        acks.extend(id);
        rest = after;
    }
    let payload = if is_v5 { rest.get(1..) } else { Some(rest) };
    let sent = payload
        .and_then(|payload| payload.get(..19))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u64>().ok());
    if let Some(sent) = sent {
        stats.deliveries.record(now.saturating_sub(Duration::from_nanos(sent)));
    }
}
