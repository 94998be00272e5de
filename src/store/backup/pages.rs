//! The database at one moment, copied by SQLite's backup interface while others write.

use std::{fs, thread, time::Duration};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{BackupError, Temporary, room_for};
use crate::store::{StoreError, schema};

/// Pages between two looks at whether to go on.
const PAGES: std::ffi::c_int = 2_048;
/// How often the source may be busy, each time for [`PAUSE`].
const BUSY_MAX: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(10);

/// Copies all pages; the migrations that the database has seen, and its bytes.
///
/// The source is in one read transaction all the while: a change neither shows nor begins the copy
/// anew. The write-ahead log can't be begun anew until the end, and grows.
pub(super) fn copy(
    source: &Connection,
    target: &Temporary,
    go_on: &mut impl FnMut(u64, u64) -> bool,
) -> Result<(Vec<String>, u64), BackupError> {
    source.execute_batch("BEGIN")?;
    let applied = schema::applied(source)?;
    schema::refuse_newer(&applied)?;
    let pragma = |name| source.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let page_bytes = u64::try_from(pragma("page_size")?).unwrap_or(0);
    let pages = u64::try_from(pragma("page_count")?).unwrap_or(0);
    // The copy, and what it is packed into.
    let folder = target.0.parent().unwrap_or(std::path::Path::new("."));
    room_for(folder, pages.saturating_mul(page_bytes).saturating_mul(2))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copied = Connection::open_with_flags(&target.0, flags)?;
    // A copy that is cut short is thrown away.
    copied.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    let backup = Backup::new(source, &mut copied)?;
    let mut busy = 0;
    loop {
        match backup.step(PAGES)? {
            StepResult::Done => break,
            StepResult::More => {}
            _ if busy < BUSY_MAX => {
                busy += 1;
                thread::park_timeout(PAUSE);
            }
            _ => return Err(StoreError::Unavailable("the file is locked".to_owned()).into()),
        }
        let progress = backup.progress();
        let remaining = u64::try_from(progress.remaining).unwrap_or(0);
        let done = pages.saturating_sub(remaining).saturating_mul(page_bytes);
        if !go_on(done, pages.saturating_mul(page_bytes).saturating_mul(2)) {
            return Err(BackupError::Cancelled);
        }
    }
    drop(backup);
    copied.close().map_err(|(_, error)| error)?;
    source.execute_batch("COMMIT")?;
    Ok((applied, fs::metadata(&target.0)?.len()))
}
