//! `brooklet verify`, `backup` and `restore`: what is stored is looked at, copied and brought back.
//!
//! The first two open the store themselves, to read only: a server may run beside them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{console, print, runtime};
use crate::{
    access::{self, KEYS_FILE},
    app::{AppError, store_location},
    clock::Clock,
    config::{DatabasePlace, Settings},
    store::{
        self, BackupFile, BackupHeader, BackupOrder, Fault, Health, Store, back_up as make_backup,
        check_backup, restore_backup,
    },
    telemetry::Timestamp,
};

/// What was looked at is not as it should be; it has been told.
#[derive(Debug, thiserror::Error)]
#[error("what is stored is damaged")]
pub(super) struct Faulty;

pub(super) fn verify(settings: &Settings) -> anyhow::Result<()> {
    let location = store_location(settings).map_err(AppError::Settings)?;
    refuse_absent(settings)?;
    let health = runtime()?.block_on(store::verify(&location))?;
    print(&told(&health))?;
    if health.faults.is_empty() { Ok(()) } else { Err(Faulty.into()) }
}

fn refuse_absent(settings: &Settings) -> anyhow::Result<()> {
    match console::absent_file(settings)? {
        Some(path) => bail!("no store at {}; pass --config", path.display()),
        None => Ok(()),
    }
}

/// The SQLite file; a server's data is not ours to copy.
fn database_file(settings: &Settings, instead: &str) -> anyhow::Result<PathBuf> {
    match settings.database_place().map_err(AppError::Settings)? {
        DatabasePlace::File(path) => Ok(path),
        DatabasePlace::Server(_) => bail!(
            "the data is on a server: {instead} there, with {KEYS_FILE} of data_dir beside it"
        ),
    }
}

pub(super) fn back_up(settings: &Settings, target: &Path, force: bool) -> anyhow::Result<()> {
    let database = database_file(settings, "back it up with pg_dump or mariadb-dump")?;
    refuse_absent(settings)?;
    let beside = access::parts_of_a_backup(&settings.data_dir)?;
    let order = BackupOrder {
        database: &database,
        target,
        beside: &beside,
        made_at: Timestamp::from_micros(Clock::system().unix_micros()),
        replaces: force,
    };
    let made = make_backup(&order, |_, _| true);
    let made = made.with_context(|| format!("no backup at {}", target.display()))?;
    let BackupFile { header, bytes, sha256 } = made;
    print(&format!(
        "{}: {bytes} bytes, of {}, as of {}\nSHA-256 {sha256}\n",
        target.display(),
        header.original_bytes(),
        header.made_at
    ))
}

pub(super) fn check(file: &Path) -> anyhow::Result<()> {
    let checked = check_backup(file, &[KEYS_FILE]);
    let (header, health) = checked.with_context(|| file.display().to_string())?;
    print(&format!("{}\n{}", shown(file, &header), told(&health)))?;
    if health.faults.is_empty() { Ok(()) } else { Err(Faulty.into()) }
}

pub(super) fn restore(settings: &Settings, file: &Path) -> anyhow::Result<()> {
    let location = store_location(settings).map_err(AppError::Settings)?;
    let database = database_file(settings, "restore it with psql or mariadb")?;
    let restored = restore_backup(file, &database, &settings.data_dir, &[KEYS_FILE]);
    let header = restored.with_context(|| format!("{} is not restored", file.display()))?;
    // Once, so that the schema is this version's and what is wrong is told here.
    runtime()?.block_on(async {
        let store = Store::at(&location).await?;
        store.close().await;
        print(&format!("{}\nIt is restored to {}.\n", shown(file, &header), database.display()))
    })
}

fn shown(file: &Path, header: &BackupHeader) -> String {
    let BackupHeader { version, engine, schema, made_at, .. } = header;
    let file = file.display();
    format!("{file}: a backup as of {made_at}, by Brooklet {version} ({engine}, schema {schema}).")
}

fn told(health: &Health) -> String {
    let Health { devices, sensors, readings, chunks, roll_ups, journal_rows, alarms, more, .. } =
        health;
    let faults = health.faults.len() as u64 + more;
    let place = match health.has_chunks {
        true => format!("in {chunks} chunks and {journal_rows} journal rows, {roll_ups} roll-ups"),
        false => "in rows, which can be read; the server looks after its own pages".to_owned(),
    };
    let faults = match faults {
        0 => "nothing is wrong".to_owned(),
        1 => "1 finding".to_owned(),
        faults => format!("{faults} findings"),
    };
    let mut text = format!(
        "{devices} devices, {sensors} sensors, {alarms} alarms, {readings} readings {place}: {faults}\n"
    );
    for Fault { sensor, what, advice } in &health.faults {
        let about = sensor.as_deref().map_or_else(String::new, |sensor| format!("{sensor}: "));
        text.push_str(&format!("{about}{what}\n    {advice}\n"));
    }
    if *more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    text
}
