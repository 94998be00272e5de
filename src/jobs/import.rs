//! Readings from a file: read in pieces, checked line by line, stored through the committer.
//!
//! One piece is under way at a time, so ingest shares the store with a thousand readings, not with
//! the file. What is stored already counts as a duplicate, so an import that is cut short goes on
//! from its last checkpoint and a file sent twice changes nothing.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use foldhash::{HashMap, HashMapExt};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::{
    Format, JobError, Jobs, SpooledFile,
    lines::{Columns, Row, Terms, json_row},
    progress::Progress,
};
use crate::{
    ingest::{Detailed, Import, ImportTerms, OnConflict, ReadingResult, Verdict},
    registry::Registry,
    store::{JobRow, StoreError},
    telemetry::{DeviceKey, Sample},
};

/// Readings under way at a time.
const PIECE: usize = 1_000;
/// A longer line is refused; it is read over, not held.
const LINE_MAX: usize = 64 * 1024;
/// Bytes read between two looks at whether the job was called off.
const STEP: u64 = 4 * 1024 * 1024;
/// Refused lines that are told one by one.
const ERRORS_MAX: usize = 100;

/// What becomes of devices and sensors that are not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// What ingest does with them (`devices.unknown`).
    Policy,
    /// Their lines are refused.
    Reject,
}

/// What is asked for with an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportOrder {
    pub format: Format,
    pub is_gzip: bool,
    pub unknown: Unknown,
    pub terms: ImportTerms,
    /// Nothing is stored; what would be is counted.
    pub is_dry_run: bool,
    /// The file unpacked may have so many bytes.
    pub unpacked_max: u64,
}

impl ImportOrder {
    pub(super) fn parameters(&self) -> String {
        json!({
            "format": self.format.as_str(),
            "gzip": self.is_gzip,
            "unknown": if self.unknown == Unknown::Policy { "policy" } else { "reject" },
            "conflicts":
                if self.terms.on_conflict == OnConflict::Keep { "keep" } else { "replace" },
            "alarms": self.terms.is_judged,
            "dry_run": self.is_dry_run,
            "max_bytes": self.unpacked_max,
        })
        .to_string()
    }

    fn of(row: &JobRow) -> Self {
        let given: Map<String, Value> = serde_json::from_str(&row.parameters).unwrap_or_default();
        let is = |name: &str, word: &str| given.get(name).and_then(Value::as_str) == Some(word);
        let flag = |name: &str| given.get(name).and_then(Value::as_bool).unwrap_or(false);
        let replaces = is("conflicts", "replace");
        Self {
            format: if is("format", "csv") { Format::Csv } else { Format::Ndjson },
            is_gzip: flag("gzip"),
            unknown: if is("unknown", "reject") { Unknown::Reject } else { Unknown::Policy },
            terms: ImportTerms {
                on_conflict: if replaces { OnConflict::Replace } else { OnConflict::Keep },
                is_judged: flag("alarms"),
            },
            is_dry_run: flag("dry_run"),
            unpacked_max: given.get("max_bytes").and_then(Value::as_u64).unwrap_or(u64::MAX),
        }
    }
}

/// Whether the head of a file can be read.
pub(super) fn check(file: &SpooledFile, order: ImportOrder) -> Result<(), JobError> {
    let mut lines = Lines::open(file.path(), order)?;
    if order.format == Format::Csv {
        lines.columns()?;
    }
    Ok(())
}

/// A file, line by line.
struct Lines {
    reader: Box<dyn BufRead + Send>,
    order: ImportOrder,
    columns: Option<Columns>,
    /// Of the last line read, from 1.
    number: u64,
    /// Bytes behind us, unpacked, up to the end of that line.
    offset: u64,
    /// What is held of the line under way, and how long it is by then.
    line: Vec<u8>,
    length: u64,
    /// Bytes that may be read before the next pause.
    left: u64,
    /// Bytes of a packed file that are read over first: they were dealt with before a restart.
    behind: u64,
}

enum Next<'a> {
    /// A line without its end, or what is wrong with it.
    Line(Result<&'a str, String>),
    /// Enough for now; the next call goes on, in the middle of a line if need be.
    Pause,
    End,
}

/// A piece of a file.
#[derive(Default)]
struct Piece {
    /// With their lines' numbers.
    rows: Vec<(u64, Row)>,
    errors: Vec<(u64, String)>,
    is_last: bool,
}

impl Lines {
    fn open(path: &Path, order: ImportOrder) -> io::Result<Self> {
        let file = BufReader::with_capacity(128 * 1024, File::open(path)?);
        let reader: Box<dyn BufRead + Send> = if order.is_gzip {
            Box::new(BufReader::with_capacity(128 * 1024, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        let line = Vec::with_capacity(512);
        let (number, offset, length, behind) = (0, 0, 0, 0);
        Ok(Self { reader, order, columns: None, number, offset, line, length, left: STEP, behind })
    }

    /// Goes to where a job was; what has been read by then (the head) stays read.
    fn skip_to(&mut self, path: &Path, offset: u64, number: u64) -> io::Result<()> {
        if offset <= self.offset {
            return Ok(());
        }
        if self.order.is_gzip {
            self.behind = offset - self.offset;
        } else {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            self.reader = Box::new(BufReader::with_capacity(128 * 1024, file));
        }
        (self.offset, self.number) = (offset, number);
        Ok(())
    }

    /// Reads over a step of what is behind.
    fn catch_up(&mut self) -> io::Result<()> {
        let step = self.behind.min(STEP);
        let read = io::copy(&mut (&mut self.reader).take(step), &mut io::sink())?;
        // A file that has become shorter ends here.
        self.behind = if read < step { 0 } else { self.behind - step };
        Ok(())
    }

    fn columns(&mut self) -> Result<(), JobError> {
        let head = match self.next()? {
            Next::Line(Ok(head)) => head.trim_start_matches('\u{feff}').to_owned(),
            Next::Line(Err(error)) => return Err(JobError::Invalid(error)),
            Next::Pause => return Err(JobError::Invalid(too_long())),
            Next::End => return Err(JobError::Invalid("the file is empty".to_owned())),
        };
        self.columns = Some(Columns::read(&head).map_err(JobError::Invalid)?);
        Ok(())
    }

    fn next(&mut self) -> Result<Next<'_>, JobError> {
        if self.length == 0 {
            self.line.clear();
        }
        loop {
            if self.left == 0 {
                return Ok(Next::Pause);
            }
            let available = self.reader.fill_buf().map_err(unreadable)?;
            if available.is_empty() {
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            if self.line.len() <= LINE_MAX {
                self.line.extend(available.iter().take(taken));
            }
            self.reader.consume(taken);
            self.length += taken as u64;
            self.left = self.left.saturating_sub(taken as u64);
            // Here and not at the line's end, which may never come.
            if self.offset + self.length > self.order.unpacked_max {
                let detail = format!("unpacked it has more than {} bytes", self.order.unpacked_max);
                return Err(JobError::Invalid(detail));
            }
            if end.is_some() {
                break;
            }
        }
        if self.length == 0 {
            return Ok(Next::End);
        }
        self.number += 1;
        self.offset += std::mem::take(&mut self.length);
        if self.line.len() > LINE_MAX {
            return Ok(Next::Line(Err(too_long())));
        }
        let text = std::str::from_utf8(&self.line).map(|line| line.trim_end_matches(['\r', '\n']));
        Ok(Next::Line(text.map_err(|_| "the line is not UTF-8".to_owned())))
    }

    fn piece(&mut self, terms: Terms<'_>) -> Result<Piece, JobError> {
        let mut piece = Piece::default();
        if self.behind > 0 {
            self.catch_up().map_err(unreadable)?;
            return Ok(piece);
        }
        self.left = STEP;
        while piece.rows.len() + piece.errors.len() < PIECE {
            let columns = self.columns.take();
            let mut is_paused = false;
            let read = match self.next()? {
                Next::End => {
                    piece.is_last = true;
                    None
                }
                Next::Pause => {
                    is_paused = true;
                    None
                }
                Next::Line(Ok(line)) if line.trim().is_empty() => None,
                Next::Line(Ok(line)) => Some(match &columns {
                    Some(columns) => columns.row(line, terms),
                    None => json_row(line.trim_start_matches('\u{feff}'), terms),
                }),
                Next::Line(Err(error)) => Some(Err(error)),
            };
            self.columns = columns;
            match read {
                Some(Ok(row)) => piece.rows.push((self.number, row)),
                Some(Err(error)) => piece.errors.push((self.number, error)),
                None if piece.is_last || is_paused => break,
                None => {}
            }
        }
        Ok(piece)
    }
}

fn too_long() -> String {
    format!("the line has more than {LINE_MAX} bytes")
}

/// A file that is no gzip, or is cut short, is its sender's fault.
fn unreadable(error: io::Error) -> JobError {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            JobError::Invalid(format!("the file can't be unpacked: {error}"))
        }
        _ => JobError::File(error),
    }
}

impl Jobs {
    pub(super) async fn run_import(
        &self,
        row: &JobRow,
        progress: &mut Progress,
    ) -> Result<(), JobError> {
        let order = ImportOrder::of(row);
        let path = self.folder.join(&row.subject);
        let at = |name: &str| progress.checkpoint.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (offset, number) = (at("offset"), at("line"));
        let mut lines = blocking(move || reopened(path, order, offset, number)).await?;
        loop {
            let (zone, now) = (self.tap.zone().clone(), self.now());
            let piece;
            (lines, piece) = blocking(move || {
                let read = lines.piece(Terms { zone: &zone, now })?;
                Ok((lines, read))
            })
            .await?;
            let is_last = piece.is_last;
            self.store_piece(piece, order, progress).await?;
            progress.checkpoint.insert("offset".to_owned(), lines.offset.into());
            progress.checkpoint.insert("line".to_owned(), lines.number.into());
            progress.result.insert("lines".to_owned(), lines.number.into());
            // Of a packed file the bytes unpacked are known, and their sum at its end.
            progress.done = i64::try_from(lines.offset).unwrap_or(i64::MAX);
            progress.total = progress.total.max(progress.done);
            if is_last {
                progress.total = progress.done;
                return Ok(());
            }
            self.note(progress).await?;
        }
    }

    async fn store_piece(
        &self,
        piece: Piece,
        order: ImportOrder,
        progress: &mut Progress,
    ) -> Result<(), JobError> {
        let mut told = Told { refused: piece.errors, ..Told::default() };
        let mut by_device: HashMap<DeviceKey, (Vec<u64>, Vec<Sample>)> = HashMap::new();
        for (number, row) in piece.rows {
            if order.unknown == Unknown::Reject
                && let Err(error) = known(&self.registry, &row)
            {
                told.refused.push((number, error));
                continue;
            }
            let (numbers, readings) = by_device.entry(row.device).or_default();
            numbers.push(number);
            readings.push(row.sample);
        }
        let imports = by_device.into_iter().map(|(device, (numbers, readings))| async move {
            let import = Import { device, readings, terms: order.terms };
            let told = match order.is_dry_run {
                false => self.tap.import(import).await,
                true => self.tap.rehearse_import(import).await,
            };
            (numbers, told)
        });
        for (numbers, detailed) in join_all(imports).await {
            told.take(&numbers, detailed)?;
        }
        told.note(progress);
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| JobError::Panicked)?
}

fn reopened(
    path: PathBuf,
    order: ImportOrder,
    offset: u64,
    number: u64,
) -> Result<Lines, JobError> {
    let mut lines = Lines::open(&path, order)?;
    if order.format == Format::Csv {
        lines.columns()?;
    }
    lines.skip_to(&path, offset, number)?;
    Ok(lines)
}

fn known(registry: &Registry, row: &Row) -> Result<(), String> {
    let Some(device) = registry.get(row.device.as_str()) else {
        return Err(format!("the device {} is not registered", row.device));
    };
    let (name, device) = (row.sample.sensor.as_str(), Arc::clone(&device));
    match device.sensor(name) {
        Some(_) => Ok(()),
        None => Err(format!("the device {} has no sensor {name}", row.device)),
    }
}

/// What became of a piece.
#[derive(Default)]
struct Told {
    stored: u64,
    replaced: u64,
    duplicates: u64,
    refused: Vec<(u64, String)>,
}

impl Told {
    fn take(&mut self, numbers: &[u64], detailed: Detailed) -> Result<(), JobError> {
        if detailed.verdict == Verdict::Unavailable {
            return Err(StoreError::Unavailable("readings were not stored".to_owned()).into());
        }
        // Refused as a whole, for one reason.
        let whole = detailed.verdict.rejections().first().map(ToString::to_string);
        let mut readings = detailed.readings.into_iter();
        for number in numbers {
            let Some(reading) = readings.next() else {
                let why = whole.clone().unwrap_or_else(|| "it was not taken".to_owned());
                self.refused.push((*number, why));
                continue;
            };
            match reading.result {
                ReadingResult::Stored => self.stored += 1,
                ReadingResult::Replaced => self.replaced += 1,
                ReadingResult::Duplicate => self.duplicates += 1,
                ReadingResult::Refused(_) => {
                    let detail = reading.detail.unwrap_or_default();
                    self.refused.push((*number, format!("{}: {detail}", reading.sensor)));
                }
            }
        }
        Ok(())
    }

    fn note(mut self, progress: &mut Progress) {
        progress.add("stored", self.stored);
        progress.add("replaced", self.replaced);
        progress.add("duplicates", self.duplicates);
        progress.add("refused", self.refused.len() as u64);
        self.refused.sort_unstable();
        let errors = progress.result.entry("errors").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(errors) = errors {
            let room = ERRORS_MAX.saturating_sub(errors.len());
            let told = self.refused.into_iter().take(room);
            errors.extend(told.map(|(line, detail)| json!({"line": line, "detail": detail})));
        }
    }
}
