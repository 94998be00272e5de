//! What has happened to alarms since a point of their history: what a stream that is resumed has not
//! shown yet. Read from the newest back, so that a look is bounded however long a client was away.

use std::{collections::HashMap, sync::Arc};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{
    AlarmEventRow, AlarmRow, Store, StoreError,
    alarms::{alarm, event},
};

/// Lines of the history in one statement, and alarms.
const STEP: usize = 500;
/// Lines that are looked at, wanted or not.
const LOOKED_AT_MAX: usize = 50_000;

/// Something that happened, and its alarm as it stands by now.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmHappening {
    pub event: AlarmEventRow,
    pub alarm: Arc<AlarmRow>,
}

/// In the order in which they happened.
#[derive(Debug, Clone, PartialEq)]
pub struct HappeningsSince {
    pub happenings: Vec<AlarmHappening>,
    /// There were more than asked for, or too many to look at: older ones are left out.
    pub is_cut: bool,
}

impl Store {
    /// Events numbered above `after` up to `upto`, of alarms that are wanted; of more than `max` the
    /// newest.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alarms_since(
        &self,
        (after, upto): (i64, i64),
        max: usize,
        wanted: impl Fn(&AlarmRow) -> bool,
    ) -> Result<HappeningsSince, StoreError> {
        let mut happenings = Vec::new();
        let mut alarms: HashMap<i64, Option<Arc<AlarmRow>>> = HashMap::new();
        let (mut before, mut looked_at) = (upto.saturating_add(1), 0);
        let is_cut = loop {
            let rows = self.events_between(after, before).await?;
            let Some(oldest) = rows.last() else { break false };
            before = oldest.id;
            looked_at += rows.len();
            self.add_alarms(&rows, &mut alarms).await?;
            for event in rows {
                let Some(Some(alarm)) = alarms.get(&event.alarm_id) else { continue };
                if wanted(alarm) {
                    happenings.push(AlarmHappening { event, alarm: alarm.clone() });
                }
            }
            if happenings.len() > max {
                happenings.truncate(max);
                break true;
            }
            if looked_at >= LOOKED_AT_MAX {
                break true;
            }
        };
        happenings.reverse();
        Ok(HappeningsSince { happenings, is_cut })
    }

    /// The newest so many of a range whose ends are not included, newest first.
    async fn events_between(
        &self,
        after: i64,
        before: i64,
    ) -> Result<Vec<AlarmEventRow>, StoreError> {
        use entity::alarm_event::{Column, Entity};
        let rows = Entity::find()
            .filter(Column::Id.gt(after))
            .filter(Column::Id.lt(before))
            .order_by_desc(Column::Id)
            .limit(STEP as u64)
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(event).collect())
    }

    /// Reads the alarms of events that are not known yet. `None`: one that is gone.
    async fn add_alarms(
        &self,
        events: &[AlarmEventRow],
        known: &mut HashMap<i64, Option<Arc<AlarmRow>>>,
    ) -> Result<(), StoreError> {
        use entity::alarm::{Column, Entity};
        let mut missing: Vec<_> = events.iter().map(|event| event.alarm_id).collect();
        missing.retain(|id| !known.contains_key(id));
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let ids = missing.iter().copied();
        let rows = Entity::find().filter(Column::Id.is_in(ids)).all(&self.readers).await?;
        known.extend(missing.into_iter().map(|id| (id, None)));
        known.extend(rows.into_iter().map(|row| (row.id, Some(Arc::new(alarm(row))))));
        Ok(())
    }
}
