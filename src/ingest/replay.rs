//! Second chances: the held messages of a device that was approved, and quarantined messages that
//! somebody wants tried again. Both go through the same door as any message.

use bytes::Bytes;

use super::{Tap, Upload, Verdict};
use crate::{
    routes::PayloadForm,
    store::{Store, StoreError},
    telemetry::{DeviceId, DeviceKey},
};

/// Held messages read at a time.
const CHUNK: u64 = 200;

/// Path of the ESP32 monitor's upload, whose form is its own.
const ESP32_PATH: &str = "/api/telemetry";

/// Stores what an approved device sent while it waited, oldest first; returns how many messages.
///
/// Each leaves the hold with the transaction that takes it; what is refused goes to the quarantine.
/// Where the device is not approved any more, the rest stays in the hold. Two that do this at a time
/// go in step: each waits for a message before it tries the next.
///
/// # Errors
/// When the store does not answer; what was replayed by then is gone from the hold.
pub async fn replay_held(
    store: &Store,
    tap: &Tap,
    device: DeviceId,
    key: &DeviceKey,
) -> Result<u64, StoreError> {
    let mut replayed = 0;
    loop {
        let held = store.held(device, CHUNK).await?;
        if held.is_empty() {
            return Ok(replayed);
        }
        for message in held {
            let upload = Upload {
                source: if message.source == "http" { "http" } else { "mqtt" },
                form: form_of(&message.topic),
                topic: message.topic,
                payload: Bytes::from(message.payload),
                device: Some(key.clone()),
                received_at: Some(message.received_at),
                is_kept_already: false,
            };
            let verdict = tap.replay(upload, message.id).await;
            if verdict == Verdict::Unavailable {
                return Err(StoreError::Unavailable("the replay was interrupted".to_owned()));
            }
            if verdict.is_for_the_device() {
                return Ok(replayed);
            }
            replayed += 1;
        }
    }
}

/// What became of a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// There is no such entry.
    Missing,
    /// Taken in full; the entry is gone.
    Taken(Verdict),
    /// Refused again, wholly or in part; the entry stays, with the reason of this try.
    Refused(Verdict),
}

/// Tries a quarantined message again.
///
/// # Errors
/// When the store does not answer.
pub async fn retry_quarantined(store: &Store, tap: &Tap, id: i64) -> Result<Retried, StoreError> {
    let Some(entry) = store.quarantined(id).await? else {
        return Ok(Retried::Missing);
    };
    let verdict = tap
        .upload(Upload {
            source: if entry.source == "http" { "http" } else { "mqtt" },
            form: form_of(&entry.topic),
            topic: entry.topic,
            payload: Bytes::from(entry.payload),
            device: entry.device.and_then(|key| DeviceKey::new(&key).ok()),
            received_at: Some(entry.received_at),
            is_kept_already: true,
        })
        .await;
    match &verdict {
        Verdict::Stored { .. } => {
            store.delete_quarantined(id).await?;
            Ok(Retried::Taken(verdict))
        }
        Verdict::Unavailable => Err(StoreError::Unavailable("the retry".to_owned())),
        Verdict::Held => Ok(Retried::Refused(verdict)),
        Verdict::Partial { rejections, .. } | Verdict::Refused(rejections) => {
            let rejection = super::decode::joined(rejections);
            let reason = rejection.reason.label();
            store.count_quarantine_attempt(id, reason, &rejection.detail).await?;
            Ok(Retried::Refused(verdict))
        }
    }
}

fn form_of(topic: &str) -> PayloadForm {
    if topic == ESP32_PATH { PayloadForm::Esp32 } else { PayloadForm::Auto }
}
