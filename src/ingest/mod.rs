//! From what a device published to what is stored: route, decode, check, commit, answer.
//!
//! A message's sender is told its verdict only when the transaction that holds its readings has
//! committed. Decoding runs in the sender's task (`tap`), everything that touches the store in one
//! thread (`committer`), between them a bounded queue that pushes back on the sockets.

mod alarms;
mod announce;
mod check;
mod committer;
mod conclude;
pub mod decode;
mod learning;
mod metrics;
mod outage;
mod outcome;
mod plan;
mod pulse;
mod queue;
mod rehearsal;
mod rejection;
mod repair;
mod replay;
mod stage;
mod submission;
mod tap;
mod time;
mod verdict;

use std::{collections::VecDeque, io, sync::Arc};

use tokio::sync::Semaphore;

pub use announce::ShowAlarm;
pub use committer::{Committer, IngestLimits};
pub use metrics::{Meters, ServiceTotals};
pub use outcome::{Detailed, ImportTerms, OnConflict, ReadingOutcome, ReadingResult};
pub use pulse::{MessageRate, PULSE_STEP_SECONDS};
pub use rejection::{Rejection, RejectionReason};
pub use replay::{Retried, replay_held, retry_quarantined};
pub use tap::{Import, Tap, Upload};
pub use time::{is_plausible, read_time_text};
pub use verdict::Verdict;

use self::{
    alarms::Alarms,
    committer::{Orders, Work},
    queue::Queue,
    tap::REHEARSALS_MAX,
};
use crate::{
    alarm::engine::Engine, clock::Clock, live::Hub, mqtt::Publisher, registry::Registry,
    routes::RouteTable, store::Writer, telemetry::Timestamp,
};

/// What ingest is built from.
pub struct Parts {
    pub routes: RouteTable,
    pub zone: jiff::tz::TimeZone,
    pub limits: IngestLimits,
    pub registry: Arc<Registry>,
    pub publisher: Publisher,
    pub live: Arc<Hub>,
    pub show_alarm: ShowAlarm,
    pub writer: Writer,
    pub clock: Clock,
    /// Clients of whom the store has noted messages.
    pub noted_clients: Vec<String>,
    pub engine: Engine,
    /// The number of this run of the broker.
    pub run: i64,
}

/// Starts the committer and opens the door before it.
///
/// # Errors
/// When the thread can't be started.
pub fn start(parts: Parts) -> io::Result<(Arc<Tap>, Arc<Committer>)> {
    let Parts { routes, zone, limits, registry, publisher, live, writer, clock, .. } = parts;
    let noted_clients = parts.noted_clients;
    let now = Timestamp::from_micros(clock.unix_micros());
    let clocks = (now, clock.monotonic());
    let alarms = Alarms { engine: parts.engine, run: parts.run, alive_noted: now, clocks };
    let queue = Arc::new(Queue::new(limits.queue_messages_max, limits.queue_bytes_max));
    let meters = Arc::new(Meters::new(&routes));
    let committer = Committer::start(Work {
        queue: queue.clone(),
        orders: Arc::new(Orders::default()),
        writer,
        registry: registry.clone(),
        publisher,
        live,
        show_alarm: parts.show_alarm,
        limits,
        clock: clock.clone(),
        meters: meters.clone(),
        noted_clients: noted_clients.into_iter().collect(),
        failing_since: None,
        alarms,
        rehearsals: VecDeque::new(),
    })?;
    let rehearsals = Semaphore::new(REHEARSALS_MAX);
    let tap = Tap { routes, registry, queue, zone, clock, meters, rehearsals };
    Ok((Arc::new(tap), Arc::new(committer)))
}
