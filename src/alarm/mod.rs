//! Alarms: rules over readings, judged before the acknowledgement; and who is told.
//!
//! `rule` says what a rule is; `lifecycle` is the state machine that live judging, the start of the
//! broker and backtests run. Both are pure: time and data come in as arguments. `engine` runs them
//! for the committer, on an overlay that it takes over once the batch is on disk. `notify` brings
//! what the outbox holds to mail servers, webhooks, subscribers and the log. `backtest` tries rules on
//! the readings of the past.

pub mod backtest;
pub mod engine;
pub mod lifecycle;
pub mod notify;
pub mod rule;
