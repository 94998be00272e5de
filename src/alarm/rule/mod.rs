//! What an alarm rule says: scope, levels with their conditions, timing, schedule, message.
//!
//! A rule is JSON that people write and edit. [`AlarmRule::from_json`] tells every mistake with its
//! JSON path and what would be right; a rule that it returns is legal, so no later step checks again.

mod areas;
mod condition;
mod condition_json;
mod message;
mod model;
mod preset;
mod schedule;
mod scope;
mod severity;
mod validate;

pub use areas::Area;
pub use condition::{
    Aggregate, Band, Bound, Condition, CountOf, Function, Limit, Operand, Rate, Test,
};
pub use message::{MessageFacts, MessageTemplate};
pub use model::{AlarmRule, Level};
pub use preset::{Preset, presets};
pub use schedule::{Calendar, Hours, Schedule, TimeOfDay, Weekday};
pub use scope::{Scope, ScopedDevice, ScopedSensor, glob_matches};
pub use severity::Severity;
pub(crate) use validate::LEVELS_MAX;
pub use validate::{InvalidRule, Problem};

#[cfg(test)]
mod tests;
