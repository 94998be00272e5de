//! One device: publishes by the clock or flat out, at most a window ahead of its acknowledgements.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, sleep_until},
};

use crate::{
    Options,
    payload::{Format, strikes},
    stats::Stats,
    wire::{self, Inbox},
};

/// Messages joined in one write.
const BURST: usize = 64;

struct Device {
    options: Arc<Options>,
    stats: Arc<Stats>,
    n: usize,
    format: Format,
    topic: String,
    /// The topic, but for the message's number.
    template: String,
    started: Instant,
    text: String,
    out: Vec<u8>,
    number: u64,
    next_id: u16,
    /// Packet ids under way, and when each was sent.
    under_way: VecDeque<(u16, Instant)>,
    interval: Option<Duration>,
    due: Instant,
    end: Instant,
    first_time: u64,
}

pub(crate) async fn run(options: Arc<Options>, stats: Arc<Stats>, n: usize, started: Instant) {
    let format = options.format.of_device(n);
    let name = format!("{}{n}", options.prefix);
    let template = match &options.topic {
        Some(template) => template.replace("{n}", &n.to_string()),
        None => format.topic(&name),
    };
    let interval = (options.rate > 0)
        .then(|| Duration::from_secs_f64(options.devices as f64 / options.rate as f64));
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let offset = interval.unwrap_or_default().mul_f64(n as f64 / options.devices as f64);
    let mut device = Device {
        end: started + Duration::from_secs(options.duration),
        due: Instant::now() + offset,
        interval,
        format,
        topic: template.clone(),
        template,
        n,
        text: String::new(),
        out: Vec::new(),
        number: 0,
        next_id: 0,
        under_way: VecDeque::new(),
        started,
        first_time: since_epoch.as_millis() as u64,
        options,
        stats,
    };
    while !device.is_done() {
        let served = match device.format {
            Format::Esp32 => device.upload().await,
            _ if device.options.churn => device.come_and_go(&name).await,
            _ => device.publish(&name).await,
        };
        match served {
            Ok(()) if device.is_done() => return,
            Ok(()) => {}
            Err(_) => {
                Stats::add(&device.stats.errors, 1);
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

impl Device {
    fn is_done(&self) -> bool {
        Instant::now() >= self.end
            || (self.options.messages > 0 && self.number >= self.options.messages)
    }

    async fn publish(&mut self, name: &str) -> io::Result<()> {
        let mut stream = self.connect(name).await?;
        Stats::add(&self.stats.connected, 1);
        let served = self.converse(&mut stream).await;
        self.stats.connected.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        self.under_way.clear();
        served
    }

    async fn connect(&self, name: &str) -> io::Result<TcpStream> {
        let before = Instant::now();
        let opened = wire::connect(self.options.mqtt, self.options.version, name, false).await;
        let stream = opened.inspect_err(|_| Stats::add(&self.stats.failed_connects, 1))?;
        self.stats.connects.record(before.elapsed());
        let since_start = self.started.elapsed().as_millis() as u64;
        self.stats.last_connect_ms.fetch_max(since_start, std::sync::atomic::Ordering::Relaxed);
        Ok(stream)
    }

    /// One visit: connects as somebody new, subscribes to a topic of its own, publishes to it.
    async fn come_and_go(&mut self, name: &str) -> io::Result<()> {
        let number = self.number;
        let mut stream = self.connect(&format!("{name}-{number}")).await?;
        self.out.clear();
        self.write_message(Instant::now());
        let message = std::mem::take(&mut self.out);
        wire::subscribe(&mut self.out, self.options.version, &self.topic, 0);
        self.out.extend(message);
        stream.write_all(&self.out).await?;
        self.out.clear();
        self.under_way.clear();
        let mut inbox = Inbox::default();
        loop {
            match inbox.next().map(|(first, _)| first >> 4) {
                Some(3) => break,
                Some(_) => {}
                None if inbox.fill(&mut stream).await? => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        stream.write_all(&[0xE0, 0]).await
    }

    async fn converse(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if self.options.connect_only {
            sleep_until(self.end.into()).await;
            return Ok(());
        }
        let mut inbox = Inbox::default();
        loop {
            if strikes(self.options.faults.drop_out, self.n, self.number) {
                self.number += 1;
                return Ok(());
            }
            self.fill();
            if !self.out.is_empty() {
                Stats::add(&self.stats.bytes, self.out.len() as u64);
                stream.write_all(&self.out).await?;
                self.out.clear();
            }
            if self.is_done() && self.under_way.is_empty() {
                return Ok(());
            }
            if Instant::now() > self.end + Duration::from_secs(5) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let is_full = self.under_way.len() >= self.options.window;
            if self.under_way.is_empty() && self.interval.is_none() {
                continue;
            }
            let wake = if is_full || self.is_done() {
                Instant::now() + Duration::from_millis(200)
            } else {
                self.due
            };
            tokio::select! {
                biased;
                read = inbox.fill(stream), if !self.under_way.is_empty() => {
                    if !read? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.take_acks(&mut inbox);
                }
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// Writes what is due and fits the window.
    fn fill(&mut self) {
        let now = Instant::now();
        for _ in 0..BURST {
            let has_window = self.options.qos == 0 || self.under_way.len() < self.options.window;
            let is_due = self.interval.is_none() || now >= self.due;
            if !has_window || !is_due || self.is_done() {
                return;
            }
            self.write_message(now);
            if let Some(interval) = self.interval {
                self.due += interval;
            }
        }
    }

    fn write_message(&mut self, now: Instant) {
        if self.options.topic.is_some() {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.text = since.as_nanos().to_string();
            while self.text.len() < self.options.payload_bytes {
                self.text.push('x');
            }
        } else {
            let time = self.options.own_time.then_some(self.first_time + self.number);
            self.format.write(&mut self.text, self.n, self.number, time);
            if strikes(self.options.faults.bad_json, self.n, self.number) {
                self.text.insert(0, '}');
            }
        }
        if self.template.contains("{m}") {
            self.topic = self.template.replace("{m}", &self.number.to_string());
        }
        self.number += 1;
        let (version, qos) = (self.options.version, self.options.qos);
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let (topic, payload) = (&self.topic, self.text.as_bytes());
        wire::publish(&mut self.out, version, qos, topic, self.next_id, payload);
        Stats::add(&self.stats.sent, 1);
        if qos > 0 {
            self.under_way.push_back((self.next_id, now));
        }
    }

    fn take_acks(&mut self, inbox: &mut Inbox) {
        let now = Instant::now();
        while let Some((first, body)) = inbox.next() {
            let [high, low, rest @ ..] = body else { continue };
            let id = u16::from_be_bytes([*high, *low]);
            let is_refused = rest.first().is_some_and(|reason| *reason >= 0x80);
            match first {
                0x50 if !is_refused => self.out.extend([0x62, 2, *high, *low]),
                0x40 | 0x50 | 0x70 => {
                    let Some(at) = self.under_way.iter().position(|(sent, _)| *sent == id) else {
                        continue;
                    };
                    if let Some((_, sent)) = self.under_way.remove(at) {
                        self.stats.acks.record(now - sent);
                    }
                    let counter = if is_refused { &self.stats.refused } else { &self.stats.acked };
                    Stats::add(counter, 1);
                }
                _ => {}
            }
        }
    }

    /// The ESP32 monitor: one POST after another on a connection kept alive.
    async fn upload(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.options.http).await?;
        stream.set_nodelay(true)?;
        Stats::add(&self.stats.connected, 1);
        let mut answer = vec![0; 8 * 1024];
        while !self.is_done() {
            sleep_until(self.due.into()).await;
            self.format.write(&mut self.text, self.n, self.number, None);
            self.number += 1;
            let request = format!(
                "POST /api/telemetry HTTP/1.1\r\nHost: fleet\r\nContent-Type: application/json\r\n\
                 X-API-Key: {}\r\nContent-Length: {}\r\n\r\n{}",
                self.options.api_key,
                self.text.len(),
                self.text
            );
            let sent = Instant::now();
            stream.write_all(request.as_bytes()).await?;
            Stats::add(&self.stats.sent, 1);
            let read = stream.read(&mut answer).await?;
            let is_ok = answer.get(..read).is_some_and(|a| a.starts_with(b"HTTP/1.1 200"));
            self.stats.acks.record(sent.elapsed());
            Stats::add(if is_ok { &self.stats.acked } else { &self.stats.refused }, 1);
            self.due = match self.interval {
                Some(interval) => self.due + interval,
                None => Instant::now(),
            };
        }
        Ok(())
    }
}
