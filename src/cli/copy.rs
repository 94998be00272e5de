//! `brooklet copy`: everything from one database to another, whatever their kinds.

use std::time::Duration;

use anyhow::Context;

use super::{backup::Faulty, console, print, runtime};
use crate::{
    app::{AppError, store_location},
    clock::Clock,
    config::Settings,
    store::{self, Moved, MovedTable, Phase, Step},
    telemetry::Timestamp,
};

/// A table that takes longer is heard of so often.
const TELL: Duration = Duration::from_secs(2);

pub(super) fn run(settings: &Settings, to: String, only_compares: bool) -> anyhow::Result<()> {
    let from = store_location(settings).map_err(AppError::Settings)?;
    console::refuse_absent(settings)?;
    let mut other = settings.clone();
    other.database.url = to;
    let to = store_location(&other)
        .map_err(|error| AppError::Settings(error.replace("database.url", "--to")))?;
    let as_of = Timestamp::from_micros(Clock::system().unix_micros());
    let watch = progress();
    let moved = runtime()?.block_on(async {
        match only_compares {
            true => store::compare(&from, &to, watch).await,
            false => store::copy(&from, &to, watch).await,
        }
    });
    let moved = moved.context(if only_compares { "nothing was compared" } else { "not copied" })?;
    print(&table(&moved))?;
    if !moved.is_equal() {
        let different = moved.tables.iter().filter(|t| t.target.is_some() && !t.is_equal());
        let names: Vec<&str> = different.map(|table| table.name).collect();
        print(&format!("\nNot equal: {}.\n", names.join(", ")))?;
        return Err(Faulty.into());
    }
    let is_all = moved.tables.iter().all(|table| table.target.is_some());
    let all = if is_all { "All is equal" } else { "All that has a place there is equal" };
    match only_compares {
        true => print(&format!("\n{all}.\n")),
        false => print(&format!(
            "\n{all}. It is what was stored at {as_of}; what has come since is not in it.\n\
             To use it, stop Brooklet and set database.url; {} goes on being used.\n",
            settings.data_dir.join(crate::access::KEYS_FILE).display()
        )),
    }
}

/// Tells of tables on standard error, and of long ones now and then.
fn progress() -> impl FnMut(Step) -> bool + Send + 'static {
    let clock = Clock::system();
    let mut told = clock.monotonic();
    move |Step { phase, table, rows, is_over }| {
        let is_long = clock.monotonic().saturating_sub(told) >= TELL;
        if is_long || is_over && rows > 0 {
            told = clock.monotonic();
            let doing = match phase {
                Phase::Copying => "read",
                Phase::Comparing => "read again",
            };
            let more = if is_over { "" } else { " …" };
            eprintln!("{table}: {rows} rows {doing}{more}");
        }
        true
    }
}

fn table(moved: &Moved) -> String {
    let mut text = format!("{:<24} {:>12}  {:<16}\n", "table", "rows", "checksum");
    for MovedTable { name, source, target } in &moved.tables {
        if source.rows == 0 && target.is_none_or(|target| target.rows == 0) {
            continue;
        }
        let sum = (source.sum >> 64) as u64;
        let verdict = match target {
            None => "not copied: the target has no place for it".to_owned(),
            Some(target) if target == source => "equal".to_owned(),
            Some(target) if target.rows != source.rows => {
                format!("NOT EQUAL: {} rows in the target", target.rows)
            }
            Some(target) => format!("NOT EQUAL: {:016x} in the target", (target.sum >> 64) as u64),
        };
        text.push_str(&format!("{name:<24} {:>12}  {sum:016x}  {verdict}\n", source.rows));
    }
    if moved.changed_texts > 0 {
        text.push_str(&format!(
            "{} texts have U+FFFD instead of U+0000, which PostgreSQL can't hold.\n",
            moved.changed_texts
        ));
    }
    text
}
