//! Figures about alarms: how many are open, what raised the most, how soon people answer, which
//! ones chatter. An occurrence is an event of the kind [`super::RAISED`].

use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::{RAISED, Store, StoreError};
use crate::telemetry::{SensorId, Timestamp};

/// Open alarms that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlarmCount {
    pub severity: u8,
    pub active: bool,
    pub acknowledged: bool,
    pub shelved: bool,
    pub suppressed: bool,
    pub out_of_service: bool,
    pub count: u64,
}

impl AlarmCount {
    /// Whether somebody is asked to acknowledge them: nobody is for those that were put aside.
    pub const fn is_waiting(&self) -> bool {
        !(self.acknowledged || self.shelved || self.suppressed || self.out_of_service)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleOccurrences {
    pub rule_id: i64,
    pub rule_name: String,
    pub occurrences: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOccurrences {
    pub device: String,
    pub occurrences: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AlarmSummary {
    /// By severity and state.
    pub open: Vec<AlarmCount>,
    pub top_rules: Vec<RuleOccurrences>,
    pub top_devices: Vec<DeviceOccurrences>,
    /// From being raised to being acknowledged, over the alarms that were raised in the range.
    pub mean_micros_to_acknowledge: Option<f64>,
    /// How many alarms that mean is over.
    pub acknowledged: u64,
}

/// A rule and originator that raised too often in a short time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatteringAlarm {
    pub rule_id: i64,
    pub rule_name: String,
    pub device: String,
    pub sensor_id: Option<SensorId>,
    pub sensor: Option<String>,
    /// The newest alarm of them.
    pub alarm_id: i64,
    /// In the whole range.
    pub occurrences: u64,
    pub last_raised_at: Timestamp,
}

/// Rows of a top ten.
const TOP: &str = "10";
/// As many raises within a minute make an alarm a chattering one.
const CHATTERING: (&str, &str) = ("2", "60000000");

pub(super) const OPEN: &str = "SELECT severity, active, acknowledged, shelved_until IS NOT NULL AS \
    shelved, suppressed, out_of_service, count(*) AS count FROM alarm WHERE closed = ?1 \
    GROUP BY severity, active, acknowledged, shelved_until IS NOT NULL, suppressed, out_of_service \
    ORDER BY severity DESC, active DESC, acknowledged";
const OCCURRED: &str = "FROM alarm_event e JOIN alarm a ON a.id = e.alarm_id \
    WHERE e.kind = ?1 AND e.at >= ?2 AND e.at < ?3";
pub(super) const ACKNOWLEDGED: &str = "SELECT count(*) AS count, \
    CAST(avg(acknowledged_at - raised_at) AS DOUBLE PRECISION) AS mean FROM alarm \
    WHERE raised_at >= ?1 AND raised_at < ?2 AND acknowledged_at >= raised_at";

pub(super) fn top_rules() -> String {
    format!(
        "SELECT a.rule_id AS rule_id, max(a.rule_name) AS rule_name, count(*) AS count {OCCURRED} \
         GROUP BY a.rule_id ORDER BY count(*) DESC, a.rule_id LIMIT {TOP}"
    )
}

pub(super) fn top_devices() -> String {
    format!(
        "SELECT a.device AS device, count(*) AS count {OCCURRED} \
         GROUP BY a.device ORDER BY count(*) DESC, a.device LIMIT {TOP}"
    )
}

/// Each raise beside the one two before it, of the same rule and originator.
pub(super) fn chattering() -> String {
    let (before, within) = CHATTERING;
    format!(
        "SELECT rule_id, max(rule_name) AS rule_name, device, sensor_id, max(sensor) AS sensor, \
         max(alarm_id) AS alarm_id, count(*) AS count, max(at) AS last_raised_at FROM \
         (SELECT a.rule_id, a.rule_name, a.device, a.sensor_id, a.sensor, e.alarm_id, e.at, \
         e.at - lag(e.at, {before}) OVER (PARTITION BY a.rule_id, a.device, a.sensor_id \
         ORDER BY e.at, e.id) AS span {OCCURRED}) AS raised \
         GROUP BY rule_id, device, sensor_id HAVING min(span) < {within} \
         ORDER BY count(*) DESC, max(alarm_id) LIMIT ?4"
    )
}

pub(super) const FIRST_UNACKNOWLEDGED: &str = "SELECT severity, min(raised_at) AS raised_at FROM alarm \
    WHERE closed = ? AND active AND NOT acknowledged AND shelved_until IS NULL \
    AND NOT suppressed AND NOT out_of_service GROUP BY severity";

impl Store {
    /// What is open at this moment.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_alarm_counts(&self) -> Result<Vec<AlarmCount>, StoreError> {
        let open = self.rows(OPEN, [false.into()]).await?;
        open.iter().map(alarm_count).collect()
    }

    /// Of each severity when the earliest active alarm was raised that is neither acknowledged nor
    /// put aside.
    ///
    /// # Errors
    /// As above.
    pub async fn first_unacknowledged(&self) -> Result<Vec<(u8, Timestamp)>, StoreError> {
        let rows = self.rows(FIRST_UNACKNOWLEDGED, [false.into()]).await?;
        let read = |row: &QueryResult| {
            let severity = u8::try_from(row.try_get::<i16>("", "severity")?).unwrap_or(0);
            Ok((severity, Timestamp::from_micros(row.try_get("", "raised_at")?)))
        };
        rows.iter().map(read).collect()
    }

    /// What is open at this moment, and what happened in the range `from` to `to` (not included).
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn alarm_summary(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<AlarmSummary, StoreError> {
        let range = || [RAISED.into(), from.as_micros().into(), to.as_micros().into()];
        let open = self.rows(OPEN, [false.into()]).await?;
        let rules = self.rows(&top_rules(), range()).await?;
        let devices = self.rows(&top_devices(), range()).await?;
        let within = [from.as_micros().into(), to.as_micros().into()];
        let acknowledged = self.rows(ACKNOWLEDGED, within).await?;
        let (acknowledged, mean) = match acknowledged.first() {
            Some(row) => (count(row)?, row.try_get("", "mean")?),
            None => (0, None),
        };
        Ok(AlarmSummary {
            open: open.iter().map(alarm_count).collect::<Result<_, _>>()?,
            top_rules: rules.iter().map(rule_occurrences).collect::<Result<_, _>>()?,
            top_devices: devices.iter().map(device_occurrences).collect::<Result<_, _>>()?,
            mean_micros_to_acknowledge: mean,
            acknowledged,
        })
    }

    /// Which rules and originators raised three times or more within a minute, somewhere in the
    /// range `from` to `to` (not included); the most often raised first.
    ///
    /// # Errors
    /// As above.
    pub async fn chattering_alarms(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: u64,
    ) -> Result<Vec<ChatteringAlarm>, StoreError> {
        let values = [RAISED.into(), from.as_micros().into(), to.as_micros().into(), limit.into()];
        let rows = self.rows(&chattering(), values).await?;
        rows.iter().map(chattering_alarm).collect()
    }

    async fn rows<const N: usize>(
        &self,
        sql: &str,
        values: [Value; N],
    ) -> Result<Vec<QueryResult>, StoreError> {
        let statement = self.engine.statement(sql, values);
        Ok(self.readers.query_all_raw(statement).await?)
    }
}

fn count(row: &QueryResult) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.try_get::<i64>("", "count")?).unwrap_or(0))
}

fn alarm_count(row: &QueryResult) -> Result<AlarmCount, StoreError> {
    Ok(AlarmCount {
        severity: u8::try_from(row.try_get::<i16>("", "severity")?).unwrap_or(0),
        active: row.try_get("", "active")?,
        acknowledged: row.try_get("", "acknowledged")?,
        shelved: row.try_get("", "shelved")?,
        suppressed: row.try_get("", "suppressed")?,
        out_of_service: row.try_get("", "out_of_service")?,
        count: count(row)?,
    })
}

fn rule_occurrences(row: &QueryResult) -> Result<RuleOccurrences, StoreError> {
    Ok(RuleOccurrences {
        rule_id: row.try_get("", "rule_id")?,
        rule_name: row.try_get("", "rule_name")?,
        occurrences: count(row)?,
    })
}

fn device_occurrences(row: &QueryResult) -> Result<DeviceOccurrences, StoreError> {
    Ok(DeviceOccurrences { device: row.try_get("", "device")?, occurrences: count(row)? })
}

fn chattering_alarm(row: &QueryResult) -> Result<ChatteringAlarm, StoreError> {
    Ok(ChatteringAlarm {
        rule_id: row.try_get("", "rule_id")?,
        rule_name: row.try_get("", "rule_name")?,
        device: row.try_get("", "device")?,
        sensor_id: row.try_get::<Option<i64>>("", "sensor_id")?.map(SensorId),
        sensor: row.try_get("", "sensor")?,
        alarm_id: row.try_get("", "alarm_id")?,
        occurrences: count(row)?,
        last_raised_at: Timestamp::from_micros(row.try_get("", "last_raised_at")?),
    })
}
