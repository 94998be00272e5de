//! What the system says of speed, bytes and processor time.

use std::{fs, path::Path, time::Instant};

use rusqlite::Connection;

use crate::Failure;

/// Bytes that the process has sent to the disk.
pub(crate) fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Of the calling thread.
pub(crate) fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Prints readings/s of each tenth, and of all.
pub(crate) struct Pace {
    begin: Instant,
    written_before: u64,
    done: u64,
    last: (Instant, u64),
    every: u64,
}

impl Pace {
    pub(crate) fn new(readings: u64, written_before: u64) -> Self {
        let now = Instant::now();
        let every = (readings / 10).max(1);
        Self { begin: now, written_before, done: 0, last: (now, 0), every }
    }

    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    pub(crate) fn add(&mut self, readings: u64, path: &Path, tail: usize) {
        self.done += readings;
        if self.done - self.last.1 < self.every {
            return;
        }
        let rate = (self.done - self.last.1) as f64 / self.last.0.elapsed().as_secs_f64();
        let log = fs::metadata(path.with_extension("db-wal")).map_or(0, |log| log.len() / 1_024);
        println!("  {:>11}: {rate:>9.0} readings/s, log {log} kB, tail {tail}", self.done);
        self.last = (Instant::now(), self.done);
    }

    pub(crate) fn finish(&self, connection: &Connection) -> Result<(), Failure> {
        let rate = self.done as f64 / self.begin.elapsed().as_secs_f64();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
        let (pages, free): (i64, i64) = (number("page_count")?, number("freelist_count")?);
        let size: i64 = number("page_size")?;
        let each = |bytes: i64| bytes as f64 / self.done as f64;
        println!(
            "  {rate:.0} readings/s; {:.1} bytes written a reading; {:.2} kept, free pages {:.2}",
            each((written() - self.written_before) as i64),
            each((pages - free) * size),
            each(free * size)
        );
        Ok(())
    }
}
