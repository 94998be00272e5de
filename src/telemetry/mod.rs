//! The domain's nouns: what a device is called, what a sensor is called, what a reading is.
//!
//! Every type here is valid by construction: a `DeviceKey` that exists is a legal one, so no room
//! checks twice. Nothing here does I/O or reads a clock.

mod device;
mod names;
mod position;
mod quality;
mod reading;
mod report;
mod timestamp;

pub use device::{Approval, DeviceFacts, DeviceId, DeviceKind, InvalidWord, Location};
pub use names::{DeviceKey, InvalidName, SensorName, Unit};
pub use position::{InvalidPosition, Position};
pub use quality::{InvalidQuality, Quality};
pub use reading::{ClaimedTime, Reading, Sample, SensorId};
pub use report::Report;
pub use timestamp::{InvalidTimestamp, Timestamp};
