//! When the broker ran. While it did not, no silence of a device counts.
//!
//! [`super::Transaction::note_alive`] moves the end of a run along.

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::{BrokerRun, Store, StoreError};
use crate::telemetry::Timestamp;
use entity::broker_run;

impl Store {
    /// Notes that the broker runs from here on; returns the number of the run.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn begin_run(&self, at: Timestamp) -> Result<i64, StoreError> {
        let write = self.begin().await?;
        let model = broker_run::ActiveModel {
            started_at: Set(at.as_micros()),
            alive_until: Set(at.as_micros()),
            ..Default::default()
        };
        let id = broker_run::Entity::insert(model).exec(&write.transaction).await?.last_insert_id;
        write.commit().await?;
        Ok(id)
    }

    /// The runs that have something of the range `from` to `to` (not included), in their order.
    ///
    /// # Errors
    /// As above.
    pub async fn runs(&self, from: Timestamp, to: Timestamp) -> Result<Vec<BrokerRun>, StoreError> {
        let rows = broker_run::Entity::find()
            .filter(broker_run::Column::StartedAt.lt(to.as_micros()))
            .filter(broker_run::Column::AliveUntil.gte(from.as_micros()))
            .order_by_asc(broker_run::Column::Id)
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(run).collect())
    }

    /// The very first run: before it nothing is known.
    ///
    /// # Errors
    /// As above.
    pub async fn first_run(&self) -> Result<Option<BrokerRun>, StoreError> {
        let first = broker_run::Entity::find().order_by_asc(broker_run::Column::Id);
        Ok(first.one(&self.readers).await?.map(run))
    }
}

fn run(row: broker_run::Model) -> BrokerRun {
    BrokerRun {
        id: row.id,
        started_at: Timestamp::from_micros(row.started_at),
        alive_until: Timestamp::from_micros(row.alive_until),
    }
}
