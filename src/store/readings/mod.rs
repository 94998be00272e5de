//! How readings are kept: the only place that knows the tables `reading` and `reading_claimed_time`.
//!
//! One file a need: `append` (the committer's), `history`, `since`, `arrivals`, `statistics` and `envelope`
//! (people's and streams'), `sensor_history` (alarm rules'), `newest`, `removal`. Others hand over
//! sensors and times, and get [`StoredReading`]s; a form of keeping them is chosen here.
//! `months` sees to the partitions that PostgreSQL keeps them in.

mod append;
pub(super) mod arrival_lanes;
pub(super) mod arrivals;
pub(super) mod envelope;
pub(super) mod history;
mod months;
pub(super) mod newest;
pub(super) mod removal;
mod sensor_history;
pub(super) mod since;
pub(super) mod statistics;

use super::{Store, StoreError, StoredReading, Transaction};

pub use append::Appended;
pub use arrivals::{ArrivalQuery, Arrivals};
pub use envelope::{EnvelopeBucket, EnvelopeQuery, EnvelopeValues};
pub use history::{HistoryPage, HistoryQuery, Order};
pub use removal::{Removed, TimeRange};
pub use since::{LeftOut, ReadingsSince, SinceQuery};
pub use statistics::{Bucket, SensorStatistics, StatisticsQuery, ValueStatistics};
