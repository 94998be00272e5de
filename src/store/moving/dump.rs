//! A store as one stream of bytes that no engine is needed to read: a part of a backup.
//!
//! ```text
//! BROOKLET DUMP 1
//! frames: mark, length (8 bytes), body
//!   T  {"name":…,"columns":[…]}   a table begins
//!   W  rows: values, each with a mark of its kind
//!   R  sensor (8 bytes), readings as a chunk with its checksum
//!   E  how many rows the table had (8 bytes)
//!   N  [["table",number],…]       the last numbers that were given
//!   Z                             the end
//! ```
//!
//! The file around it has the checksum of all.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::{
    Counting, MoveError, PIECE, Phase, Sink, Source, Tallies, Tally, Watch, pump,
    tables::{READING, TABLES, Table},
    tally::{BYTES, INT, NO, NULL, REAL, TEXT, YES, put},
};
use crate::{
    store::{
        chunks::{FULL, Sample, pack, unpack},
        engine::{Kind, Value, Values},
    },
    telemetry::SensorId,
};

const MAGIC: &str = "BROOKLET DUMP 1\n";
/// More than any row has.
const FRAME_MAX: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct TableHead {
    name: String,
    columns: Vec<String>,
}

impl TableHead {
    fn of(table: &Table) -> Self {
        let columns = table.columns().into_iter().map(|(name, _)| name.to_owned()).collect();
        Self { name: table.name.to_owned(), columns }
    }
}

/// Writes all of a source; how many rows of which table.
pub(in crate::store) fn write_dump(
    source: &mut dyn Source,
    to: impl Write,
    watch: Watch<'_>,
) -> Result<Tallies, MoveError> {
    let mut writer = DumpWriter { to, begun: None };
    writer.to.write_all(MAGIC.as_bytes())?;
    let mut counting = Counting {
        inner: Some(&mut writer),
        unequal: super::Stale::new(),
        engine: None,
        tally: Tally::default(),
        changed_texts: 0,
        phase: Phase::Copying,
        watch,
        buffer: Vec::new(),
    };
    let tallies = pump(source, &mut counting, |_| true)?;
    writer.frame(b'Z', &[])?;
    writer.to.flush()?;
    Ok(tallies)
}

struct DumpWriter<W> {
    to: W,
    begun: Option<&'static str>,
}

impl<W: Write> DumpWriter<W> {
    fn frame(&mut self, mark: u8, body: &[u8]) -> io::Result<()> {
        self.to.write_all(&[mark])?;
        self.to.write_all(&(body.len() as u64).to_le_bytes())?;
        self.to.write_all(body)
    }

    fn begin(&mut self, table: &'static Table) -> Result<(), MoveError> {
        if self.begun != Some(table.name) {
            self.begun = Some(table.name);
            let head = serde_json::to_vec(&TableHead::of(table)).map_err(io::Error::from)?;
            self.frame(b'T', &head)?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for DumpWriter<W> {
    fn rows(&mut self, table: &'static Table, rows: &mut Vec<Values>) -> Result<(), MoveError> {
        self.begin(table)?;
        let mut body = Vec::new();
        rows.iter().flatten().for_each(|value| put(value, &mut body));
        Ok(self.frame(b'W', &body)?)
    }

    fn readings(&mut self, sensor: SensorId, samples: &[Sample]) -> Result<(), MoveError> {
        if let Some(table) = super::tables::named(READING) {
            self.begin(table)?;
        }
        for some in samples.chunks(FULL) {
            let mut body = sensor.0.to_le_bytes().to_vec();
            body.extend(pack(some));
            self.frame(b'R', &body)?;
        }
        Ok(())
    }

    fn end(&mut self, table: &'static Table, rows: u64) -> Result<(), MoveError> {
        self.begin(table)?;
        Ok(self.frame(b'E', &rows.to_le_bytes())?)
    }

    fn numbers(&mut self, numbers: &[(String, i64)]) -> Result<(), MoveError> {
        let body = serde_json::to_vec(numbers).map_err(io::Error::from)?;
        Ok(self.frame(b'N', &body)?)
    }
}

/// Reads a dump, once.
pub(in crate::store) struct DumpSource<R> {
    from: R,
    /// Read, and not used.
    ahead: Option<(u8, Vec<u8>)>,
}

impl<R: BufRead> DumpSource<R> {
    pub(in crate::store) fn new(mut from: R) -> Result<Self, MoveError> {
        let mut magic = vec![0; MAGIC.len()];
        from.read_exact(&mut magic).map_err(cut)?;
        if magic != MAGIC.as_bytes() {
            return Err(MoveError::Damaged("it is none"));
        }
        Ok(Self { from, ahead: None })
    }

    /// Reads all of it.
    pub(in crate::store) fn read_through(&mut self) -> Result<Tallies, MoveError> {
        let watch: Watch<'_> = &mut |_| true;
        let mut counting = Counting {
            inner: None,
            unequal: super::Stale::new(),
            engine: None,
            tally: Tally::default(),
            changed_texts: 0,
            phase: Phase::Comparing,
            watch,
            buffer: Vec::new(),
        };
        let tallies = pump(self, &mut counting, |_| true)?;
        self.numbers()?;
        match self.frame()? {
            (b'Z', _) => Ok(tallies),
            _ => Err(MoveError::Damaged("there is more in it than is known")),
        }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), MoveError> {
        if let Some(frame) = self.ahead.take() {
            return Ok(frame);
        }
        let mut head = [0; 9];
        self.from.read_exact(&mut head).map_err(cut)?;
        let [mark, length @ ..] = head;
        let length = u64::from_le_bytes(length);
        if length > FRAME_MAX {
            return Err(MoveError::Damaged("a frame is too long"));
        }
        let mut body = Vec::new();
        let read = (&mut self.from).take(length).read_to_end(&mut body).map_err(cut)?;
        if read as u64 != length {
            return Err(MoveError::Damaged("it is cut short"));
        }
        Ok((mark, body))
    }

    /// Whether the table comes next; then its head is read.
    fn begins(&mut self, table: &Table) -> Result<bool, MoveError> {
        let (mark, body) = self.frame()?;
        let head: Option<TableHead> =
            if mark == b'T' { serde_json::from_slice(&body).ok() } else { None };
        match head {
            Some(head) if head.name == table.name => {
                if head.columns == TableHead::of(table).columns {
                    return Ok(true);
                }
                Err(MoveError::Damaged("a table has other columns in this version of Brooklet"))
            }
            Some(head) if !TABLES.iter().any(|known| known.name == head.name) => {
                Err(MoveError::Damaged("it has a table that is not known"))
            }
            _ => {
                self.ahead = Some((mark, body));
                Ok(false)
            }
        }
    }
}

fn cut(error: io::Error) -> MoveError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => MoveError::Damaged("it is cut short"),
        _ => MoveError::File(error),
    }
}

impl<R: BufRead> Source for DumpSource<R> {
    fn has(&self, _: &Table) -> bool {
        true
    }

    fn pour(&mut self, table: &'static Table, sink: &mut dyn Sink) -> Result<(), MoveError> {
        if !self.begins(table)? {
            return Ok(());
        }
        let mut rows_seen = 0;
        let columns = table.columns();
        loop {
            let (mark, body) = self.frame()?;
            match mark {
                b'W' => {
                    let mut rows = rows(&body, &columns)?;
                    rows_seen += rows.len() as u64;
                    sink.rows(table, &mut rows)?;
                }
                b'R' => {
                    let (sensor, blob) =
                        body.split_first_chunk().ok_or(MoveError::Damaged("readings of nobody"))?;
                    let samples = unpack(blob)?;
                    rows_seen += samples.len() as u64;
                    sink.readings(SensorId(i64::from_le_bytes(*sensor)), &samples)?;
                }
                b'E' if body == rows_seen.to_le_bytes() => return Ok(()),
                b'E' => return Err(MoveError::Damaged("a table has not all of its rows")),
                _ => return Err(MoveError::Damaged("a table does not end")),
            }
        }
    }

    fn numbers(&mut self) -> Result<Vec<(String, i64)>, MoveError> {
        match self.frame()? {
            (b'N', body) => {
                serde_json::from_slice(&body).map_err(|_| MoveError::Damaged("numbers are none"))
            }
            _ => Err(MoveError::Damaged("its tables are in another order")),
        }
    }

    fn estimate(&mut self) -> Result<u64, MoveError> {
        Ok(0)
    }
}

fn rows(mut body: &[u8], columns: &[(&str, Kind)]) -> Result<Vec<Values>, MoveError> {
    let mut rows = Vec::with_capacity(PIECE.rows.min(body.len()));
    while !body.is_empty() {
        let row = columns.iter().map(|(_, kind)| value(&mut body, *kind));
        rows.push(row.collect::<Result<Values, MoveError>>()?);
    }
    Ok(rows)
}

fn value(body: &mut &[u8], kind: Kind) -> Result<Value, MoveError> {
    const DAMAGE: MoveError = MoveError::Damaged("a value is none");
    let mark = take(body, 1)?.first().copied();
    let mark = mark.ok_or(DAMAGE)?;
    let mut word = || -> Result<u64, MoveError> {
        let bytes = take(body, 8)?.first_chunk().copied().ok_or(DAMAGE)?;
        Ok(u64::from_le_bytes(bytes))
    };
    Ok(match (mark, kind) {
        (NULL, _) => Value::Null,
        (INT, Kind::Int) => Value::Int(word()?.cast_signed()),
        (REAL, Kind::Real) => Value::Real(f64::from_bits(word()?)),
        (NO, Kind::Bool) => Value::Bool(false),
        (YES, Kind::Bool) => Value::Bool(true),
        (TEXT, Kind::Text) | (BYTES, Kind::Bytes) => {
            let length = usize::try_from(word()?).map_err(|_| DAMAGE)?;
            let bytes = take(body, length)?.to_vec();
            match kind {
                Kind::Text => Value::Text(String::from_utf8(bytes).map_err(|_| DAMAGE)?),
                _ => Value::Bytes(bytes),
            }
        }
        _ => return Err(DAMAGE),
    })
}

fn take<'a>(body: &mut &'a [u8], length: usize) -> Result<&'a [u8], MoveError> {
    let (taken, rest) =
        body.split_at_checked(length).ok_or(MoveError::Damaged("a value is cut short"))?;
    *body = rest;
    Ok(taken)
}
