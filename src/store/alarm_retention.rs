//! How long alarms are kept that are over. Of each rule and originator the newest stays whatever its age:
//! judging goes on from it, and the numbers of alarms go on after it. One that is never acknowledged stays
//! open, and is told of by its first events and its last.

use sea_orm::ConnectionTrait;

use super::{Store, StoreError};
use crate::telemetry::Timestamp;

pub(super) const OLD: &str = "SELECT a.id FROM alarm AS a WHERE a.closed = TRUE AND a.changed_at < ?1 \
    AND EXISTS (SELECT 1 FROM alarm AS n WHERE n.rule_id = a.rule_id AND n.device = a.device \
    AND coalesce(n.sensor_id, 0) = coalesce(a.sensor_id, 0) AND n.id > a.id) \
    ORDER BY a.changed_at, a.id LIMIT ?2";

/// Alarms with more events than so many.
pub(super) const CROWDED: &str = "SELECT alarm_id FROM alarm_event \
    GROUP BY alarm_id HAVING count(*) > ?1 LIMIT 100";
/// Of an alarm's events all but the first, which raised it, and the newest so many.
pub(super) const MIDDLE: &str = "DELETE FROM alarm_event WHERE id IN (SELECT id FROM (SELECT id \
    FROM alarm_event WHERE alarm_id = ?1 \
    AND id > (SELECT min(id) FROM alarm_event WHERE alarm_id = ?1) \
    AND id <= (SELECT id FROM alarm_event WHERE alarm_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2) \
    ORDER BY id LIMIT ?3) AS old)";

impl Store {
    /// Deletes the middle events of alarms that have more than `keep`, oldest first, at most `limit` of an
    /// alarm in one go; returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn trim_alarm_events(&self, keep: u64, limit: u64) -> Result<u64, StoreError> {
        let crowded = self.engine.statement(CROWDED, [keep.into()]);
        let crowded = self.readers.query_all_raw(crowded).await?;
        let mut deleted = 0;
        for row in crowded {
            let alarm: i64 = row.try_get("", "alarm_id")?;
            let values = [alarm.into(), keep.saturating_sub(1).into(), limit.into()];
            let middle = self.engine.statement(MIDDLE, values);
            let write = self.begin().await?;
            deleted += write.transaction.execute_raw(middle).await?.rows_affected();
            write.commit().await?;
        }
        Ok(deleted)
    }

    /// Deletes alarms that are closed and have not changed since `before`, with their events, at most
    /// `limit` in one go; returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn trim_alarms(&self, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let write = self.begin().await?;
        let mut deleted = 0;
        for (table, column) in [("alarm_event", "alarm_id"), ("alarm", "id")] {
            let sql =
                format!("DELETE FROM {table} WHERE {column} IN (SELECT id FROM ({OLD}) AS old)");
            let values = [before.as_micros().into(), limit.into()];
            let statement = self.engine.statement(&sql, values);
            deleted = write.transaction.execute_raw(statement).await?.rows_affected();
        }
        write.commit().await?;
        Ok(deleted)
    }
}
