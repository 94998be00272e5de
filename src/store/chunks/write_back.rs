//! Writes the write-ahead log back into the file, by the thread that moves readings and beside the commits
//! of others. SQLite by itself would do so in the commit that fills the log, while everybody waits at the
//! gate.
//!
//! The log is begun anew by the first commit that finds all of it written back; so the little that commits
//! have added meanwhile is written back at the gate.

use std::{fs::File, io, mem::ManuallyDrop, path::Path};

use rusqlite::Connection;

/// Pages in the log from which on it is written back.
const PAGES: i64 = 4_000;
/// What may be left for the gate.
const PAGES_AT_GATE: i64 = 250;
/// How often what is left is tried to be made so little; and a log of so many times [`PAGES`] is not to
/// wait any longer.
const TRIES: i64 = 4;
/// From so many pages on SQLite does it by itself after all, whoever commits.
pub const PAGES_MAX: i64 = 8 * PAGES;

struct Log {
    pages: i64,
    left: i64,
}

/// The database file, to be synced by itself. Never closed: with any handle that is closed, a process loses
/// the locks that SQLite has on the file.
pub struct Synced(ManuallyDrop<File>);

impl Synced {
    /// # Errors
    /// When the file can't be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(ManuallyDrop::new(File::open(path)?)))
    }
}

/// Does nothing while the log is short. Blocks; `gate` gives the right to write.
///
/// # Errors
/// When the file can't be written.
pub fn write_back<G>(
    connection: &Connection,
    file: &Synced,
    gate: impl FnOnce() -> G,
) -> io::Result<()> {
    let mut log = checkpoint(connection, "NOOP")?;
    if log.pages < PAGES {
        return Ok(());
    }
    for _ in 0..TRIES {
        checkpoint(connection, "PASSIVE")?;
        // SQLite would do it at the end only, at the gate.
        file.0.sync_all()?;
        // What the first told is as of its beginning.
        log = checkpoint(connection, "NOOP")?;
        if log.left <= PAGES_AT_GATE {
            break;
        }
    }
    if log.left > 0 && (log.left <= PAGES_AT_GATE || log.pages > TRIES * PAGES) {
        let _gate = gate();
        checkpoint(connection, "PASSIVE")?;
    }
    Ok(())
}

fn checkpoint(connection: &Connection, mode: &str) -> io::Result<Log> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let told = connection.prepare_cached(&sql).and_then(|mut statement| {
        statement.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
    });
    let log = told.map_err(io::Error::other)?;
    Ok(Log { pages: log.0, left: log.0 - log.1 })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_long_log_is_written_back_and_begun_anew() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("log.db");
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                 CREATE TABLE part (data BLOB)",
            )
            .unwrap();
        let fill = |pages: i64| {
            let sql = "INSERT INTO part VALUES (zeroblob(?1 * 4096))";
            writer.execute(sql, [pages]).unwrap();
        };
        let (other, file) = (Connection::open(&path).unwrap(), Synced::open(&path).unwrap());
        fill(PAGES / 2);
        write_back(&other, &file, || ()).unwrap();
        assert!(checkpoint(&other, "NOOP").unwrap().left >= PAGES / 2, "it was not long");

        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM part").unwrap();
        fill(PAGES);
        write_back(&other, &file, || ()).unwrap();
        let log = checkpoint(&other, "NOOP").unwrap();
        assert!(log.left >= PAGES, "what a reader does not see stays in the log");

        reader.execute_batch("END").unwrap();
        write_back(&other, &file, || ()).unwrap();
        assert_eq!(checkpoint(&other, "NOOP").unwrap().left, 0);
        fill(1);
        assert!(checkpoint(&other, "NOOP").unwrap().pages < 10, "it was not begun anew");
    }
}
