//! The life of an alarm: what a rule makes of what arrives, and what becomes of the alarm.
//!
//! Two steps, both pure. [`step`] judges one input of one originator (a sensor, or a device) in order
//! of arrival: `(rule, state, input) → (state, transitions)`. [`Alarm::apply`] folds transitions and
//! what operators do into the alarm's record, its events and what is to be told. Live judging, the
//! start of the broker and backtests run these same functions.
//!
//! Invariants: timers fire before the input that arrives at or after their deadline and bear the
//! deadline, so when ticks come makes no difference; memory (windows, timers, last values) follows
//! every input, phases only those after the resume point; nothing here reads a clock.

mod alarm;
mod cell;
mod check;
mod command;
mod compile;
mod input;
mod judge;
mod moments;
mod notice;
mod peak;
mod policy;
mod quiet;
mod record;
mod state;
mod window;

pub use alarm::{Alarm, Change, Outcome};
pub use command::{Command, CommandError};
pub use compile::{CompiledRule, Horizon};
pub use input::{Input, JudgedReading, Slot};
pub use judge::step;
pub use notice::{Notice, NoticeKind};
pub use peak::Extreme;
pub use policy::{Facts, Policy};
pub use quiet::Quiet;
pub use record::{AlarmEvent, AlarmRecord, EventKind, Progress};
pub use state::{LevelPhase, Phase, Resume, Since, State, Transition, TransitionKind};
pub use window::SAMPLES_MAX;

#[cfg(test)]
mod tests;
