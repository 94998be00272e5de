//! Passwords: argon2id with OWASP's parameters (19 MiB, two passes, one lane).
//!
//! A check takes tens of milliseconds of a core by intent, so it runs on a blocking thread, a few at a
//! time. A name that nobody has takes as long as one that is known. A password that was right once is
//! recognised by a digest from then on: a fleet that reconnects is not held up by its own hashes.

use std::{collections::HashMap, sync::Arc, thread, time::Duration};

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier,
    Version, password_hash,
};
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::{sync::Semaphore, time::timeout};

use super::AccessError;
use crate::config;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// A check of this cost takes a second or so; each further one doubles it.
const BCRYPT_COST_MAX: u32 = 14;
/// Checks at a time, at most; each takes `MEMORY_KIB`.
const CHECKS_MAX: usize = 4;
/// How long a check may wait for its turn.
const WAIT: Duration = Duration::from_secs(10);

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    Right,
    Wrong,
    /// Too many wait already.
    Busy,
}

enum Hash {
    Argon2(Box<PasswordHash>),
    /// Of a user that has moved here; replaced when it has been right once.
    Bcrypt,
}

/// Somebody's password, as a hash.
pub(super) struct Known {
    text: String,
    hash: Hash,
    /// Digest of the password once it was right.
    proven: Mutex<Option<[u8; 32]>>,
}

impl Known {
    /// `None`: neither argon2 in PHC form nor bcrypt.
    pub(super) fn new(text: &str) -> Option<Self> {
        let hash = if is_bcrypt(text) {
            Hash::Bcrypt
        } else {
            Hash::Argon2(Box::new(PasswordHash::new(text).ok()?))
        };
        Some(Self { text: text.to_owned(), hash, proven: Mutex::new(None) })
    }

    /// What everybody else's password is compared with: as slow as any, and nobody's.
    pub(super) fn decoy() -> Option<Self> {
        let (salt, hash) = ("A".repeat(22), "A".repeat(43));
        Self::new(&format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}"))
    }

    /// Whether it is to be replaced by an argon2id hash.
    pub(super) fn is_outdated(&self) -> bool {
        matches!(self.hash, Hash::Bcrypt)
    }

    fn verify(&self, password: &[u8]) -> bool {
        match &self.hash {
            Hash::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Hash::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
        }
    }

    fn digest(&self, password: &[u8]) -> [u8; 32] {
        // The hash holds the salt.
        Sha256::new().chain_update(&self.text).chain_update(password).finalize().into()
    }
}

/// Whether a text is a bcrypt hash that can be checked in reasonable time.
fn is_bcrypt(text: &str) -> bool {
    let parts: Option<bcrypt::HashParts> = text.parse().ok();
    let is_known = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|start| text.starts_with(start));
    is_known && parts.is_some_and(|parts| parts.get_cost() <= BCRYPT_COST_MAX)
}

/// Whether a text is a hash that passwords can be checked against here: argon2id or bcrypt.
pub(super) fn is_password_hash(text: &str) -> bool {
    let is_argon2id = PasswordHash::new(text).is_ok_and(|hash| {
        let parameters = Params::try_from(&hash);
        let is_modest = |p: &Params| p.m_cost() <= 1 << 18 && p.t_cost() <= 16 && p.p_cost() <= 16;
        hash.algorithm == ARGON2ID_IDENT
            && hash.salt.is_some()
            && hash.hash.is_some()
            && parameters.as_ref().is_ok_and(is_modest)
    });
    is_argon2id || is_bcrypt(text)
}

/// Makes checks, a few at a time.
#[derive(Clone)]
pub(super) struct Checker {
    turns: Arc<Semaphore>,
}

impl Checker {
    pub(super) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(cores.min(CHECKS_MAX))) }
    }

    /// Whether `password` is the known one; where none is known, as slow with the decoy.
    /// `may_go_on` is asked when the turn has come.
    pub(super) async fn check(
        &self,
        known: Option<&Arc<Known>>,
        decoy: Option<&Arc<Known>>,
        password: Option<&[u8]>,
        may_go_on: impl Fn() -> bool,
    ) -> Checked {
        let is_possible = known.is_some() && password.is_some();
        let Some(compared) = known.or(decoy).cloned() else {
            return Checked::Wrong;
        };
        let password = password.unwrap_or_default().to_vec();
        let digest = compared.digest(&password);
        let proven = *compared.proven.lock();
        if is_possible && proven.is_some_and(|proven| proven.ct_eq(&digest).into()) {
            return Checked::Right;
        }
        let turn = timeout(WAIT, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Checked::Busy;
        };
        if !may_go_on() {
            return Checked::Busy;
        }
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let is_right = compared.verify(&password);
            if is_right && is_possible {
                *compared.proven.lock() = Some(digest);
            }
            is_right
        });
        match work.await {
            Ok(true) if is_possible => Checked::Right,
            Ok(_) => Checked::Wrong,
            Err(_) => Checked::Busy,
        }
    }

    /// The hash of a password, made when its turn has come.
    ///
    /// # Errors
    /// When too many wait, or the system has no random bytes.
    pub(super) async fn hash(&self, password: &str) -> Result<String, AccessError> {
        let turn = timeout(WAIT, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(AccessError::Busy);
        };
        let password = password.as_bytes().to_vec();
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            hash_password(&password)
        });
        work.await.map_err(|_| AccessError::Busy)?.map_err(|_| AccessError::NoRandom)
    }
}

/// The passwords of the configuration's users.
pub(super) struct Passwords {
    users: HashMap<Arc<str>, Arc<Known>, RandomState>,
    /// What a password is compared with for a name that nobody has.
    decoy: Option<Arc<Known>>,
    checker: Checker,
}

impl Passwords {
    /// Takes users whose hashes are not in PHC form for unknown; the configuration has been checked.
    pub(super) fn new(users: &[config::User], checker: Checker) -> Self {
        let known = |user: &config::User| {
            let known = Known::new(&user.password)?;
            Some((Arc::from(user.name.as_str()), Arc::new(known)))
        };
        let decoy = users.iter().find_map(known).map(|(_, known)| known);
        Self {
            users: users.iter().filter_map(known).collect(),
            decoy: decoy.or_else(|| Known::decoy().map(Arc::new)),
            checker,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The name as the configuration has it.
    pub(super) fn name(&self, name: &str) -> Option<Arc<str>> {
        self.users.get_key_value(name).map(|(name, _)| name.clone())
    }

    /// Whether `password` is the user's. `may_go_on` is asked when the turn has come.
    pub(super) async fn check(
        &self,
        name: &str,
        password: Option<&[u8]>,
        may_go_on: impl Fn() -> bool,
    ) -> Checked {
        let known = self.users.get(name);
        self.checker.check(known, self.decoy.as_ref(), password, may_go_on).await
    }
}

/// The hash of a password in PHC form, as `access.users` wants it.
///
/// # Errors
/// When the system has no random bytes.
pub fn hash_password(password: &[u8]) -> Result<String, password_hash::Error> {
    let parameters = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|_| password_hash::Error::ParamsInvalid)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    Ok(argon2.hash_password(password)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &[u8]) -> config::User {
        let password = hash_password(password).unwrap();
        config::User { name: name.to_owned(), password, allow: vec![], deny: vec![] }
    }

    fn passwords(users: &[config::User]) -> Passwords {
        Passwords::new(users, Checker::new())
    }

    #[test]
    fn hashes_have_the_parameters_and_a_salt_of_their_own() {
        let (one, two) = (hash_password(b"x").unwrap(), hash_password(b"x").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
    }

    #[tokio::test]
    async fn passwords_are_told_apart() {
        let passwords = passwords(&[user("ann", b"right"), user("bob", b"b")]);
        let check =
            |name, password: Option<&'static [u8]>| passwords.check(name, password, || true);
        for _ in 0..2 {
            assert_eq!(check("ann", Some(b"right")).await, Checked::Right);
            assert_eq!(check("ann", Some(b"wrong")).await, Checked::Wrong);
            assert_eq!(check("bob", Some(b"right")).await, Checked::Wrong);
            // The decoy is the first user's: its password is nobody else's.
            assert_eq!(check("eve", Some(b"right")).await, Checked::Wrong);
            assert_eq!(check("ann", None).await, Checked::Wrong);
        }
        let nobody = Passwords::new(&[], Checker::new());
        assert_eq!(nobody.check("ann", Some(b""), || true).await, Checked::Wrong);
    }

    #[tokio::test]
    async fn a_check_that_may_not_go_on_is_not_made() {
        let passwords = passwords(&[user("ann", b"right")]);
        assert_eq!(passwords.check("ann", Some(b"right"), || false).await, Checked::Busy);
        assert_eq!(passwords.check("ann", Some(b"right"), || true).await, Checked::Right);
        // A password that has been proven needs no turn.
        assert_eq!(passwords.check("ann", Some(b"right"), || false).await, Checked::Right);
    }

    #[tokio::test]
    async fn bcrypt_is_understood_and_outdated() {
        let text = bcrypt::hash("moved-here", 4).unwrap();
        let known = Arc::new(Known::new(&text).unwrap());
        assert!(known.is_outdated() && is_password_hash(&text));
        let decoy = Arc::new(Known::decoy().unwrap());
        assert!(!decoy.is_outdated());
        let checker = Checker::new();
        let check = async |password: &'static [u8]| {
            checker.check(Some(&known), Some(&decoy), Some(password), || true).await
        };
        assert_eq!(check(b"moved-here").await, Checked::Right);
        assert_eq!(check(b"moved").await, Checked::Wrong);
        let unknown = checker.check(None, Some(&decoy), Some(b""), || true).await;
        assert_eq!(unknown, Checked::Wrong);
        for wrong in ["", "plain", "$2b$31$abc", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA"] {
            assert!(!is_password_hash(wrong), "{wrong}");
        }
        let costly = text.replacen("$04$", "$31$", 1);
        assert!(!is_password_hash(&costly));
        assert!(is_password_hash(&checker.hash("x").await.unwrap()));
    }
}
