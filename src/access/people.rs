//! People: who there is, what they may do, how they are changed.
//!
//! All of them are in memory, loaded at start; an edit goes to the store first and is taken over when
//! the store has it. `sign_in` is the other half: passwords, sessions, tokens.

use std::{collections::HashMap, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use foldhash::{fast::RandomState, quality};
use parking_lot::{Mutex, RwLock};

use super::{
    AccessError, Principal, Role, Scope, first_start,
    keyring::Keyring,
    password::{Checker, Known, is_password_hash},
    policy::{name_mistake, password_mistake},
    rules::Rights,
    throttle::Failures,
};
use crate::{
    clock::Clock,
    config::{self, Permission},
    store::{Digest, NewUser, SessionRow, Store, UserEdit, UserRow},
    telemetry::Timestamp,
};

/// A user as it is at one moment.
pub struct User {
    pub id: i64,
    pub name: Arc<str>,
    pub email: Option<String>,
    pub role: Role,
    pub active: bool,
    pub mqtt_allow: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub version: i64,
    pub(super) known: Arc<Known>,
    password_hash: String,
    pub(super) rights: Arc<Rights>,
}

impl User {
    /// Whether who has proven to be `proven` still is this user: the password may be another by now, or
    /// the user shut out.
    pub(super) fn is_proven_by(&self, proven: &Self) -> bool {
        self.active && self.id == proven.id && self.password_hash == proven.password_hash
    }
}

pub struct NewPerson {
    pub name: String,
    pub email: Option<String>,
    pub role: Role,
    pub password: NewPassword,
    pub mqtt_allow: Vec<Permission>,
}

pub enum NewPassword {
    Plain(String),
    /// argon2id or bcrypt, of a user that moves here.
    Hash(String),
}

/// What is left out stays.
#[derive(Default)]
pub struct PersonChange {
    pub email: Option<Option<String>>,
    pub role: Option<Role>,
    pub active: Option<bool>,
    pub mqtt_allow: Option<Vec<Permission>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) users: HashMap<Arc<str>, Arc<User>, RandomState>,
    pub(super) by_id: HashMap<i64, Arc<User>, RandomState>,
    /// Bound: `SESSIONS_MAX` for each user.
    pub(super) sessions: HashMap<i64, SessionRow, RandomState>,
    pub(super) selectors: HashMap<Digest, i64, quality::RandomState>,
    /// What sessions' last refresh tokens took the place of; for sessions that live.
    pub(super) replaced: HashMap<i64, Replaced, RandomState>,
}

/// A refresh token that was used, for as long as the answer may not have arrived.
pub(super) struct Replaced {
    pub(super) token_hash: Digest,
    pub(super) address: IpAddr,
    /// On the monotonic clock.
    pub(super) until: Duration,
}

pub struct People {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) keyring: Arc<Keyring>,
    pub(super) checker: Checker,
    pub(super) decoy: Option<Arc<Known>>,
    /// By account and address, and by address alone.
    pub(super) failures: Mutex<[Failures; 2]>,
    pub(super) state: RwLock<State>,
    /// Taken for each change, so that memory follows the store in its order.
    pub(super) changes: tokio::sync::Mutex<()>,
    folder: PathBuf,
}

/// Failures of one address alone may be so many times those of one account from it.
const ADDRESS_FACTOR: u32 = 10;

impl People {
    pub(super) async fn load(
        store: &Store,
        clock: &Clock,
        keyring: &Arc<Keyring>,
        checker: &Checker,
        settings: &config::Access,
        folder: PathBuf,
    ) -> Result<Self, AccessError> {
        let mut state = State::default();
        for row in store.users().await? {
            match user(row) {
                Ok(user) => state.put(user),
                Err(name) => tracing::warn!(name, "a stored user can't be read and is left out"),
            }
        }
        for session in store.user_sessions().await? {
            state.put_session(session);
        }
        let (window, ban) = (settings.failure_window.0, settings.ban_time.0);
        let of_pairs = Failures::new(settings.max_failures, window, ban);
        let max = settings.max_failures.saturating_mul(ADDRESS_FACTOR);
        let of_addresses = Failures::new(max, window, ban);
        Ok(Self {
            store: store.clone(),
            clock: clock.clone(),
            keyring: keyring.clone(),
            checker: checker.clone(),
            decoy: Known::decoy().map(Arc::new),
            failures: Mutex::new([of_pairs, of_addresses]),
            state: RwLock::new(state),
            changes: tokio::sync::Mutex::default(),
            folder,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.state.read().users.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        self.state.read().users.get(name).cloned()
    }

    /// By name.
    pub fn all(&self) -> Vec<Arc<User>> {
        let mut users: Vec<_> = self.state.read().users.values().cloned().collect();
        users.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        users
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }

    /// # Errors
    /// When name or password is not allowed, or `by` may not make such a user.
    pub async fn create(&self, new: NewPerson, by: &Principal) -> Result<Arc<User>, AccessError> {
        if let Some(reason) = name_mistake(&new.name) {
            return Err(AccessError::Invalid { field: "name", reason });
        }
        may_make(by, new.role, !new.mqtt_allow.is_empty())?;
        let email = new.email.map(checked_email).transpose()?;
        let password_hash = self.new_hash(new.password, &new.name).await?;
        let row = NewUser {
            name: new.name,
            email,
            role: new.role.as_str().to_owned(),
            password_hash,
            mqtt_allow: texts(new.mqtt_allow),
            created_at: self.now(),
        };
        let _order = self.changes.lock().await;
        let row = self.store.create_user(&row).await?;
        let user = user(row).map_err(|_| AccessError::Unreadable)?;
        let user = Arc::new(user);
        self.state.write().put_shared(user.clone());
        Ok(user)
    }

    async fn new_hash(&self, password: NewPassword, name: &str) -> Result<String, AccessError> {
        match password {
            NewPassword::Plain(password) => {
                check_password(&password, name)?;
                self.checker.hash(&password).await
            }
            NewPassword::Hash(hash) if is_password_hash(&hash) => Ok(hash),
            NewPassword::Hash(_) => {
                let reason = "it is neither an argon2id nor a bcrypt hash";
                Err(AccessError::Invalid { field: "password_hash", reason })
            }
        }
    }

    /// Changes a user, if it is at `version` where one is given. One that is not active any more is
    /// signed out.
    ///
    /// # Errors
    /// When `by` may not, or nobody could do everything afterwards.
    pub async fn change(
        &self,
        name: &str,
        version: Option<i64>,
        change: PersonChange,
        by: &Principal,
    ) -> Result<Arc<User>, AccessError> {
        let email = match change.email {
            Some(email) => Some(email.map(checked_email).transpose()?),
            None => None,
        };
        let order = self.changes.lock().await;
        let user = self.get(name).ok_or(AccessError::NotFound("user"))?;
        if version.is_some_and(|version| version != user.version) {
            return Err(crate::store::StoreError::Outdated.into());
        }
        let role = change.role.unwrap_or(user.role);
        let active = change.active.unwrap_or(user.active);
        may_make(by, user.role, !user.mqtt_allow.is_empty() && change.mqtt_allow.is_some())?;
        may_make(by, role, change.mqtt_allow.as_ref().is_some_and(|allow| !allow.is_empty()))?;
        if role != Role::Admin || !active {
            self.must_not_be_last_admin(&user)?;
        }
        let edit = UserEdit {
            email: email.unwrap_or_else(|| user.email.clone()),
            role: role.as_str().to_owned(),
            active,
            password_hash: user.password_hash.clone(),
            mqtt_allow: change.mqtt_allow.map_or_else(|| user.mqtt_allow.clone(), texts),
            updated_at: self.now(),
        };
        let changed = self.write(&user, edit).await?;
        drop(order);
        if !active {
            self.end_all_sessions(user.id, None).await?;
        }
        Ok(changed)
    }

    /// A user's own e-mail address.
    ///
    /// # Errors
    /// When it is none.
    pub async fn change_email(
        &self,
        name: &str,
        email: Option<String>,
    ) -> Result<Arc<User>, AccessError> {
        let email = email.map(checked_email).transpose()?;
        let _order = self.changes.lock().await;
        let user = self.get(name).ok_or(AccessError::NotFound("user"))?;
        let edit = UserEdit { email, updated_at: self.now(), ..edit(&user) };
        self.write(&user, edit).await
    }

    /// Sets another's password, and signs it out everywhere.
    ///
    /// # Errors
    /// When `by` may not, or the password is not allowed.
    pub async fn set_password(
        &self,
        name: &str,
        password: &str,
        by: &Principal,
    ) -> Result<(), AccessError> {
        let user = self.get(name).ok_or(AccessError::NotFound("user"))?;
        may_make(by, user.role, !user.mqtt_allow.is_empty())?;
        self.put_password(name, password, None).await
    }

    /// Whoever has proven to be that user, as it is by now; `None` when its password is another by
    /// now, or it may not sign in any more. To be called in order.
    pub(super) fn unchanged(&self, proven: &User) -> Option<Arc<User>> {
        let state = self.state.read();
        let user = state.by_id.get(&proven.id)?;
        let is_same = user.is_proven_by(proven);
        is_same.then(|| user.clone())
    }

    /// `own`: whoever has proven to be that user does it, from a session that goes on.
    pub(super) async fn put_password(
        &self,
        name: &str,
        password: &str,
        own: Option<(&User, i64)>,
    ) -> Result<(), AccessError> {
        check_password(password, name)?;
        let password_hash = self.checker.hash(password).await?;
        let order = self.changes.lock().await;
        let user = self.get(name).ok_or(AccessError::NotFound("user"))?;
        if own.is_some_and(|(proven, _)| self.unchanged(proven).is_none()) {
            return Err(AccessError::Wrong);
        }
        let edit = UserEdit { password_hash, updated_at: self.now(), ..edit(&user) };
        self.write(&user, edit).await?;
        drop(order);
        if name == first_start::USER {
            first_start::forget(&self.folder);
        }
        self.end_all_sessions(user.id, own.map(|(_, session)| session)).await
    }

    /// Puts the hash that passwords are kept as in the place of one that came from elsewhere; gives
    /// the user with it, where it is still that one's.
    pub(super) async fn renew_hash(
        &self,
        proven: &User,
        password: &str,
    ) -> Result<Option<Arc<User>>, AccessError> {
        let password_hash = self.checker.hash(password).await?;
        let _order = self.changes.lock().await;
        let Some(user) = self.unchanged(proven) else { return Ok(None) };
        self.write(&user, UserEdit { password_hash, ..edit(&user) }).await.map(Some)
    }

    /// # Errors
    /// When `by` may not, or nobody could do everything afterwards.
    pub async fn delete(&self, name: &str, by: &Principal) -> Result<(), AccessError> {
        let _order = self.changes.lock().await;
        let user = self.get(name).ok_or(AccessError::NotFound("user"))?;
        may_make(by, user.role, false)?;
        self.must_not_be_last_admin(&user)?;
        self.store.delete_user(user.id).await?;
        let mut state = self.state.write();
        state.users.remove(&user.name);
        state.by_id.remove(&user.id);
        state.sessions.retain(|_, session| session.user != user.id);
        let State { sessions, selectors, replaced, .. } = &mut *state;
        selectors.retain(|_, id| sessions.contains_key(id));
        replaced.retain(|id, _| sessions.contains_key(id));
        Ok(())
    }

    fn must_not_be_last_admin(&self, user: &User) -> Result<(), AccessError> {
        let is_admin = |user: &User| user.active && user.role == Role::Admin;
        let state = self.state.read();
        let has_other = state.users.values().any(|other| other.id != user.id && is_admin(other));
        if is_admin(user) && !has_other { Err(AccessError::LastAdmin) } else { Ok(()) }
    }

    /// To be called in order.
    async fn write(&self, before: &User, edit: UserEdit) -> Result<Arc<User>, AccessError> {
        let version = self.store.update_user(before.id, before.version, &edit).await?;
        let row = UserRow {
            id: before.id,
            name: before.name.to_string(),
            email: edit.email,
            role: edit.role,
            active: edit.active,
            password_hash: edit.password_hash,
            mqtt_allow: edit.mqtt_allow,
            created_at: before.created_at,
            updated_at: edit.updated_at,
            version,
        };
        let user = Arc::new(user(row).map_err(|_| AccessError::Unreadable)?);
        self.state.write().put_shared(user.clone());
        Ok(user)
    }
}

impl State {
    fn put(&mut self, user: User) {
        self.put_shared(Arc::new(user));
    }

    pub(super) fn put_session(&mut self, session: SessionRow) {
        self.selectors.insert(session.selector_hash, session.id);
        self.sessions.insert(session.id, session);
    }

    fn put_shared(&mut self, user: Arc<User>) {
        self.by_id.insert(user.id, user.clone());
        self.users.insert(user.name.clone(), user);
    }
}

/// As it is, to be changed in parts.
fn edit(user: &User) -> UserEdit {
    UserEdit {
        email: user.email.clone(),
        role: user.role.as_str().to_owned(),
        active: user.active,
        password_hash: user.password_hash.clone(),
        mqtt_allow: user.mqtt_allow.clone(),
        updated_at: user.updated_at,
    }
}

/// `Err`: the name of a user whose row some other program has written.
fn user(row: UserRow) -> Result<User, String> {
    let (Some(role), Some(known)) = (Role::parse(&row.role), Known::new(&row.password_hash)) else {
        return Err(row.name);
    };
    let rights = Arc::new(Rights::of_texts(&row.mqtt_allow));
    Ok(User {
        id: row.id,
        name: row.name.into(),
        email: row.email,
        role,
        active: row.active,
        mqtt_allow: row.mqtt_allow,
        created_at: row.created_at,
        updated_at: row.updated_at,
        version: row.version,
        known: Arc::new(known),
        password_hash: row.password_hash,
        rights,
    })
}

/// Nobody makes, changes or removes somebody who may do more than oneself.
fn may_make(by: &Principal, role: Role, grants_topics: bool) -> Result<(), AccessError> {
    let may = by.scopes.covers(role.scopes()) && (!grants_topics || by.may(Scope::MqttWrite));
    if may { Ok(()) } else { Err(AccessError::Beyond) }
}

fn check_password(password: &str, name: &str) -> Result<(), AccessError> {
    match password_mistake(password, name) {
        Some(reason) => Err(AccessError::Invalid { field: "password", reason }),
        None => Ok(()),
    }
}

fn checked_email(email: String) -> Result<String, AccessError> {
    let is_legal = email.len() <= 254
        && !email.chars().any(|c| c.is_control() || c.is_whitespace())
        && email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if is_legal {
        return Ok(email);
    }
    Err(AccessError::Invalid { field: "email", reason: "it is no e-mail address" })
}

pub(super) fn texts(permissions: Vec<Permission>) -> Vec<String> {
    permissions.into_iter().map(String::from).collect()
}
