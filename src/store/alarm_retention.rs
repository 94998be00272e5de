//! How long alarms are kept that are over. Of each rule and originator the newest stays whatever its age:
//! judging goes on from it, and the numbers of alarms go on after it.

use sea_orm::{ConnectionTrait, DatabaseBackend, Statement};

use super::{Store, StoreError};
use crate::telemetry::Timestamp;

pub(super) const OLD: &str = "SELECT a.id FROM alarm AS a WHERE a.closed = 1 AND a.changed_at < ?1 \
    AND EXISTS (SELECT 1 FROM alarm AS n WHERE n.rule_id = a.rule_id AND n.device = a.device \
    AND coalesce(n.sensor_id, 0) = coalesce(a.sensor_id, 0) AND n.id > a.id) \
    ORDER BY a.changed_at, a.id LIMIT ?2";

impl Store {
    /// Deletes alarms that are closed and have not changed since `before`, with their events, at most
    /// `limit` in one go; returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn trim_alarms(&self, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let write = self.begin().await?;
        let mut deleted = 0;
        for (table, column) in [("alarm_event", "alarm_id"), ("alarm", "id")] {
            let sql = format!("DELETE FROM {table} WHERE {column} IN ({OLD})");
            let values = [before.as_micros().into(), limit.into()];
            let statement = Statement::from_sql_and_values(DatabaseBackend::Sqlite, sql, values);
            deleted = write.transaction.execute_raw(statement).await?.rows_affected();
        }
        write.commit().await?;
        Ok(deleted)
    }
}
