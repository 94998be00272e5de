//! What a server has, as a dump in a backup; and back, into a store of any engine.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Write},
    path::Path,
};

use super::{BackupError, BackupHeader, Copied, DUMP, Temporary, format, restore_file, unpack};
use crate::store::{
    Health, ServerSettings, Step, StoreLocation,
    moving::{DumpSource, Opened, Source, fill, write_dump},
    open_server, schema,
};

const BUFFER: usize = 256 << 10;

/// Writes everything of one moment. Of the steps told, packing takes about as many as this.
pub(super) fn dump(
    settings: &ServerSettings,
    copy: &Temporary,
    go_on: &mut impl FnMut(u64, u64) -> bool,
) -> Result<Copied, BackupError> {
    let mut source = Opened::new(&StoreLocation::Server(settings.clone()))?;
    let expected = source.estimate()?;
    let file = File::options().write(true).open(&copy.0)?;
    let mut writer = BufWriter::with_capacity(BUFFER, file);
    let mut before = 0;
    let mut watch = |step: Step| {
        let done = before + step.rows;
        if step.is_over {
            before = done;
        }
        go_on(done, done.max(expected).saturating_mul(2))
    };
    write_dump(&mut source, &mut writer, &mut watch)?;
    writer.flush()?;
    drop(writer);
    let bytes = fs::metadata(&copy.0)?.len();
    let schema = schema::known().pop().unwrap_or_default();
    Ok(Copied { name: DUMP, engine: open_server::engine_of(&settings.url).name(), schema, bytes })
}

/// Reads all of a dump.
pub(super) fn read_through(path: &Path) -> Result<Health, BackupError> {
    let reader = BufReader::with_capacity(BUFFER, File::open(path)?);
    let tallies = DumpSource::new(reader)?.read_through()?;
    let rows = |name: &str| tallies.get(name).map_or(0, |tally| tally.rows);
    Ok(Health {
        devices: rows("device"),
        sensors: rows("sensor"),
        readings: rows("reading"),
        alarms: rows("alarm"),
        roll_ups: rows("reading_hour") + rows("reading_day") + rows("reading_minute"),
        ..Health::default()
    })
}

/// Puts what a backup holds in its place: the database where `to` says, parts of these `names` into
/// `folder`. Nothing may be there yet, and no other Brooklet. A dump goes into a store of any engine.
///
/// # Errors
/// When something is there, the backup is damaged or of a newer version; nothing is changed then. When a
/// dump can't be taken in, a store is left behind that nobody opens.
pub async fn restore_backup(
    path: &Path,
    to: &StoreLocation,
    folder: &Path,
    names: &[&str],
) -> Result<BackupHeader, BackupError> {
    // Before anything is made for what is none.
    let (header, ..) = format::look(path)?;
    match to {
        StoreLocation::File(settings) if !header.is_dump() => {
            return restore_file(path, &settings.path, folder, names);
        }
        StoreLocation::Server(_) if !header.is_dump() => return Err(BackupError::OfFile),
        StoreLocation::File(settings) if settings.path.exists() => {
            return Err(BackupError::Occupied { path: settings.path.display().to_string() });
        }
        _ => {}
    }
    fs::create_dir_all(folder)?;
    let mut unpacked = unpack(path, &folder.join(super::DATABASE), folder, names)?;
    let Some((dump, _)) = unpacked.files.pop() else {
        return Err(BackupError::Damaged("there is no database in it"));
    };
    // The keys first: a restore that is cut short is begun again, and finds them as they are.
    let header = unpacked.place()?;
    let reader = BufReader::with_capacity(BUFFER, File::open(&dump.0)?);
    let source = Opened::of(DumpSource::new(reader)?);
    let moved = fill(source, to, |_| true).await?;
    if moved.is_equal() {
        return Ok(header);
    }
    let differ = moved.tables.iter().filter(|table| !table.is_equal() && table.target.is_some());
    let names: Vec<&str> = differ.map(|table| table.name).collect();
    Err(BackupError::Differs(names.join(", ")))
}
