//! How devices prove who they are, and what they may do beyond their own topics.
//!
//! All in memory, so that thousands that reconnect at once are recognised by one HMAC each. A secret
//! is generated, shown once, and can overlap with the next one. A certificate's common name is the
//! device's own id, or one that was registered for it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::quality::RandomState;
use parking_lot::RwLock;
use subtle::ConstantTimeEq;

use super::{
    AccessError, Principal, Scope, api_keys::Used, keyring::Keyring, people::texts, rules::Rights,
    secret,
};
use crate::{
    clock::Clock,
    config::Permission,
    registry::{Device, Registry},
    store::{CredentialRow, NewCredential, Proof, Store},
    telemetry::{DeviceId, DeviceKey, Timestamp},
};

/// Credentials of one device.
const CREDENTIALS_MAX: usize = 10;
/// Longest common name, in bytes.
const SUBJECT_MAX: usize = 256;

/// A credential as it is at one moment.
#[derive(Debug, Clone)]
pub struct Credential {
    pub id: i64,
    /// `None`: a secret.
    pub subject: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    proof: Proof,
    used: Arc<Used>,
}

#[derive(Default)]
struct Entry {
    credentials: Vec<Credential>,
    allow: Vec<String>,
    rights: Option<Arc<Rights>>,
}

#[derive(Default)]
struct State {
    devices: HashMap<DeviceId, Entry, RandomState>,
    /// By common name.
    subjects: HashMap<String, (DeviceId, DeviceKey), RandomState>,
}

pub struct DeviceAccess {
    store: Store,
    clock: Clock,
    keyring: Arc<Keyring>,
    state: RwLock<State>,
    /// Taken for each change, so that memory follows the store in its order.
    changes: tokio::sync::Mutex<()>,
}

impl DeviceAccess {
    pub(super) async fn load(
        store: &Store,
        clock: &Clock,
        keyring: &Arc<Keyring>,
        registry: &Registry,
    ) -> Result<Self, AccessError> {
        let devices = registry.all();
        let keys: HashMap<_, _> = devices.iter().map(|device| (device.id, &device.key)).collect();
        let mut state = State::default();
        for row in store.device_credentials().await? {
            if let Some(key) = keys.get(&row.device) {
                state.put(row, key);
            }
        }
        for (device, allow) in store.device_permissions().await? {
            state.devices.entry(device).or_default().set_allow(allow);
        }
        Ok(Self {
            store: store.clone(),
            clock: clock.clone(),
            keyring: keyring.clone(),
            state: RwLock::new(state),
            changes: tokio::sync::Mutex::default(),
        })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }

    /// Whether a device has a secret to log in with.
    pub(super) fn has_secret(&self, device: DeviceId) -> bool {
        let state = self.state.read();
        let entry = state.devices.get(&device);
        entry.is_some_and(|entry| entry.credentials.iter().any(|c| c.subject.is_none()))
    }

    /// Whether a text is one of the device's secrets.
    pub(super) fn verify(&self, device: DeviceId, presented: &str) -> bool {
        let (now, mac) = (self.now(), self.keyring.mac(device, presented));
        let state = self.state.read();
        let Some(entry) = state.devices.get(&device) else { return false };
        let matches = |credential: &&Credential| match &credential.proof {
            Proof::Secret(digest) => credential.is_good(now) && bool::from(digest.ct_eq(&mac)),
            Proof::Certificate(_) => false,
        };
        let found = entry.credentials.iter().find(matches);
        if let Some(credential) = found {
            credential.used.note(now);
        }
        found.is_some()
    }

    /// The device that a certificate's common name was registered for.
    pub(super) fn by_subject(&self, subject: &str) -> Option<DeviceKey> {
        let now = self.now();
        let state = self.state.read();
        let (device, key) = state.subjects.get(subject)?;
        let mut credentials = state.devices.get(device)?.credentials.iter();
        let is_it = |c: &&Credential| c.subject.as_deref() == Some(subject) && c.is_good(now);
        credentials.find(is_it)?.used.note(now);
        Some(key.clone())
    }

    pub(super) fn rights(&self, device: DeviceId) -> Option<Arc<Rights>> {
        self.state.read().devices.get(&device)?.rights.clone()
    }

    /// Oldest first.
    pub fn credentials(&self, device: DeviceId) -> Vec<Credential> {
        let state = self.state.read();
        state.devices.get(&device).map(|entry| entry.credentials.clone()).unwrap_or_default()
    }

    /// Makes a secret; the text is not kept. The device's earlier secrets are good for `overlap` more,
    /// where that is given; else they stay as they are.
    ///
    /// # Errors
    /// When `by` may not, it has too many credentials or is being deleted, or the store does not answer.
    pub async fn issue_secret(
        &self,
        device: &Device,
        overlap: Option<Duration>,
        expires_at: Option<Timestamp>,
        by: &Principal,
    ) -> Result<(Credential, String), AccessError> {
        let text = secret::generate(secret::DEVICE)?;
        let proof = Proof::Secret(self.keyring.mac(device.id, &text));
        let credential = self.add(device, proof, overlap, expires_at, by).await?;
        Ok((credential, text))
    }

    /// Registers a certificate's common name for a device.
    ///
    /// # Errors
    /// When another device has it, or as above.
    pub async fn add_certificate(
        &self,
        device: &Device,
        subject: String,
        expires_at: Option<Timestamp>,
        by: &Principal,
    ) -> Result<Credential, AccessError> {
        if subject.is_empty() || subject.len() > SUBJECT_MAX || subject.contains('\0') {
            let reason = "a common name has 1 to 256 bytes";
            return Err(AccessError::Invalid { field: "subject", reason });
        }
        self.add(device, Proof::Certificate(subject), None, expires_at, by).await
    }

    async fn add(
        &self,
        device: &Device,
        proof: Proof,
        overlap: Option<Duration>,
        expires_at: Option<Timestamp>,
        by: &Principal,
    ) -> Result<Credential, AccessError> {
        let _order = self.changes.lock().await;
        must_stay(device)?;
        self.may_hand_out(device.id, by)?;
        let now = self.now();
        self.remove_expired(device.id, now).await?;
        if let Proof::Certificate(subject) = &proof
            && self.state.read().subjects.contains_key(subject)
        {
            return Err(crate::store::StoreError::Exists("a device with that certificate").into());
        }
        if self.credentials(device.id).len() >= CREDENTIALS_MAX {
            return Err(AccessError::TooMany("a device has at most 10 credentials"));
        }
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let others_until = overlap.map(|overlap| now.plus_micros(micros(overlap)));
        let created_by = by.actor.to_string();
        let new =
            NewCredential { device: device.id, proof, created_at: now, created_by, expires_at };
        let row = self.store.create_device_credential(&new, others_until).await?;
        let mut state = self.state.write();
        if let (Some(until), Some(entry)) = (others_until, state.devices.get_mut(&device.id)) {
            let secrets = entry.credentials.iter_mut().filter(|c| c.subject.is_none());
            for other in secrets.filter(|other| other.expires_at.is_none_or(|at| at > until)) {
                other.expires_at = Some(until);
            }
        }
        Ok(state.put(row, &device.key))
    }

    /// To be called in order.
    async fn remove_expired(&self, device: DeviceId, now: Timestamp) -> Result<(), AccessError> {
        let credentials = self.credentials(device);
        let expired: Vec<i64> =
            credentials.iter().filter(|c| !c.is_good(now)).map(|c| c.id).collect();
        self.remove_in_order(device, &expired).await
    }

    /// Takes a credential away; with it the device can't log in any more.
    ///
    /// # Errors
    /// When the device has none of that number.
    pub async fn revoke(&self, device: DeviceId, id: i64) -> Result<(), AccessError> {
        let _order = self.changes.lock().await;
        if !self.credentials(device).iter().any(|credential| credential.id == id) {
            return Err(AccessError::NotFound("credential"));
        }
        self.remove_in_order(device, &[id]).await
    }

    async fn remove_in_order(&self, device: DeviceId, ids: &[i64]) -> Result<(), AccessError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.store.delete_device_credentials(ids).await?;
        let mut state = self.state.write();
        let State { devices, subjects } = &mut *state;
        if let Some(entry) = devices.get_mut(&device) {
            entry.credentials.retain(|credential| {
                let stays = !ids.contains(&credential.id);
                if let (false, Some(subject)) = (stays, &credential.subject) {
                    subjects.remove(subject);
                }
                stays
            });
        }
        Ok(())
    }

    /// Whoever gives out what a device logs in with gives its further topics away, too.
    ///
    /// # Errors
    /// When it has some, and `by` may not grant them.
    pub fn may_hand_out(&self, device: DeviceId, by: &Principal) -> Result<(), AccessError> {
        let may = by.may(Scope::MqttWrite) || self.permissions(device).is_empty();
        if may { Ok(()) } else { Err(AccessError::Beyond) }
    }

    /// What the device may do beyond its own topics.
    pub fn permissions(&self, device: DeviceId) -> Vec<String> {
        let state = self.state.read();
        state.devices.get(&device).map(|entry| entry.allow.clone()).unwrap_or_default()
    }

    /// # Errors
    /// When it is being deleted, or the store does not answer.
    pub async fn set_permissions(
        &self,
        device: &Device,
        allow: Vec<Permission>,
    ) -> Result<Vec<String>, AccessError> {
        let allow = texts(allow);
        let _order = self.changes.lock().await;
        must_stay(device)?;
        self.store.set_device_permissions(device.id, &allow).await?;
        self.state.write().devices.entry(device.id).or_default().set_allow(allow.clone());
        Ok(allow)
    }

    /// The device is gone, and what was stored of it with it. A change under way comes before.
    pub async fn forget(&self, device: DeviceId) {
        let _order = self.changes.lock().await;
        let mut state = self.state.write();
        state.devices.remove(&device);
        state.subjects.retain(|_, (of, _)| *of != device);
    }

    pub(super) fn take_uses(&self) -> Vec<(i64, Timestamp)> {
        let state = self.state.read();
        let credentials = state.devices.values().flat_map(|entry| &entry.credentials);
        credentials.filter_map(|c| Some((c.id, c.used.take_unsaved()?))).collect()
    }
}

/// Nothing is given to a device that is being deleted: it would outlive it in memory.
fn must_stay(device: &Device) -> Result<(), AccessError> {
    if device.is_leaving() { Err(AccessError::Leaving) } else { Ok(()) }
}

impl Credential {
    fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }

    pub fn used_at(&self) -> Option<Timestamp> {
        self.used.last()
    }
}

impl Entry {
    fn set_allow(&mut self, allow: Vec<String>) {
        self.rights = (!allow.is_empty()).then(|| Arc::new(Rights::of_texts(&allow)));
        self.allow = allow;
    }
}

impl State {
    fn put(&mut self, row: CredentialRow, key: &DeviceKey) -> Credential {
        let subject = match &row.proof {
            Proof::Secret(_) => None,
            Proof::Certificate(subject) => Some(subject.clone()),
        };
        if let Some(subject) = &subject {
            self.subjects.insert(subject.clone(), (row.device, key.clone()));
        }
        let credential = Credential {
            id: row.id,
            subject,
            created_at: row.created_at,
            created_by: row.created_by,
            expires_at: row.expires_at,
            proof: row.proof,
            used: Arc::new(Used::new(row.used_at)),
        };
        self.devices.entry(row.device).or_default().credentials.push(credential.clone());
        credential
    }
}
