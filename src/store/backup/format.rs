//! The file of a backup: two lines of text, the packed parts one after the other, a SHA-256 of all that.
//!
//! ```text
//! BROOKLET BACKUP 1
//! {"version":…,"engine":"sqlite","schema":…,"made_at":…,"parts":[{"name":…,"bytes":…},…]}
//! gzip of the parts ─ 32 bytes
//! ```
//!
//! Whoever reads it is told at the end whether the sum is right, and has to throw away what was read
//! when it is not.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take, Write},
    path::Path,
};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BackupError;

const MAGIC: &str = "BROOKLET BACKUP 1\n";
const SUM: u64 = 32;
/// Bytes of the second line.
const HEADER_MAX: u64 = 64 << 10;
const PIECE: usize = 256 << 10;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    /// Of the Brooklet that made it.
    pub version: String,
    pub engine: String,
    /// The newest migration.
    pub schema: String,
    pub made_at: String,
    pub parts: Vec<PartHeader>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHeader {
    pub name: String,
    /// Unpacked.
    pub bytes: u64,
}

impl BackupHeader {
    /// What it holds is no file of SQLite's.
    pub(super) fn is_dump(&self) -> bool {
        self.parts.iter().any(|part| part.name == super::DUMP)
    }

    /// Unpacked.
    pub fn original_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).fold(0, u64::saturating_add)
    }
}

/// Passes bytes on, and sums them.
struct Summing<T> {
    inner: T,
    sum: Sha256,
    bytes: u64,
}

impl<T> Summing<T> {
    fn new(inner: T) -> Self {
        Self { inner, sum: Sha256::new(), bytes: 0 }
    }
}

impl<T: Write> Write for Summing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summing<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.sum.update(bytes.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Writes a backup; nothing is one before [`Packing::finish`].
pub(super) struct Packing {
    packer: GzEncoder<Summing<File>>,
}

impl Packing {
    pub(super) fn begin(file: File, header: &BackupHeader) -> io::Result<Self> {
        let mut summing = Summing::new(file);
        summing.write_all(MAGIC.as_bytes())?;
        let line = serde_json::to_string(header)?;
        summing.write_all(line.as_bytes())?;
        summing.write_all(b"\n")?;
        // Chunks are packed already: more would take its time for little.
        Ok(Self { packer: GzEncoder::new(summing, Compression::fast()) })
    }

    /// Packs a part; `go_on` is told of each piece, and says whether to.
    pub(super) fn add(
        &mut self,
        mut part: impl Read,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<u64, BackupError> {
        let mut piece = vec![0; PIECE];
        let mut bytes = 0;
        loop {
            let read = part.read(&mut piece)?;
            if read == 0 {
                return Ok(bytes);
            }
            self.packer.write_all(piece.get(..read).unwrap_or_default())?;
            bytes += read as u64;
            if !go_on(bytes) {
                return Err(BackupError::Cancelled);
            }
        }
    }

    /// Writes the end, to the disk; the file's length and sum.
    pub(super) fn finish(self) -> io::Result<(u64, String)> {
        let Summing { mut inner, sum, bytes } = self.packer.finish()?;
        let sum = sum.finalize();
        inner.write_all(&sum)?;
        inner.sync_all()?;
        Ok((bytes + SUM, hex(&sum)))
    }
}

/// Reads a backup.
pub(super) struct Unpacking {
    pub(super) header: BackupHeader,
    unpacker: GzDecoder<BufReader<Summing<Take<File>>>>,
    expected: Vec<u8>,
}

impl Unpacking {
    pub(super) fn begin(path: &Path) -> Result<Self, BackupError> {
        let mut file = File::open(path)?;
        let (header, expected) = ends(&mut file)?;
        let body = file.metadata()?.len() - SUM;
        file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(PIECE, Summing::new(file.take(body)));
        for _ in 0..2 {
            let mut line = Vec::new();
            (&mut reader).take(HEADER_MAX).read_until(b'\n', &mut line)?;
        }
        Ok(Self { header, unpacker: GzDecoder::new(reader), expected })
    }

    /// Unpacks the next part into `to`.
    pub(super) fn part(&mut self, bytes: u64, to: &mut impl Write) -> Result<(), BackupError> {
        let copied = io::copy(&mut (&mut self.unpacker).take(bytes), to).map_err(damage)?;
        if copied == bytes { Ok(()) } else { Err(BackupError::Damaged("it is cut short")) }
    }

    /// Whether all that was unpacked is what was packed.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        if self.unpacker.read(&mut [0]).map_err(damage)? != 0 {
            return Err(BackupError::Damaged("there is more in it than it says"));
        }
        let mut reader = self.unpacker.into_inner();
        io::copy(&mut reader, &mut io::sink())?;
        let sum = reader.into_inner().sum.finalize();
        if *sum == *self.expected {
            Ok(())
        } else {
            Err(BackupError::Damaged("its checksum is another"))
        }
    }
}

/// What a file says of itself, and its sum; neither is checked.
pub(super) fn look(path: &Path) -> Result<(BackupHeader, String, u64), BackupError> {
    let mut file = File::open(path)?;
    let (header, sum) = ends(&mut file)?;
    Ok((header, hex(&sum), file.metadata()?.len()))
}

fn ends(file: &mut File) -> Result<(BackupHeader, Vec<u8>), BackupError> {
    let mut magic = vec![0; MAGIC.len()];
    let length = file.metadata()?.len();
    if length < MAGIC.len() as u64 + SUM {
        return Err(BackupError::NoBackup);
    }
    file.read_exact(&mut magic)?;
    if magic != MAGIC.as_bytes() {
        return Err(BackupError::NoBackup);
    }
    let mut line = Vec::new();
    BufReader::new(&mut *file).take(HEADER_MAX).read_until(b'\n', &mut line)?;
    let header = serde_json::from_slice(&line);
    let header = header.map_err(|_| BackupError::Damaged("its head can't be read"))?;
    file.seek(SeekFrom::Start(length - SUM))?;
    let mut sum = Vec::new();
    file.read_to_end(&mut sum)?;
    Ok((header, sum))
}

/// What the packing has wrong is damage; else it is the disk.
fn damage(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            BackupError::Damaged("it can't be unpacked")
        }
        io::ErrorKind::UnexpectedEof => BackupError::Damaged("it is cut short"),
        _ => error.into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn header(parts: &[Vec<u8>]) -> BackupHeader {
        let part = |(at, part): (usize, &Vec<u8>)| PartHeader {
            name: format!("part-{at}"),
            bytes: part.len() as u64,
        };
        let text = |text: &str| text.to_owned();
        BackupHeader {
            version: text("1.2.3"),
            engine: text("sqlite"),
            schema: text("m1"),
            made_at: text("2026-11-22T00:00:00Z"),
            parts: parts.iter().enumerate().map(part).collect(),
        }
    }

    fn packed(path: &Path, parts: &[Vec<u8>]) -> (u64, String) {
        let mut packing = Packing::begin(File::create(path).unwrap(), &header(parts)).unwrap();
        for part in parts {
            assert_eq!(packing.add(part.as_slice(), |_| true).unwrap(), part.len() as u64);
        }
        packing.finish().unwrap()
    }

    fn unpacked(path: &Path) -> Result<Vec<Vec<u8>>, BackupError> {
        let mut unpacking = Unpacking::begin(path)?;
        let mut parts = Vec::new();
        for part in unpacking.header.parts.clone() {
            let mut bytes = Vec::new();
            unpacking.part(part.bytes, &mut bytes)?;
            parts.push(bytes);
        }
        unpacking.finish().map(|()| parts)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_packed_comes_back_and_no_change_is_missed(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2_000), 0..4),
            at in any::<prop::sample::Index>(),
            change in 1u8..,
        ) {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("file");
            let (bytes, sum) = packed(&path, &parts);
            prop_assert_eq!(look(&path).unwrap(), (header(&parts), sum, bytes));
            prop_assert_eq!(unpacked(&path).unwrap(), parts);
            let mut file = fs::read(&path).unwrap();
            let at = at.index(file.len());
            file[at] ^= change;
            fs::write(&path, &file).unwrap();
            prop_assert!(unpacked(&path).is_err());
            file[at] ^= change;
            file.truncate(at);
            fs::write(&path, &file).unwrap();
            prop_assert!(unpacked(&path).is_err());
        }
    }

    #[test]
    fn what_goes_beyond_its_length_is_refused_and_a_packing_can_be_called_off() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        let mut packing = Packing::begin(File::create(&path).unwrap(), &header(&[])).unwrap();
        packing.add(&b"more"[..], |_| true).unwrap();
        packing.finish().unwrap();
        assert!(matches!(unpacked(&path), Err(BackupError::Damaged(_))));
        let mut packing = Packing::begin(File::create(&path).unwrap(), &header(&[])).unwrap();
        let added = packing.add(&b"more"[..], |_| false);
        assert!(matches!(added, Err(BackupError::Cancelled)));
        fs::write(&path, "a file of another kind, which is long enough to be one").unwrap();
        assert!(matches!(unpacked(&path), Err(BackupError::NoBackup)));
    }
}
