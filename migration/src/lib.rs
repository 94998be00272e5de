//! Schema migrations of the Brooklet store: one file each, forward only, one history for all engines.
//!
//! SQLite takes texts and bytes of any length. For columns that are added by later migrations, ask for
//! as much on the servers: `text` and `blob` are too short on MariaDB ([`widen`]).

use sea_orm_migration::prelude::*;

mod m0001_devices;
mod m0002_readings;
mod m0003_ingest;
mod m0004_sessions;
mod m0005_alarms;
mod m0006_access;
mod m0007_late_readings;
mod m0008_resources;
mod m0009_servers;
mod m0010_reading_chunks;
mod m0011_server_rollups;
mod m0012_rollup_times;

pub use sea_orm_migration::{MigratorTrait, SchemaManager};

pub use m0009_servers::widen;
pub use m0010_reading_chunks::READING_CHUNKS;
pub use m0012_rollup_times::ROLLUP_TIMES;

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_devices::Migration),
            Box::new(m0002_readings::Migration),
            Box::new(m0003_ingest::Migration),
            Box::new(m0004_sessions::Migration),
            Box::new(m0005_alarms::Migration),
            Box::new(m0006_access::Migration),
            Box::new(m0007_late_readings::Migration),
            Box::new(m0008_resources::Migration),
            Box::new(m0009_servers::Migration),
            Box::new(m0010_reading_chunks::Migration),
            Box::new(m0011_server_rollups::Migration),
            Box::new(m0012_rollup_times::Migration),
        ]
    }
}
