//! Room on the disk that the database is on.

use super::Store;

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still write.
    pub free: u64,
    pub total: u64,
}

impl Store {
    /// `None` where the system does not say, and of a server.
    pub fn disk(&self) -> Option<DiskSpace> {
        let folder = self.file()?.path().parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(std::path::Path::new("."));
        let told = rustix::fs::statvfs(folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Some(DiskSpace { free: bytes(told.f_bavail), total: bytes(told.f_blocks) })
    }
}
