//! How readings are kept: in chunks on SQLite ([`super::chunks`], by `file`), as rows of the table
//! `reading` on servers, where `months` sees to PostgreSQL's partitions.
//!
//! One file a need: `append` (the committer's), `history`, `since`, `arrivals`, `statistics` and `envelope`
//! (people's and streams'), `sensor_history` (alarm rules'), `newest`, `removal`, `retention`, `rollups` (on servers). Others hand over
//! sensors and times, and get [`StoredReading`]s; the form is chosen here.

mod append;
pub(super) mod arrivals;
pub(super) mod envelope;
mod file;
pub(super) mod history;
mod months;
pub(super) mod newest;
pub(super) mod removal;
mod retention;
mod rollups;
mod sensor_history;
pub(super) mod since;
pub(super) mod statistics;

use super::{Store, StoreError, StoredReading, Transaction};

pub use super::chunks::{Appended, Order};
pub use arrivals::{ArrivalQuery, Arrivals};
pub use envelope::{EnvelopeBucket, EnvelopeQuery, EnvelopeValues};
pub(super) use file::ReadingFile;
pub use history::{HistoryPage, HistoryQuery};
pub(super) use months::{PARTITIONS, partitions_of};
pub use removal::{Removed, TimeRange};
pub use retention::Old;
pub(super) use rollups::Rolled;
pub use rollups::{RollUps, RolledUp};
pub(super) use since::is_late;
pub use since::{LeftOut, ReadingsSince, SinceQuery};
pub use statistics::{Bucket, SensorStatistics, StatisticsQuery, ValueStatistics};
