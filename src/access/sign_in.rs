//! Signing in: passwords, sessions, and the tokens that stand for them.
//!
//! A session is a family of refresh tokens, of which the last one is valid. A token is a selector,
//! which all of the family begin with, and a secret; both are kept as digests. Whoever presents the
//! right selector with another secret has a token that was used before: one of two holders is a
//! thief, and the session ends; but for a few seconds after its use, from where it was used, as long as
//! the next one was not: a browser that is closed or reloaded loses the answer. An access token names its
//! session and ends with it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use metrics::counter;
use subtle::ConstantTimeEq;

use super::{
    AccessError, Actor, People, Principal,
    keyring::{Claims, TOKEN_SECONDS},
    password::Checked,
    people::{Replaced, User},
    secret,
    throttle::Pair,
};
use crate::{
    metrics::names,
    store::{Digest, NewSession, SessionRow, SessionUse, StoreError},
    telemetry::Timestamp,
};

const MICROS: i64 = 1_000_000;
/// A session that is not refreshed ends after 30 days.
const SESSION_SECONDS: i64 = 30 * 86_400;
/// Sessions of one user; the one that was used longest ago makes room.
const SESSIONS_MAX: usize = 50;
/// A right password is proven once more where its hash was changed meanwhile: another sign-in of a
/// moved user may have put it into our form.
const PROOFS_MAX: usize = 2;
/// For how long a refresh token is taken once more, when the answer to its use may be lost.
const ANSWER_LOST: Duration = Duration::from_secs(10);
const SELECTOR_LENGTH: usize = 32;
const USER_AGENT_MAX: usize = 200;

/// From where somebody speaks.
#[derive(Debug, Clone)]
pub struct Origin {
    pub address: IpAddr,
    pub user_agent: Option<String>,
}

/// What a sign-in or a refresh gives.
pub struct Tokens {
    pub user: Arc<User>,
    pub access: String,
    pub refresh: String,
    pub expires_in: i64,
}

/// Checks of one password, each against what the one before has found changed.
const CHECKS_MAX: usize = 2;

impl People {
    /// Whether a password is a user's who may sign in; one that is kept in another's form is put
    /// into ours. As slow for a name that nobody has.
    pub(super) async fn check(
        &self,
        name: &str,
        password: &str,
        may_go_on: impl Fn() -> bool,
    ) -> (Checked, Option<Arc<User>>) {
        let (checked, user) = self.check_present(name, password, may_go_on).await;
        let Some(mut user) = user else { return (checked, None) };
        if user.known.is_outdated() {
            match self.renew_hash(&user, password).await {
                Ok(renewed) => user = renewed.unwrap_or(user),
                Err(error) => {
                    tracing::warn!(%error, user = name, "a moved user's password keeps its old form");
                }
            }
        }
        (checked, Some(user))
    }

    /// Hashing takes its time: what is right by then is asked of the user as it is by then, whose
    /// password may be another, or the same in another form.
    async fn check_present(
        &self,
        name: &str,
        password: &str,
        may_go_on: impl Fn() -> bool,
    ) -> (Checked, Option<Arc<User>>) {
        for _ in 0..CHECKS_MAX {
            let user = self.get(name);
            let known = user.as_ref().map(|user| &user.known);
            let bytes = Some(password.as_bytes());
            let checked = self.checker.check(known, self.decoy.as_ref(), bytes, &may_go_on).await;
            let Some(user) = user.filter(|_| checked == Checked::Right) else {
                return (checked, None);
            };
            if let Some(present) = self.get(name).filter(|present| present.is_proven_by(&user)) {
                return (checked, Some(present));
            }
        }
        (Checked::Wrong, None)
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`AccessError::Wrong`], [`AccessError::Throttled`] after too many of these.
    pub async fn sign_in(
        &self,
        name: &str,
        password: &str,
        origin: &Origin,
    ) -> Result<Tokens, AccessError> {
        for _ in 0..PROOFS_MAX {
            let proven = self.prove(name, password, origin.address).await?;
            if let Some(tokens) = self.begin(&proven, origin).await? {
                return Ok(tokens);
            }
        }
        Err(AccessError::Wrong)
    }

    /// Begins a session of whoever has proven to be that user; `None` where the user has been changed
    /// while the password was checked, so that no sign-in outlives the change that is to end it.
    pub(super) async fn begin(
        &self,
        proven: &User,
        origin: &Origin,
    ) -> Result<Option<Tokens>, AccessError> {
        let selector = secret::random_text(SELECTOR_LENGTH)?;
        let refresh = format!("{}{selector}{}", secret::REFRESH, secret::generate("")?);
        let first_use = self.use_from(origin);
        let order = self.changes.lock().await;
        let Some(user) = self.unchanged(proven) else { return Ok(None) };
        let new = NewSession {
            user: user.id,
            selector_hash: secret::digest(&selector),
            token_hash: secret::digest(&refresh),
            first_use: first_use.clone(),
        };
        let id = self.store.create_user_session(&new).await?;
        let row = SessionRow {
            id,
            user: user.id,
            selector_hash: new.selector_hash,
            token_hash: new.token_hash,
            created_at: first_use.used_at,
            last_use: first_use,
        };
        self.state.write().put_session(row);
        drop(order);
        self.make_room(user.id).await?;
        let access = self.access_token(&user, id)?;
        Ok(Some(Tokens { user, access, refresh, expires_in: TOKEN_SECONDS }))
    }

    /// Checks a password, slowing those that guess.
    async fn prove(
        &self,
        name: &str,
        password: &str,
        address: IpAddr,
    ) -> Result<Arc<User>, AccessError> {
        let pairs = [Pair::new(address, name), Pair::new(address, "")];
        let is_banned = || {
            let now = self.clock.monotonic();
            let failures = self.failures.lock();
            failures.iter().zip(&pairs).any(|(failures, pair)| failures.is_banned(pair, now))
        };
        let throttled = || {
            counter!(names::ACCESS_THROTTLED, "reason" => "failures").increment(1);
            Err(AccessError::Throttled)
        };
        if is_banned() {
            return throttled();
        }
        match self.check(name, password, || !is_banned()).await {
            (Checked::Right, Some(user)) => {
                let mut failures = self.failures.lock();
                let ([failures, _], [pair, _]) = (&mut *failures, &pairs);
                failures.forgive(pair);
                Ok(user)
            }
            (Checked::Busy, _) if is_banned() => throttled(),
            (Checked::Busy, _) => Err(AccessError::Busy),
            (Checked::Right | Checked::Wrong, _) => {
                counter!(names::ACCESS_FAILURES).increment(1);
                let now = self.clock.monotonic();
                let mut failures = self.failures.lock();
                for (failures, pair) in failures.iter_mut().zip(&pairs) {
                    if failures.note(pair, now) {
                        counter!(names::ACCESS_BANS).increment(1);
                        tracing::warn!(%address, user = ?name, "refused for a while: too many wrong passwords");
                    }
                }
                Err(AccessError::Wrong)
            }
        }
    }

    fn use_from(&self, origin: &Origin) -> SessionUse {
        let now = self.now();
        let user_agent = origin.user_agent.as_ref().map(|text| {
            let end = text.floor_char_boundary(USER_AGENT_MAX);
            text.get(..end).unwrap_or_default().to_owned()
        });
        SessionUse {
            used_at: now,
            expires_at: now.plus_micros(SESSION_SECONDS * MICROS),
            user_agent,
            address: Some(origin.address.to_canonical().to_string()),
        }
    }

    fn access_token(&self, user: &User, session: i64) -> Result<String, AccessError> {
        let iat = self.now().as_micros().div_euclid(MICROS);
        let sub = user.id.to_string();
        self.keyring.sign(&Claims { sub, sid: session, iat, exp: iat + TOKEN_SECONDS })
    }

    /// Whose access token this is, while its session lives.
    pub(super) fn by_access_token(&self, token: &str) -> Option<Principal> {
        let claims = self.keyring.read(token, self.now())?;
        self.of_session(claims.sub.parse().ok()?, claims.sid)
    }

    /// The user whose session that is, while it lives.
    pub(super) fn of_session(&self, user: i64, session: i64) -> Option<Principal> {
        let state = self.state.read();
        let session = state.sessions.get(&session).filter(|session| session.user == user)?;
        let user = state.by_id.get(&session.user).filter(|user| user.active)?;
        Some(Principal {
            actor: Actor::User { id: user.id, name: user.name.to_string(), session: session.id },
            scopes: user.role.scopes(),
            device: None,
        })
    }

    /// Gives the next tokens for a refresh token, which is good for this once, and again while the answer
    /// may be lost.
    ///
    /// # Errors
    /// [`AccessError::Expired`] for one that is not known (any more), [`AccessError::Reused`] for one
    /// that was used before: its session has ended.
    pub async fn refresh(&self, token: &str, origin: &Origin) -> Result<Tokens, AccessError> {
        let text = token.strip_prefix(secret::REFRESH).ok_or(AccessError::Expired)?;
        let selector = text.get(..SELECTOR_LENGTH).ok_or(AccessError::Expired)?;
        let _order = self.changes.lock().await;
        let (session, user) = self.family(&secret::digest(selector))?;
        let presented = secret::digest(token);
        let is_last = bool::from(session.token_hash.ct_eq(&presented));
        if !is_last && !self.was_answer_lost(&session, &presented, origin) {
            return self.end_family(&session, &user, origin).await;
        }
        let refresh = format!("{}{selector}{}", secret::REFRESH, secret::generate("")?);
        let (token_hash, last_use) = (secret::digest(&refresh), self.use_from(origin));
        let hashes = (&session.token_hash, &token_hash);
        match self.store.rotate_user_session(session.id, hashes, &last_use).await {
            Err(StoreError::Outdated) => return self.end_family(&session, &user, origin).await,
            other => other?,
        }
        let mut state = self.state.write();
        if let Some(kept) = state.sessions.get_mut(&session.id) {
            kept.token_hash = token_hash;
            kept.last_use = last_use;
            let until = self.clock.monotonic() + ANSWER_LOST;
            let address = origin.address;
            state.replaced.insert(session.id, Replaced { token_hash: presented, address, until });
        }
        drop(state);
        let access = self.access_token(&user, session.id)?;
        Ok(Tokens { user, access, refresh, expires_in: TOKEN_SECONDS })
    }

    /// Whether a token is the one that was used last, moments ago from the same address.
    fn was_answer_lost(&self, session: &SessionRow, presented: &Digest, origin: &Origin) -> bool {
        let state = self.state.read();
        state.replaced.get(&session.id).is_some_and(|replaced| {
            bool::from(replaced.token_hash.ct_eq(presented))
                && replaced.address == origin.address
                && self.clock.monotonic() < replaced.until
        })
    }

    fn family(&self, selector: &Digest) -> Result<(SessionRow, Arc<User>), AccessError> {
        let now = self.now();
        let state = self.state.read();
        let session = state.selectors.get(selector).and_then(|id| state.sessions.get(id));
        let session = session.filter(|session| session.last_use.expires_at > now);
        let session = session.ok_or(AccessError::Expired)?;
        let user = state.by_id.get(&session.user).filter(|user| user.active);
        Ok((session.clone(), user.ok_or(AccessError::Expired)?.clone()))
    }

    async fn end_family(
        &self,
        session: &SessionRow,
        user: &User,
        origin: &Origin,
    ) -> Result<Tokens, AccessError> {
        self.end_in_order(&[session.id]).await?;
        let (name, address) = (&*user.name, origin.address);
        tracing::warn!(user = name, %address, "a refresh token was used twice: its session is ended");
        Err(AccessError::Reused(user.name.clone()))
    }

    /// To be called in order.
    async fn end_in_order(&self, ids: &[i64]) -> Result<(), AccessError> {
        self.store.end_user_sessions(ids).await?;
        let mut state = self.state.write();
        for id in ids {
            if let Some(session) = state.sessions.remove(id) {
                state.selectors.remove(&session.selector_hash);
            }
            state.replaced.remove(id);
        }
        Ok(())
    }

    /// A user's sessions, the one used last first.
    pub fn sessions_of(&self, user: i64) -> Vec<SessionRow> {
        let state = self.state.read();
        let of_user = state.sessions.values().filter(|session| session.user == user);
        let mut sessions: Vec<_> = of_user.cloned().collect();
        sessions.sort_unstable_by_key(|session| std::cmp::Reverse(session.last_use.used_at));
        sessions
    }

    /// Ends one of a user's sessions.
    ///
    /// # Errors
    /// When it has none of that number.
    pub async fn end_session(&self, user: i64, id: i64) -> Result<(), AccessError> {
        let _order = self.changes.lock().await;
        let is_theirs = self.state.read().sessions.get(&id).is_some_and(|s| s.user == user);
        if !is_theirs {
            return Err(AccessError::NotFound("session"));
        }
        self.end_in_order(&[id]).await
    }

    /// Ends all of a user's sessions, but one where it is given.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end_all_sessions(&self, user: i64, but: Option<i64>) -> Result<(), AccessError> {
        self.end_where(|session| session.user == user && Some(session.id) != but).await
    }

    async fn make_room(&self, user: i64) -> Result<(), AccessError> {
        let surplus: Vec<i64> =
            self.sessions_of(user).iter().skip(SESSIONS_MAX).map(|session| session.id).collect();
        self.end_where(|session| surplus.contains(&session.id)).await
    }

    pub(super) async fn end_expired(&self, now: Timestamp) -> Result<(), AccessError> {
        self.end_where(|session| session.last_use.expires_at <= now).await
    }

    async fn end_where(&self, ends: impl Fn(&SessionRow) -> bool) -> Result<(), AccessError> {
        let _order = self.changes.lock().await;
        let ids: Vec<i64> = {
            let state = self.state.read();
            state.sessions.values().filter(|s| ends(s)).map(|s| s.id).collect()
        };
        if ids.is_empty() { Ok(()) } else { self.end_in_order(&ids).await }
    }

    /// A user's own password, who knows the one before; its other sessions end.
    ///
    /// # Errors
    /// [`AccessError::Wrong`] when the one before is another; when the next one is not allowed.
    pub async fn change_password(
        &self,
        name: &str,
        (current, next): (&str, &str),
        session: i64,
        origin: &Origin,
    ) -> Result<(), AccessError> {
        let proven = self.prove(name, current, origin.address).await?;
        self.put_password(name, next, Some((&proven, session))).await
    }
}
