//! What a rule found at an originator: a device, or one of its sensors.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "alarm")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub rule_id: i64,
    pub rule_version: i64,
    pub rule_name: String,
    pub device: String,
    pub sensor_id: Option<i64>,
    pub sensor: Option<String>,
    /// 0 info to 4 critical.
    pub severity: i16,
    pub highest_severity: i16,
    pub active: bool,
    pub acknowledged: bool,
    /// The condition is gone; the alarm waits for a reset.
    pub latched: bool,
    pub shelved_until: Option<i64>,
    pub suppressed: bool,
    pub out_of_service: bool,
    pub closed: bool,
    pub raised_at: i64,
    pub cleared_at: Option<i64>,
    pub changed_at: i64,
    /// When what made the last transition arrived.
    pub arrival: i64,
    pub acknowledged_at: Option<i64>,
    pub acknowledged_by: Option<String>,
    pub note: Option<String>,
    pub value: Option<f64>,
    pub event_time: Option<i64>,
    pub peak: Option<f64>,
    pub occurrences: i64,
    /// JSON: the phases of the rule's levels after the last transition.
    pub levels: String,
    pub message: String,
    /// A JSON object of strings.
    pub labels: String,
    pub last_notified_at: Option<i64>,
    /// That it was raised has been told.
    pub notified: bool,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
