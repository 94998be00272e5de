//! Who may do what: connect, publish, subscribe, receive, and use the HTTP surface.
//!
//! [`Access`] holds it all in memory, loaded at start: `people` (with `sign_in`), `api_keys`, and how
//! `devices` prove who they are. What is allowed is said in scopes (`scope`); who has been recognised
//! is a [`Principal`]. The `gatekeeper` answers the broker: it knows a client by its certificate
//! (`tls` has verified it), a device's secret, a key or a password, slows those that fail
//! (`throttle`), and judges topics by `rules`. Nobody may publish where the broker itself speaks,
//! whatever the rules say.

mod api_keys;
mod connections;
mod devices;
mod first_start;
mod gatekeeper;
mod keyring;
mod password;
mod people;
mod policy;
mod principal;
mod rights;
mod rules;
mod scope;
mod secret;
mod sign_in;
mod throttle;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use subtle::ConstantTimeEq;

pub use api_keys::{ApiKey, ApiKeys, KeyChange, NewKey};
pub use connections::Connections;
pub use devices::{Credential, DeviceAccess};
pub use first_start::FirstStart;
pub use gatekeeper::Gatekeeper;
pub use keyring::{KEYS_FILE, TOKEN_SECONDS, parts_of_a_backup};
pub use password::hash_password;
pub use people::{NewPassword, NewPerson, People, PersonChange, User};
pub use policy::{PASSWORD_MIN, password_mistake};
pub use principal::{Actor, Principal};
pub use scope::{Role, Scope, Scopes, UnknownScope};
pub use sign_in::{Origin, Tokens};

use self::{keyring::Keyring, password::Checker};
use crate::{
    clock::Clock,
    config,
    mqtt::ClientId,
    registry::Registry,
    store::{AuditFilter, AuditRow, Digest, NewAudit, Store, StoreError},
    telemetry::Timestamp,
};

/// What somebody has done.
pub struct AuditEntry {
    pub actor: Actor,
    pub action: String,
    pub resource: String,
    /// JSON: what has changed.
    pub detail: Option<String>,
    pub address: Option<String>,
    pub request_id: Option<String>,
}

/// What is in the way; what a client has done wrong among it.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("user name or password is wrong")]
    Wrong,
    #[error("too many wrong passwords; wait a minute")]
    Throttled,
    #[error("too many passwords are being checked; try again")]
    Busy,
    #[error("the refresh token is not, or no longer, valid: sign in again")]
    Expired,
    #[error("the refresh token was used before: its session has been ended, sign in again")]
    Reused(Arc<str>),
    #[error("{reason}")]
    Invalid { field: &'static str, reason: &'static str },
    #[error("nobody may grant, change or remove more than one may do oneself")]
    Beyond,
    #[error("somebody has to be an active admin")]
    LastAdmin,
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("http.api_keys, the device of {name:?}: {reason}")]
    ConfiguredKey { name: String, reason: String },
    #[error("{0}")]
    TooMany(&'static str),
    #[error("the device is being deleted")]
    Leaving,
    #[error("the system has no random bytes")]
    NoRandom,
    #[error("a token can't be signed")]
    Token,
    #[error("what was stored can't be read back")]
    Unreadable,
    #[error("can't use {path}: {reason}")]
    File { path: String, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Everything about who may do what.
pub struct Access {
    pub people: People,
    pub keys: ApiKeys,
    pub devices: DeviceAccess,
    pub connections: Connections,
    keyring: Arc<Keyring>,
    checker: Checker,
    store: Store,
    clock: Clock,
    /// Where the files of the first start, of the console and of the server's keys are.
    folder: PathBuf,
    /// Of the key that the command line on this machine uses, made anew at each start.
    console: Digest,
    openness: Openness,
}

/// Whether somebody without credentials may use the HTTP surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Openness {
    Always,
    /// As long as there is neither a user nor a key.
    UntilSomebodyIsKnown,
    Never,
}

/// What of the configuration matters here, and where the server's own files are.
pub struct AccessSettings<'a> {
    pub access: &'a config::Access,
    pub keys: &'a [config::ApiKey],
    pub openness: Openness,
    pub folder: &'a Path,
}

/// What the command line on this machine speaks to the running server with. The file goes with it.
#[derive(Debug)]
pub struct ConsoleFile(PathBuf);

/// In the data directory: an address, and the key of [`Access::console`].
pub const CONSOLE_FILE: &str = "console";

impl Drop for ConsoleFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Access {
    /// Loads what the store holds, and the server's keys from the data directory.
    ///
    /// # Errors
    /// When either can't be read.
    pub async fn load(
        store: &Store,
        clock: &Clock,
        settings: &AccessSettings<'_>,
        registry: &Registry,
    ) -> Result<(Self, String), AccessError> {
        let folder = settings.folder.to_owned();
        let keyring = Arc::new(Keyring::open(&folder)?);
        let checker = Checker::new();
        let console_key = secret::generate(secret::CONSOLE)?;
        let people =
            People::load(store, clock, &keyring, &checker, settings.access, folder.clone()).await?;
        let access = Self {
            people,
            keys: ApiKeys::load(store, clock, settings.keys).await?,
            devices: DeviceAccess::load(store, clock, &keyring, registry).await?,
            connections: Connections::default(),
            keyring,
            checker,
            store: store.clone(),
            clock: clock.clone(),
            folder,
            console: secret::digest(&console_key),
            openness: settings.openness,
        };
        Ok((access, console_key))
    }

    /// Tells the command line on this machine where the server is, and the key for it.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn open_console(&self, address: &str, key: &str) -> Result<ConsoleFile, AccessError> {
        let path = self.folder.join(CONSOLE_FILE);
        keyring::write_private(&path, &format!("{address}\n{key}\n"))?;
        Ok(ConsoleFile(path))
    }

    /// Who presents this key or access token. `None`: nobody that is known.
    pub fn recognise(&self, presented: &str) -> Option<Principal> {
        if presented.starts_with(secret::CONSOLE) {
            let is_console = secret::digest(presented).ct_eq(&self.console);
            return bool::from(is_console).then(first_start::console);
        }
        self.keys.principal(presented).or_else(|| self.people.by_access_token(presented))
    }

    /// Whoever was recognised before, with what is allowed at present. `None`: not let in any more.
    pub fn present(&self, known: &Principal) -> Option<Principal> {
        let present = match &known.actor {
            Actor::User { id, session, .. } => self.people.of_session(*id, *session)?,
            Actor::Key { id: Some(id), .. } => {
                let (scopes, device) = self.keys.rights(*id)?;
                Principal { actor: known.actor.clone(), scopes, device }
            }
            Actor::Key { id: None, .. } | Actor::Console => known.clone(),
            Actor::Anybody => self.anybody()?,
        };
        Some(present)
    }

    /// Who somebody without credentials is. `None`: not let in.
    pub fn anybody(&self) -> Option<Principal> {
        let is_open = match self.openness {
            Openness::Always => true,
            Openness::UntilSomebodyIsKnown => self.people.is_empty() && self.keys.is_empty(),
            Openness::Never => false,
        };
        let scopes = Scopes::new(&[Scope::Admin]);
        is_open.then_some(Principal { actor: Actor::Anybody, scopes, device: None })
    }

    /// What the command line of this machine acts as.
    pub fn console(&self) -> Principal {
        first_start::console()
    }

    /// Notes what somebody has done.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn note(&self, entry: AuditEntry) -> Result<(), AccessError> {
        let entry = NewAudit {
            at: self.now(),
            actor_kind: entry.actor.kind(),
            actor: entry.actor.name().to_owned(),
            action: entry.action,
            resource: entry.resource,
            detail: entry.detail,
            address: entry.address,
            request_id: entry.request_id,
        };
        Ok(self.store.add_audit(entry).await?)
    }

    /// What was done, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        limit: u64,
    ) -> Result<Vec<AuditRow>, AccessError> {
        Ok(self.store.audit_page(filter, limit).await?)
    }

    /// Makes another key that signs access tokens; those of the one before stay good.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn rotate_token_key(&self) -> Result<(), AccessError> {
        self.keyring.rotate(self.now())
    }

    /// The MQTT clients that are connected as a device, with a key that is bound to it too, to be
    /// disconnected; whoever is being let in as it meanwhile will not stay. To be called once what
    /// they have shown is no longer good.
    pub fn cut_device(&self, key: &str) -> Vec<ClientId> {
        let mut clients = self.connections.cut(&principal::device_identity(key));
        for bound in self.keys.bound_to(key) {
            clients.extend(self.connections.cut(&principal::key_identity(bound)));
        }
        clients
    }

    /// As [`Self::cut_device`].
    pub fn cut_user(&self, name: &str) -> Vec<ClientId> {
        self.connections.cut(&principal::user_identity(name))
    }

    /// As [`Self::cut_device`].
    pub fn cut_key(&self, id: i64) -> Vec<ClientId> {
        self.connections.cut(&principal::key_identity(id))
    }

    /// Writes when keys and credentials were used last, and ends what has expired.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn upkeep(&self, audit_entries_max: i64) -> Result<(), AccessError> {
        self.save_uses().await?;
        self.people.end_expired(self.now()).await?;
        Ok(self.store.prune_audit(audit_entries_max).await?)
    }

    /// # Errors
    /// When the store does not answer.
    pub async fn save_uses(&self) -> Result<(), AccessError> {
        let (keys, credentials) = (self.keys.take_uses(), self.devices.take_uses());
        Ok(self.store.note_uses(&keys, &credentials).await?)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }
}

#[cfg(test)]
mod tests;
