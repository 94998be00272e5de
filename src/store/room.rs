//! Room for the file: how much of the disk is to stay free, how large the file may become.
//!
//! Somebody looks every second ([`Store::look_at_room`]); in between everybody goes by what was seen. While
//! there is too little, the committer's transactions are refused as if the store did not answer, so that
//! nothing is acknowledged that the disk may not hold. What people delete is not concerned.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::{DiskSpace, Store, StoreError};
use crate::telemetry::Timestamp;

/// What has to be free beyond the least after it was less: a sixteenth, at most so many bytes.
const MORE_MAX: u64 = 64 << 20;
const OLDEST: &str = "SELECT min(first_time) FROM reading_chunk";

/// In bytes; 0: any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoomLimits {
    /// What is to stay free on the disk.
    pub free_min: u64,
    /// What the file may have, pages that deletions have freed left out.
    pub size_max: u64,
}

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Room {
    free_min: AtomicU64,
    size_max: AtomicU64,
    free: AtomicU64,
    is_short: AtomicBool,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomSeen {
    pub disk: DiskSpace,
    pub is_short: bool,
    /// It was not so before.
    pub is_news: bool,
}

impl Room {
    fn limit(&self, limits: RoomLimits) {
        self.free_min.store(limits.free_min, Relaxed);
        self.size_max.store(limits.size_max, Relaxed);
    }

    /// Once short, there has to be a little more than the least, so that it does not change all the time.
    fn note(&self, disk: DiskSpace) -> RoomSeen {
        let free_min = self.free_min.load(Relaxed);
        let was_short = self.is_short.load(Relaxed);
        let more = if was_short { (free_min / 16).min(MORE_MAX) } else { 0 };
        let is_short = disk.free < free_min.saturating_add(more);
        self.free.store(disk.free, Relaxed);
        self.is_short.store(is_short, Relaxed);
        RoomSeen { disk, is_short, is_news: is_short != was_short }
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.is_short.load(Relaxed) {
            false => Ok(()),
            true => {
                let (free, free_min) = (self.free.load(Relaxed), self.free_min.load(Relaxed));
                Err(StoreError::NoRoom { free, free_min })
            }
        }
    }
}

impl Store {
    /// Has no effect on a server: its disk is not seen from here.
    pub fn limit_room(&self, limits: RoomLimits) {
        if let Some(file) = self.file() {
            file.room.limit(limits);
        }
    }

    /// What the file may have; `None`: any size.
    pub fn size_max(&self) -> Option<u64> {
        let size_max = self.file()?.room.size_max.load(Relaxed);
        (size_max > 0).then_some(size_max)
    }

    /// `None` where the system does not say, and of a server.
    pub fn look_at_room(&self) -> Option<RoomSeen> {
        Some(self.file()?.room.note(self.disk()?))
    }

    /// # Errors
    /// [`StoreError::NoRoom`] where too little of the disk was free at the last look.
    pub fn check_room(&self) -> Result<(), StoreError> {
        self.file().map_or(Ok(()), |file| file.room.check())
    }

    /// The first event time of all raw readings in the file, but for those that are in memory, too.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn oldest_raw(&self) -> Result<Option<Timestamp>, StoreError> {
        let Some(file) = self.file() else { return Ok(None) };
        let oldest = file.change(|_, connection, _| {
            let oldest: Option<i64> = connection.query_row(OLDEST, [], |row| row.get(0))?;
            Ok(oldest)
        });
        Ok(oldest.await?.map(Timestamp::from_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_is_below_the_least_and_over_is_a_little_above_it() {
        let room = Room::default();
        let seen = |free| {
            let seen = room.note(DiskSpace { free, total: 10_000 });
            (seen.is_short, seen.is_news)
        };
        assert_eq!(seen(0), (false, false));
        room.limit(RoomLimits { free_min: 1_600, size_max: 0 });
        assert_eq!(seen(1_600), (false, false));
        assert!(room.check().is_ok());
        assert_eq!(seen(1_599), (true, true));
        let told = room.check().unwrap_err();
        assert!(matches!(told, StoreError::NoRoom { free: 1_599, free_min: 1_600 }), "{told}");
        assert!(!told.is_poison());
        assert_eq!(seen(1_650), (true, false));
        assert_eq!(seen(1_700), (false, true));
        assert!(room.check().is_ok());
    }
}
