//! Targets and silences as the store has them.

use std::sync::{Arc, atomic::Ordering};

use serde::{Deserialize, Serialize};

use super::{Matcher, Notifier, Silence, Target};
use crate::{
    store::{SilenceRow, Store, StoreError},
    telemetry::Timestamp,
};

/// What of a silence is kept as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SilenceBody {
    pub matcher: Matcher,
    #[serde(default)]
    pub comment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

impl Silence {
    /// # Errors
    /// When its JSON is none that was written here.
    pub fn from_row(row: &SilenceRow) -> Result<Self, serde_json::Error> {
        let SilenceBody { matcher, comment, author } = serde_json::from_str(&row.body)?;
        let (id, starts_at, ends_at) = (row.id, row.starts_at, row.ends_at);
        Ok(Self { id, matcher, comment, author, starts_at, ends_at })
    }
}

impl Notifier {
    /// Reads targets and silences anew, after one was edited. One that can't be read is left out and
    /// told in the log.
    ///
    /// # Errors
    /// When the database does not answer; what is known stays then.
    pub async fn reload(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        // Of two at once the later one must not be overtaken by what the earlier one has read.
        let _turn = self.reloading.lock().await;
        let mut targets = Vec::new();
        for row in store.notification_targets().await? {
            match serde_json::from_str::<Target>(&row.body) {
                Ok(mut target) => {
                    target.enabled = row.enabled;
                    targets.push(Arc::new(target));
                }
                Err(error) => {
                    tracing::error!(name = row.name, %error, "a notification target can't be read");
                }
            }
        }
        let mut silences = Vec::new();
        for row in store.silences(Some(now)).await? {
            match Silence::from_row(&row) {
                Ok(silence) => silences.push(silence),
                Err(error) => tracing::error!(id = row.id, %error, "a silence can't be read"),
            }
        }
        self.set_targets(targets);
        self.set_silences(silences);
        self.is_stale.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// As [`Notifier::reload`], after an edit that is stored whatever becomes of this: where the
    /// database does not answer, [`Notifier::catch_up`] does it.
    pub async fn follow_edit(&self, store: &Store, now: Timestamp) {
        if let Err(error) = self.reload(store, now).await {
            self.is_stale.store(true, Ordering::Relaxed);
            tracing::warn!(%error, "an edit of targets or silences is in force when it can be read");
        }
    }

    /// Tries again what an edit has left undone; to be called every so often.
    pub async fn catch_up(&self, store: &Store, now: Timestamp) {
        if self.is_stale.load(Ordering::Relaxed) && self.reload(store, now).await.is_ok() {
            tracing::info!("targets and silences are as they were edited");
        }
    }
}
