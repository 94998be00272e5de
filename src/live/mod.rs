//! The live hub: hands what was committed to those who listen at the moment.
//!
//! The committer publishes after each commit; it never waits here. An event is encoded once, on the
//! first subscriber that wants it, and not at all when nobody does; subscribers are found by index, so
//! a reading costs by those who want it, not by those who are there. Each subscriber has a bounded
//! queue (`queue`): one that does not keep up misses events and is told how many, where they are
//! missing. Per sensor, events come in the order of their commits. A `Cursor` says how far publishing has
//! come, so that whoever comes back can be sent the rest from the store.

mod cursor;
mod event;
mod filter;
mod hub;
mod index;
mod queue;

pub use cursor::Cursor;
pub use event::{AlarmChange, Event, RawMessage};
pub use filter::{Filter, Kind, Kinds, SensorRef};
pub use hub::{Hub, Publication, Subscription};
pub use queue::Delivery;
