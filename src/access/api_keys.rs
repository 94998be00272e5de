//! Keys of programs: found by their digest, in memory; changed after the store has taken the change.
//!
//! A key is shown once. What is kept of it is its SHA-256, and how it begins. When it was used last
//! is written every so often. Keys of the configuration stand beside them, for the HTTP surface only.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use foldhash::quality::RandomState;
use parking_lot::RwLock;

use super::{AccessError, Actor, Principal, Scope, Scopes, secret};
use crate::{
    clock::Clock,
    config,
    store::{ApiKeyEdit, ApiKeyRow, Digest, NewApiKey, Store, StoreError},
    telemetry::{DeviceKey, Timestamp},
};

/// Characters of a key that are shown later on.
const SHOWN: usize = 12;
const NAME_MAX: usize = 100;

/// A key as it is at one moment.
#[derive(Debug, Clone)]
pub struct ApiKey {
    pub id: i64,
    pub name: String,
    pub prefix: String,
    pub scopes: Scopes,
    pub device: Option<DeviceKey>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub version: i64,
    used: Arc<Used>,
}

/// When something was used last.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// 0: never.
    at: AtomicI64,
    is_unsaved: AtomicBool,
}

impl Used {
    pub(super) fn new(at: Option<Timestamp>) -> Self {
        let at = AtomicI64::new(at.map_or(0, Timestamp::as_micros));
        Self { at, is_unsaved: AtomicBool::new(false) }
    }

    pub(super) fn note(&self, at: Timestamp) {
        self.at.store(at.as_micros(), Ordering::Relaxed);
        self.is_unsaved.store(true, Ordering::Release);
    }

    pub(super) fn last(&self) -> Option<Timestamp> {
        match self.at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Timestamp::from_micros(at)),
        }
    }

    /// What is to be written, once.
    pub(super) fn take_unsaved(&self) -> Option<Timestamp> {
        self.is_unsaved.swap(false, Ordering::Acquire).then(|| self.last()).flatten()
    }
}

pub struct NewKey {
    pub name: String,
    pub scopes: Scopes,
    /// The only device that it speaks for.
    pub device: Option<DeviceKey>,
    pub expires_at: Option<Timestamp>,
}

/// What is left out stays.
#[derive(Default)]
pub struct KeyChange {
    pub name: Option<String>,
    pub scopes: Option<Scopes>,
    pub expires_at: Option<Option<Timestamp>>,
}

#[derive(Default)]
struct State {
    by_digest: HashMap<Digest, i64, RandomState>,
    keys: HashMap<i64, (Digest, ApiKey), RandomState>,
}

pub struct ApiKeys {
    store: Store,
    clock: Clock,
    configured: HashMap<Digest, Principal, RandomState>,
    state: RwLock<State>,
    /// Taken for each change, so that memory follows the store in its order.
    changes: tokio::sync::Mutex<()>,
}

impl ApiKeys {
    pub(super) async fn load(
        store: &Store,
        clock: &Clock,
        configured: &[config::ApiKey],
    ) -> Result<Self, AccessError> {
        let configured = configured.iter().map(configured_key).collect::<Result<_, _>>()?;
        let mut state = State::default();
        for row in store.api_keys().await? {
            match api_key(row) {
                Ok((digest, key)) => state.put(digest, key),
                Err(name) => tracing::warn!(name, "a stored key can't be read and is left out"),
            }
        }
        Ok(Self {
            store: store.clone(),
            clock: clock.clone(),
            configured,
            state: RwLock::new(state),
            changes: tokio::sync::Mutex::default(),
        })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }

    /// The key that was presented, if it is one of ours and still good.
    pub(super) fn find(&self, presented: &str) -> Option<ApiKey> {
        let now = self.now();
        let state = self.state.read();
        let id = state.by_digest.get(&secret::digest(presented))?;
        let (_, key) = state.keys.get(id)?;
        if !key.is_good(now) {
            return None;
        }
        key.used.note(now);
        Some(key.clone())
    }

    pub(super) fn principal(&self, presented: &str) -> Option<Principal> {
        if let Some(principal) = self.configured.get(&secret::digest(presented)) {
            return Some(principal.clone());
        }
        let key = self.find(presented)?;
        let actor = Actor::Key { id: Some(key.id), name: key.name };
        Some(Principal { actor, scopes: key.scopes, device: key.device })
    }

    /// What a key that is still good allows, and for which device alone.
    pub(super) fn rights(&self, id: i64) -> Option<(Scopes, Option<DeviceKey>)> {
        let now = self.now();
        let state = self.state.read();
        let (_, key) = state.keys.get(&id).filter(|(_, key)| key.is_good(now))?;
        Some((key.scopes, key.device.clone()))
    }

    /// Whether there is any, of the configuration or made here.
    pub fn is_empty(&self) -> bool {
        self.configured.is_empty() && self.state.read().keys.is_empty()
    }

    /// Whether a key of the configuration may do everything.
    pub(super) fn has_configured_admin(&self) -> bool {
        self.configured.values().any(|principal| principal.may(Scope::Admin))
    }

    /// Numbers of the keys that speak for a device.
    pub(super) fn bound_to(&self, device: &str) -> Vec<i64> {
        let is_bound =
            |key: &ApiKey| key.device.as_ref().is_some_and(|bound| bound.as_str() == device);
        let state = self.state.read();
        state.keys.values().filter(|(_, key)| is_bound(key)).map(|(_, key)| key.id).collect()
    }

    pub fn get(&self, id: i64) -> Option<ApiKey> {
        self.state.read().keys.get(&id).map(|(_, key)| key.clone())
    }

    /// By number.
    pub fn all(&self) -> Vec<ApiKey> {
        let mut keys: Vec<_> =
            self.state.read().keys.values().map(|(_, key)| key.clone()).collect();
        keys.sort_unstable_by_key(|key| key.id);
        keys
    }

    /// Makes a key; the text is not kept.
    ///
    /// # Errors
    /// When `by` may not grant as much, or there is one of that name.
    pub async fn create(
        &self,
        new: NewKey,
        by: &Principal,
    ) -> Result<(ApiKey, String), AccessError> {
        let text = secret::generate(secret::KEY)?;
        let key = self.create_with(new, text.clone(), by).await?;
        Ok((key, text))
    }

    pub(super) async fn create_with(
        &self,
        new: NewKey,
        text: String,
        by: &Principal,
    ) -> Result<ApiKey, AccessError> {
        check_name(&new.name)?;
        check_scopes(new.scopes, new.device.as_ref(), by)?;
        let row = NewApiKey {
            name: new.name,
            prefix: text.get(..SHOWN).unwrap_or_default().to_owned(),
            key_hash: secret::digest(&text),
            scopes: new.scopes.to_string(),
            device: new.device,
            created_at: self.now(),
            created_by: by.actor.to_string(),
            expires_at: new.expires_at,
        };
        let _order = self.changes.lock().await;
        let row = self.store.create_api_key(&row).await?;
        let (digest, key) = api_key(row).map_err(|_| AccessError::Unreadable)?;
        self.state.write().put(digest, key.clone());
        Ok(key)
    }

    /// Changes a key, if it is at `version` where one is given.
    ///
    /// # Errors
    /// As above.
    pub async fn change(
        &self,
        id: i64,
        version: Option<i64>,
        change: KeyChange,
        by: &Principal,
    ) -> Result<ApiKey, AccessError> {
        let _order = self.changes.lock().await;
        let before = self.get(id).ok_or(AccessError::NotFound("key"))?;
        if version.is_some_and(|version| version != before.version) {
            return Err(StoreError::Outdated.into());
        }
        if !by.scopes.covers(before.scopes) {
            return Err(AccessError::Beyond);
        }
        let (name, scopes) =
            (change.name.unwrap_or(before.name), change.scopes.unwrap_or(before.scopes));
        check_name(&name)?;
        check_scopes(scopes, before.device.as_ref(), by)?;
        let expires_at = change.expires_at.unwrap_or(before.expires_at);
        let edit = ApiKeyEdit { name: name.clone(), scopes: scopes.to_string(), expires_at };
        let version = self.store.update_api_key(id, before.version, &edit).await?;
        let mut state = self.state.write();
        let (_, key) = state.keys.get_mut(&id).ok_or(AccessError::NotFound("key"))?;
        *key = ApiKey { name, scopes, expires_at, version, ..key.clone() };
        Ok(key.clone())
    }

    /// # Errors
    /// When there is none of that number, or it allows more than `by` may do.
    pub async fn delete(&self, id: i64, by: &Principal) -> Result<(), AccessError> {
        let _order = self.changes.lock().await;
        let key = self.get(id).ok_or(AccessError::NotFound("key"))?;
        if !by.scopes.covers(key.scopes) {
            return Err(AccessError::Beyond);
        }
        Ok(self.delete_in_order(id).await?)
    }

    /// A device is gone, and the keys that speak for it alone with it; how many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_device(&self, device: &str) -> Result<u64, StoreError> {
        let _order = self.changes.lock().await;
        let bound = self.bound_to(device);
        for id in &bound {
            self.delete_in_order(*id).await?;
        }
        Ok(bound.len() as u64)
    }

    async fn delete_in_order(&self, id: i64) -> Result<(), StoreError> {
        self.store.delete_api_key(id).await?;
        let mut state = self.state.write();
        if let Some((digest, _)) = state.keys.remove(&id) {
            state.by_digest.remove(&digest);
        }
        Ok(())
    }

    pub(super) fn take_uses(&self) -> Vec<(i64, Timestamp)> {
        let state = self.state.read();
        let uses =
            state.keys.iter().filter_map(|(id, (_, key))| Some((*id, key.used.take_unsaved()?)));
        uses.collect()
    }
}

impl ApiKey {
    fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }

    pub fn used_at(&self) -> Option<Timestamp> {
        self.used.last()
    }
}

impl State {
    fn put(&mut self, digest: Digest, key: ApiKey) {
        self.by_digest.insert(digest, key.id);
        self.keys.insert(key.id, (digest, key));
    }
}

/// A key with a device uploads that device's readings; one without may do everything.
fn configured_key(key: &config::ApiKey) -> Result<(Digest, Principal), AccessError> {
    let device = key.device.as_deref().map(DeviceKey::new).transpose().map_err(|error| {
        let (name, reason) = (key.name.clone(), error.to_string());
        AccessError::ConfiguredKey { name, reason }
    })?;
    let scope = if device.is_some() { Scope::TelemetryWrite } else { Scope::Admin };
    let actor = Actor::Key { id: None, name: key.name.clone() };
    let principal = Principal { actor, scopes: Scopes::new(&[scope]), device };
    Ok((secret::digest(&key.key), principal))
}

/// `Err`: the name of a key whose row some other program has written.
fn api_key(row: ApiKeyRow) -> Result<(Digest, ApiKey), String> {
    let Ok(scopes) = Scopes::parse(&row.scopes) else { return Err(row.name) };
    let key = ApiKey {
        id: row.id,
        name: row.name,
        prefix: row.prefix,
        scopes,
        device: row.device,
        created_at: row.created_at,
        created_by: row.created_by,
        expires_at: row.expires_at,
        version: row.version,
        used: Arc::new(Used::new(row.used_at)),
    };
    Ok((row.key_hash, key))
}

fn check_name(name: &str) -> Result<(), AccessError> {
    let is_legal = !name.trim().is_empty()
        && name.chars().count() <= NAME_MAX
        && !name.chars().any(char::is_control);
    if is_legal {
        return Ok(());
    }
    let reason = "a key's name has 1 to 100 characters, and no control characters";
    Err(AccessError::Invalid { field: "name", reason })
}

/// Nobody grants more than one may do oneself; a key with a device does what a device does.
fn check_scopes(
    scopes: Scopes,
    device: Option<&DeviceKey>,
    by: &Principal,
) -> Result<(), AccessError> {
    let invalid = |reason| Err(AccessError::Invalid { field: "scopes", reason });
    if scopes.is_empty() {
        return invalid("a key needs a scope");
    }
    if device.is_some() && scopes != Scopes::new(&[Scope::TelemetryWrite]) {
        return invalid(
            "a key that is bound to a device has the scope telemetry:write, and no other",
        );
    }
    if by.scopes.covers(scopes) { Ok(()) } else { Err(AccessError::Beyond) }
}
