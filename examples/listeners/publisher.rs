//! One connection that publishes the readings of its share of the sensors, by the clock.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep_until, timeout},
};

use crate::{
    Board, Options,
    wire::{self, Inbox},
};

/// Unacknowledged messages.
const WINDOW: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);

struct Publisher {
    stream: TcpStream,
    inbox: Inbox,
    under_way: usize,
    next_id: u16,
}

pub(crate) async fn run(options: Arc<Options>, board: Arc<Board>, n: usize) -> io::Result<()> {
    let stream = wire::connect(options.mqtt, 5, &format!("publisher{n}"), false).await?;
    let mut publisher = Publisher { stream, inbox: Inbox::default(), under_way: 0, next_id: 0 };
    let began = Instant::now();
    let step = Duration::from_secs_f64(1.0 / options.rate as f64);
    for round in 0..board.rounds {
        for sensor in (n..options.sensors).step_by(options.publishers) {
            let due = began + step * (round * options.sensors + sensor) as u32;
            sleep_until(due.into()).await;
            publisher.publish(&board, sensor, round).await?;
        }
    }
    while publisher.under_way > 0 {
        publisher.take_acknowledgements(&board).await?;
    }
    Ok(())
}

impl Publisher {
    async fn publish(&mut self, board: &Board, sensor: usize, round: usize) -> io::Result<()> {
        while self.under_way >= WINDOW {
            self.take_acknowledgements(board).await?;
        }
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let (topic, payload) = (format!("telemetry/load{sensor}/value"), round.to_string());
        let mut packet = Vec::new();
        wire::publish(&mut packet, 5, 1, &topic, self.next_id, payload.as_bytes());
        board.note_sent(sensor, round);
        self.under_way += 1;
        self.stream.write_all(&packet).await
    }

    async fn take_acknowledgements(&mut self, board: &Board) -> io::Result<()> {
        let filled = timeout(PATIENCE, self.inbox.fill(&mut self.stream)).await?;
        if !filled? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((first, body)) = self.inbox.next() {
            if first != 0x40 {
                continue;
            }
            if body.get(2).is_some_and(|reason| *reason >= 0x80) {
                return Err(io::Error::other("a reading was refused"));
            }
            self.under_way -= 1;
            board.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
