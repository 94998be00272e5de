//! `brooklet verify`, `backup` and `restore`: what is stored is looked at, copied and brought back.
//!
//! The first two open the store themselves, to read only: a server may run beside them.

use std::path::Path;

use anyhow::Context;

use super::{console, print, runtime};
use crate::{
    access::{self, KEYS_FILE},
    app::{AppError, store_location},
    clock::Clock,
    config::Settings,
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
    console::refuse_absent(settings)?;
    let health = runtime()?.block_on(store::verify(&location))?;
    print(&told(&health))?;
    if health.faults.is_empty() { Ok(()) } else { Err(Faulty.into()) }
}

pub(super) fn back_up(settings: &Settings, target: &Path, force: bool) -> anyhow::Result<()> {
    let source = store_location(settings).map_err(AppError::Settings)?;
    console::refuse_absent(settings)?;
    let beside = access::parts_of_a_backup(&settings.data_dir)?;
    let order = BackupOrder {
        source: &source,
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
    let told = match health.has_chunks {
        true => told(&health),
        false => told_in(&health, "in a dump, all of which can be read"),
    };
    print(&format!("{}\n{told}", shown(file, &header)))?;
    if health.faults.is_empty() { Ok(()) } else { Err(Faulty.into()) }
}

pub(super) fn restore(settings: &Settings, file: &Path) -> anyhow::Result<()> {
    let location = store_location(settings).map_err(AppError::Settings)?;
    // Once more, so that the schema is this version's and what is wrong is told here.
    runtime()?.block_on(async {
        let folder = &settings.data_dir;
        let restored = restore_backup(file, &location, folder, &[KEYS_FILE]).await;
        let header = restored.with_context(|| format!("{} is not restored", file.display()))?;
        let store = Store::at(&location).await?;
        let place = store.shown();
        store.close().await;
        print(&format!("{}\nIt is restored to {place}.\n", shown(file, &header)))
    })
}

fn shown(file: &Path, header: &BackupHeader) -> String {
    let BackupHeader { version, engine, schema, made_at, .. } = header;
    let file = file.display();
    format!("{file}: a backup as of {made_at}, by Brooklet {version} ({engine}, schema {schema}).")
}

fn told(health: &Health) -> String {
    let Health { chunks, roll_ups, journal_rows, .. } = health;
    match health.has_chunks {
        true => {
            let chunks = format!("in {chunks} chunks and {journal_rows} journal rows");
            told_in(health, &format!("{chunks}, {roll_ups} roll-ups"))
        }
        false => {
            told_in(health, "in rows, which can be read; the server looks after its own pages")
        }
    }
}

/// The same; where the readings are.
fn told_in(health: &Health, place: &str) -> String {
    let Health { devices, sensors, readings, alarms, more, .. } = health;
    let faults = health.faults.len() as u64 + more;
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
