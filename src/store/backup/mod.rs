//! Backups: one file that holds the database and what else a restored Brooklet needs.
//!
//! A SQLite file is copied page by page from one read transaction ([`pages`]), what a server has is
//! written as a dump from one ([`dumped`]); so both are of one moment while ingest goes on. It is packed
//! afterwards, when nothing is held any more. Blocking code; whoever calls decides on which thread.
//!
//! Invariants:
//! - A file under its final name is whole and on disk: it is written beside, synced and renamed.
//! - What is restored takes its place after its checksum was found right, the database last.

mod dumped;
mod format;
mod pages;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use self::format::{Packing, Unpacking};
pub use self::{
    dumped::restore_backup,
    format::{BackupHeader, PartHeader},
};
use super::{
    Health, MoveError, StoreError, StoreLocation, StoreSettings, open::lock, schema,
    verify::verify_file,
};
use crate::telemetry::Timestamp;

/// The database among the parts: a SQLite file, or what a server had.
const DATABASE: &str = "brooklet.db";
const DUMP: &str = "brooklet.dump";
/// Bytes of any other part.
const PART_MAX: u64 = 1 << 20;
/// Room that is left on the disk.
const SPARE: u64 = 16 << 20;

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{path} is there already")]
    Exists { path: String },
    #[error("{path} is there already: a backup is restored where nothing is")]
    Occupied { path: String },
    #[error("the file is no backup of Brooklet")]
    NoBackup,
    #[error("the backup is damaged: {0}")]
    Damaged(&'static str),
    #[error("the backup holds {0:?}, which this version does not know")]
    UnknownPart(String),
    #[error("{needed} bytes are needed in {folder}, and {free} are free")]
    NoRoom { needed: u64, free: u64, folder: String },
    #[error(
        "it is the backup of a SQLite file: restore it to one (database.url = \"sqlite://FILE\"), which `brooklet copy --to` moves to a server"
    )]
    OfFile,
    #[error("what was restored is not equal to the backup: {0}")]
    Differs(String),
    #[error(transparent)]
    Moving(MoveError),
    #[error("it was called off")]
    Cancelled,
    #[error("a file can't be read or written: {0}")]
    File(#[from] io::Error),
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<MoveError> for BackupError {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::Cancelled => Self::Cancelled,
            MoveError::Store(error) => Self::Store(error),
            MoveError::File(error) => Self::File(error),
            MoveError::Damaged(what) => Self::Damaged(what),
            other => Self::Moving(other),
        }
    }
}

/// A small file that goes into a backup with the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPart {
    pub name: &'static str,
    pub contents: Vec<u8>,
}

pub struct BackupOrder<'a> {
    pub source: &'a StoreLocation,
    pub target: &'a Path,
    pub beside: &'a [BackupPart],
    pub made_at: Timestamp,
    /// Whether a file at `target` may be replaced.
    pub replaces: bool,
}

/// A backup that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFile {
    pub header: BackupHeader,
    pub bytes: u64,
    /// Of all bytes but the last 32, which are it.
    pub sha256: String,
}

/// Makes a backup. `go_on` is told how much of how much is done, and says whether to.
///
/// # Errors
/// What is in the way; nothing is left behind then.
pub fn back_up(
    order: &BackupOrder<'_>,
    mut go_on: impl FnMut(u64, u64) -> bool,
) -> Result<BackupFile, BackupError> {
    let target = order.target;
    let refuse = || match order.replaces || !target.exists() {
        true => Ok(()),
        false => Err(BackupError::Exists { path: target.display().to_string() }),
    };
    refuse()?;
    let copy = Temporary::beside(target, "copy")?;
    let Copied { name, engine, schema, bytes } = match order.source {
        StoreLocation::File(settings) => copy_file(settings, &copy, &mut go_on)?,
        StoreLocation::Server(settings) => dumped::dump(settings, &copy, &mut go_on)?,
    };
    let mut parts: Vec<_> = order.beside.iter().map(BackupPart::header).collect();
    parts.push(PartHeader { name: name.to_owned(), bytes });
    let header = BackupHeader {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: engine.to_owned(),
        schema,
        made_at: order.made_at.to_string(),
        parts,
    };
    let part = Temporary::beside(target, "part")?;
    let mut packing = Packing::begin(File::options().write(true).open(&part.0)?, &header)?;
    for beside in order.beside {
        packing.add(beside.contents.as_slice(), |_| true)?;
    }
    let packed = packing.add(File::open(&copy.0)?, |done| go_on(bytes + done, bytes * 2))?;
    if packed != bytes {
        return Err(BackupError::Damaged("the copy has changed meanwhile"));
    }
    let (bytes, sha256) = packing.finish()?;
    refuse()?;
    fs::rename(&part.0, target)?;
    sync_folder(target)?;
    Ok(BackupFile { header, bytes, sha256 })
}

/// What is beside the target, to be packed.
struct Copied {
    name: &'static str,
    engine: &'static str,
    /// The newest migration.
    schema: String,
    bytes: u64,
}

fn copy_file(
    settings: &StoreSettings,
    copy: &Temporary,
    go_on: &mut impl FnMut(u64, u64) -> bool,
) -> Result<Copied, BackupError> {
    let source = super::verify::open_file(&settings.path)?;
    super::moving::refuse_unfinished_file(&source)?;
    let (applied, bytes) = pages::copy(&source, copy, go_on)?;
    let schema = applied.last().cloned().unwrap_or_default();
    Ok(Copied { name: DATABASE, engine: "sqlite", schema, bytes })
}

/// What a backup says of itself; nothing is checked.
///
/// # Errors
/// When it can't be read, or is none.
pub fn look_at_backup(path: &Path) -> Result<BackupFile, BackupError> {
    let (header, sha256, bytes) = format::look(path)?;
    Ok(BackupFile { header, bytes, sha256 })
}

/// Unpacks a backup into a folder of its own for the moment, and looks at everything in it.
///
/// # Errors
/// When it is damaged, or of a newer version.
pub fn check_backup(path: &Path, names: &[&str]) -> Result<(BackupHeader, Health), BackupError> {
    let folder = TemporaryFolder::new()?;
    let database = folder.0.join(DATABASE);
    let header = unpack(path, &database, &folder.0, names)?.place()?;
    match header.is_dump() {
        true => Ok((header, dumped::read_through(&folder.0.join(DUMP))?)),
        false => Ok((header, verify_file(&database)?)),
    }
}

/// Puts a SQLite file in its place, which is free, and parts of these `names` into `folder`.
fn restore_file(
    path: &Path,
    database: &Path,
    folder: &Path,
    names: &[&str],
) -> Result<BackupHeader, BackupError> {
    let _lock = lock(database)?;
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = with_suffix(database, suffix);
        if path.exists() {
            return Err(BackupError::Occupied { path: path.display().to_string() });
        }
    }
    fs::create_dir_all(folder)?;
    unpack(path, database, folder, names)?.place()
}

/// What is unpacked and found right, but not in its place.
struct Unpacked {
    header: BackupHeader,
    files: Vec<(Temporary, PathBuf)>,
}

impl Unpacked {
    fn place(self) -> Result<BackupHeader, BackupError> {
        for (temporary, target) in &self.files {
            fs::rename(&temporary.0, target)?;
            sync_folder(target)?;
        }
        Ok(self.header)
    }
}

fn unpack(
    path: &Path,
    database: &Path,
    folder: &Path,
    names: &[&str],
) -> Result<Unpacked, BackupError> {
    let mut unpacking = Unpacking::begin(path)?;
    let header = unpacking.header.clone();
    schema::refuse_newer(std::slice::from_ref(&header.schema))?;
    let beside = database.parent().unwrap_or(Path::new("."));
    room_for(beside, header.original_bytes())?;
    let mut files = Vec::new();
    for part in &header.parts {
        let target = match part.name.as_str() {
            DATABASE => database.to_owned(),
            DUMP => folder.join(DUMP),
            name if names.contains(&name) && part.bytes <= PART_MAX => folder.join(name),
            name => return Err(BackupError::UnknownPart(name.to_owned())),
        };
        let temporary = Temporary::beside(&target, "restoring")?;
        let mut file = File::options().write(true).open(&temporary.0)?;
        unpacking.part(part.bytes, &mut file)?;
        file.sync_all()?;
        // Left by a restore that was cut short: the same.
        let is_same = || Ok::<_, io::Error>(fs::read(&target)? == fs::read(&temporary.0)?);
        if target.exists() && !is_same()? {
            return Err(BackupError::Occupied { path: target.display().to_string() });
        }
        files.push((temporary, target));
    }
    unpacking.finish()?;
    // The database last: once it is there, all is there.
    let is_database = |target: &Path| target == database || target.ends_with(DUMP);
    files.sort_by_key(|(_, target)| is_database(target));
    match files.last() {
        Some((_, target)) if is_database(target) => Ok(Unpacked { header, files }),
        _ => Err(BackupError::Damaged("there is no database in it")),
    }
}

impl BackupPart {
    fn header(&self) -> PartHeader {
        PartHeader { name: self.name.to_owned(), bytes: self.contents.len() as u64 }
    }
}

/// Refuses what would fill the disk; where the system does not say how much is free, it is tried.
fn room_for(folder: &Path, needed: u64) -> Result<(), BackupError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(told) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = told.f_bavail.saturating_mul(told.f_frsize);
    if needed.saturating_add(SPARE) <= free {
        return Ok(());
    }
    Err(BackupError::NoRoom { needed, free, folder: folder.display().to_string() })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// A rename is on disk when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A file that only its owner may read, and that goes when it is not renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(path: &Path, suffix: &str) -> Result<Self, BackupError> {
        let path = with_suffix(path, &format!(".{suffix}"));
        // One that was left behind may have other rights.
        let _ = fs::remove_file(&path);
        File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A folder among the temporary ones of the system, which goes with all that is in it.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> io::Result<Self> {
        for number in 0..1_000 {
            let name = format!("brooklet-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
