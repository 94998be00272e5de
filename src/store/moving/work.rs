//! The whole of it: an empty target is made, filled, read again, and opened for use.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use tokio::task::spawn_blocking;

use super::{
    Counting, MoveError, Moved, MovedTable, Phase, Sink, Source, Stale, Tallies, Tally, Target,
    Watch,
    from_file::{self, FileSource},
    from_server::{self, ServerSource},
    mark, pump,
    tables::{OWN, STALE, TABLES, Table},
    to_file::FileTarget,
    to_server::ServerTarget,
};
use crate::{
    store::{
        ServerSettings, Store, StoreError, StoreLocation,
        chunks::Sample,
        engine::{Value, Values},
        open_server,
    },
    telemetry::SensorId,
};

/// Moves everything from one store to another that is empty, and looks whether it is equal. A server may
/// run on the first: what comes meanwhile is not moved.
///
/// # Errors
/// When one of them can't be opened, the second is not empty, or something can't be read or written.
/// What was written is left behind then, marked as unfinished. What is not equal is no error, and left
/// behind in the same way.
pub async fn copy(
    from: &StoreLocation,
    to: &StoreLocation,
    watch: impl FnMut(super::Step) -> bool + Send + 'static,
) -> Result<Moved, MoveError> {
    refuse_same(from, to)?;
    let from = from.clone();
    let source = blocking(move || Opened::new(&from)).await?;
    fill(source, to, watch).await
}

/// Looks whether two stores hold the same.
///
/// # Errors
/// When one of them can't be read.
pub async fn compare(
    from: &StoreLocation,
    to: &StoreLocation,
    mut watch: impl FnMut(super::Step) -> bool + Send + 'static,
) -> Result<Moved, MoveError> {
    refuse_same(from, to)?;
    let (from, to) = (from.clone(), to.clone());
    blocking(move || {
        let mut source = Opened::new(&from)?;
        let mut target = Opened::new(&to)?;
        let mut unequal = stale(&mut source)?;
        unequal.extend(stale(&mut target)?);
        let mut counting = counting(None, Some(engine(&to)), Phase::Copying, &mut watch);
        counting.unequal.clone_from(&unequal);
        let expected = pump(&mut source, &mut counting, |_| true)?;
        let changed_texts = counting.changed_texts;
        let mut counting = self::counting(None, None, Phase::Comparing, &mut watch);
        counting.unequal = unequal;
        let found = pump(&mut target, &mut counting, |_| true)?;
        let has_place =
            |name: &str| super::tables::named(name).is_some_and(|table| target.has(table));
        Ok(moved(&expected, &found, has_place, changed_texts))
    })
    .await
}

/// The hours that a store is to make again.
fn stale(source: &mut Opened) -> Result<Stale, MoveError> {
    struct Hours(Stale);
    impl Sink for Hours {
        fn rows(&mut self, _: &'static Table, rows: &mut Vec<Values>) -> Result<(), MoveError> {
            for row in rows {
                if let [Value::Int(sensor), Value::Int(hour)] = row.as_slice() {
                    self.0.insert((*sensor, *hour));
                }
            }
            Ok(())
        }

        fn readings(&mut self, _: SensorId, _: &[Sample]) -> Result<(), MoveError> {
            Ok(())
        }
    }
    let mut hours = Hours(Stale::new());
    if let Some(table) = super::tables::named(STALE).filter(|table| source.has(table)) {
        source.pour(table, &mut hours)?;
    }
    Ok(hours.0)
}

/// A source that goes to another thread.
pub(in crate::store) struct Opened(Box<dyn Source + Send>);

impl Opened {
    pub(in crate::store) fn new(location: &StoreLocation) -> Result<Self, MoveError> {
        Ok(Self(match location {
            StoreLocation::File(settings) => Box::new(FileSource::open(&settings.path)?),
            StoreLocation::Server(settings) => Box::new(ServerSource::open(settings)?),
        }))
    }

    pub(in crate::store) fn of(source: impl Source + Send + 'static) -> Self {
        Self(Box::new(source))
    }
}

impl Source for Opened {
    fn has(&self, table: &Table) -> bool {
        self.0.has(table)
    }

    fn pour(&mut self, table: &'static Table, sink: &mut dyn Sink) -> Result<(), MoveError> {
        self.0.pour(table, sink)
    }

    fn numbers(&mut self) -> Result<Vec<(String, i64)>, MoveError> {
        self.0.numbers()
    }

    fn estimate(&mut self) -> Result<u64, MoveError> {
        self.0.estimate()
    }
}

/// Fills an empty store from a source.
///
/// # Errors
/// As [`copy`].
pub(in crate::store) async fn fill(
    source: Opened,
    to: &StoreLocation,
    watch: impl FnMut(super::Step) -> bool + Send + 'static,
) -> Result<Moved, MoveError> {
    let looked = to.clone();
    blocking(move || refuse_strangers(&looked)).await?;
    // Makes the schema, and keeps everybody out while it is open.
    let store = Store::at(&migrating(to)).await?;
    let shown = store.shown();
    let to = to.clone();
    let moved = blocking(move || {
        refuse_occupied(&to, &shown)?;
        filled(source, &to, watch)
    })
    .await;
    store.close().await;
    moved
}

fn filled(
    mut source: Opened,
    to: &StoreLocation,
    mut watch: impl FnMut(super::Step) -> bool,
) -> Result<Moved, MoveError> {
    let mut target: Box<dyn Target> = match to {
        StoreLocation::File(settings) => Box::new(FileTarget::begin(&settings.path)?),
        StoreLocation::Server(settings) => Box::new(ServerTarget::begin(settings)?),
    };
    let engine = target.engine();
    let placed: BTreeSet<&str> =
        TABLES.iter().filter(|table| target.has(table)).map(|table| table.name).collect();
    let mut counting = counting(Some(target.as_mut()), Some(engine), Phase::Copying, &mut watch);
    let expected = pump(&mut source, &mut counting, |table| placed.contains(table.name))?;
    let changed_texts = counting.changed_texts;
    drop(source);
    let mut again = reading_again(to)?;
    let mut counting = self::counting(None, None, Phase::Comparing, &mut watch);
    let found = pump(again.as_mut(), &mut counting, |_| true)?;
    drop(again);
    let moved = moved(&expected, &found, |name| placed.contains(name), changed_texts);
    if moved.is_equal() {
        target.finish()?;
    }
    Ok(moved)
}

fn reading_again(to: &StoreLocation) -> Result<Box<dyn Source>, MoveError> {
    Ok(match to {
        StoreLocation::File(settings) => Box::new(FileSource::open_marked(&settings.path)?),
        StoreLocation::Server(settings) => Box::new(ServerSource::open_marked(settings)?),
    })
}

fn counting<'a>(
    inner: Option<&'a mut dyn Sink>,
    engine: Option<crate::store::Engine>,
    phase: Phase,
    watch: Watch<'a>,
) -> Counting<'a> {
    let (tally, buffer) = (Tally::default(), Vec::new());
    let unequal = Stale::new();
    Counting { inner, unequal, engine, tally, changed_texts: 0, phase, watch, buffer }
}

fn moved(
    expected: &Tallies,
    found: &Tallies,
    has_place: impl Fn(&str) -> bool,
    changed_texts: u64,
) -> Moved {
    let tables = expected.iter().map(|(name, source)| {
        let target = found.get(name).copied().unwrap_or_default();
        let target = (has_place(name) || source.rows == 0).then_some(target);
        MovedTable { name, source: *source, target }
    });
    Moved { tables: tables.collect(), changed_texts }
}

fn engine(location: &StoreLocation) -> crate::store::Engine {
    match location {
        StoreLocation::File(_) => crate::store::Engine::Sqlite,
        StoreLocation::Server(settings) => open_server::engine_of(&settings.url),
    }
}

/// The schema is made whatever the configuration says of it: nothing is there.
fn migrating(to: &StoreLocation) -> StoreLocation {
    match to {
        StoreLocation::File(_) => to.clone(),
        StoreLocation::Server(settings) => {
            StoreLocation::Server(ServerSettings { migrates: true, ..settings.clone() })
        }
    }
}

fn refuse_same(from: &StoreLocation, to: &StoreLocation) -> Result<(), MoveError> {
    let same = match (from, to) {
        (StoreLocation::File(from), StoreLocation::File(to)) => {
            let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let (from, to): (PathBuf, PathBuf) = (real(&from.path), real(&to.path));
            (from == to).then(|| to.display().to_string())
        }
        (StoreLocation::Server(from), StoreLocation::Server(to)) => {
            (from.url == to.url).then(|| open_server::shown(&to.url))
        }
        _ => None,
    };
    same.map_or(Ok(()), |place| Err(MoveError::Same(place)))
}

/// What is there before the schema is made: tables that are not Brooklet's are somebody's.
fn refuse_strangers(to: &StoreLocation) -> Result<(), MoveError> {
    let (place, tables) = match to {
        StoreLocation::File(settings) => {
            if !settings.path.exists() {
                return Ok(());
            }
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&settings.path, flags);
            let tables = from_file::tables(&connection.map_err(StoreError::from)?)?;
            (settings.path.display().to_string(), tables)
        }
        StoreLocation::Server(settings) => {
            let mut connection = from_server::connect(settings)?;
            (open_server::shown(&settings.url), from_server::tables(&mut connection)?)
        }
    };
    if tables.contains(mark::UNFINISHED) {
        return Err(StoreError::Unfinished.into());
    }
    let is_ours = |name: &str| OWN.contains(&name) || TABLES.iter().any(|table| table.name == name);
    let strange: Vec<_> = tables.iter().filter(|name| !is_ours(name)).cloned().collect();
    if strange.is_empty() {
        return Ok(());
    }
    let some = strange.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    let more = if strange.len() > 5 { " and others" } else { "" };
    Err(MoveError::Occupied { place, found: format!("it has the table {some}{more}") })
}

/// A schema may be there, rows may not.
fn refuse_occupied(to: &StoreLocation, place: &str) -> Result<(), MoveError> {
    let mut found = Vec::new();
    let mut note = |table: &str, rows: u64| match rows {
        0 => {}
        1 => found.push(format!("{table} has 1 row")),
        2..=1_000 => found.push(format!("{table} has {rows} rows")),
        _ => found.push(format!("{table} has more than 1000 rows")),
    };
    match to {
        StoreLocation::File(settings) => {
            let connection = Connection::open(&settings.path).map_err(StoreError::from)?;
            let there = from_file::tables(&connection)?;
            let ours =
                TABLES.iter().map(|table| table.name).chain(["reading_journal", "reading_chunk"]);
            for name in ours.filter(|name| there.contains(*name)) {
                note(name, from_file::found(&connection, name)?);
            }
        }
        StoreLocation::Server(settings) => {
            let mut connection = from_server::connect(settings)?;
            let there = from_server::tables(&mut connection)?;
            for table in TABLES.iter().filter(|table| there.contains(table.name)) {
                note(table.name, from_server::found(&mut connection, table.name)?);
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(MoveError::Occupied { place: place.to_owned(), found: found.join(", ") })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MoveError> + Send + 'static,
) -> Result<T, MoveError> {
    let died = |_| StoreError::Unavailable("the thread that moves rows has died".to_owned());
    spawn_blocking(work).await.map_err(died)?
}
