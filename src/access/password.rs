//! Passwords: argon2id with OWASP's parameters (19 MiB, two passes, one lane).
//!
//! A check takes tens of milliseconds of a core by intent, so it runs on a blocking thread, a few at a
//! time. A name that nobody has takes as long as one that is known. A password that was right once is
//! recognised by a digest from then on: a fleet that reconnects is not held up by its own hashes.

use std::{collections::HashMap, sync::Arc, thread, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash,
};
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::{sync::Semaphore, time::timeout};

use crate::config;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
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

struct Known {
    hash: PasswordHash,
    /// Digest of the password once it was right.
    proven: Mutex<Option<[u8; 32]>>,
}

pub(super) struct Passwords {
    users: HashMap<Arc<str>, Arc<Known>, RandomState>,
    /// What a password is compared with for a name that nobody has.
    decoy: Option<Arc<Known>>,
    turns: Arc<Semaphore>,
}

impl Passwords {
    /// Takes users whose hashes are not in PHC form for unknown; the configuration has been checked.
    pub(super) fn new(users: &[config::User]) -> Self {
        let known = |user: &config::User| {
            let hash = PasswordHash::new(&user.password).ok()?;
            let known = Known { hash, proven: Mutex::new(None) };
            Some((Arc::from(user.name.as_str()), Arc::new(known)))
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            users: users.iter().filter_map(known).collect(),
            decoy: users.iter().find_map(known).map(|(_, known)| known),
            turns: Arc::new(Semaphore::new(cores.min(CHECKS_MAX))),
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
        let is_possible = known.is_some() && password.is_some();
        let Some(compared) = known.or(self.decoy.as_ref()).cloned() else {
            return Checked::Wrong;
        };
        let password = password.unwrap_or_default().to_vec();
        let digest = digest(&compared.hash, &password);
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
            let is_right = Argon2::default().verify_password(&password, &compared.hash).is_ok();
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
}

fn digest(hash: &PasswordHash, password: &[u8]) -> [u8; 32] {
    let salt = hash.salt.as_ref().map(|salt| salt.as_ref()).unwrap_or_default();
    Sha256::new().chain_update(salt).chain_update(password).finalize().into()
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

    #[test]
    fn hashes_have_the_parameters_and_a_salt_of_their_own() {
        let (one, two) = (hash_password(b"x").unwrap(), hash_password(b"x").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
    }

    #[tokio::test]
    async fn passwords_are_told_apart() {
        let passwords = Passwords::new(&[user("ann", b"right"), user("bob", b"b")]);
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
        assert_eq!(Passwords::new(&[]).check("ann", Some(b""), || true).await, Checked::Wrong);
    }

    #[tokio::test]
    async fn a_check_that_may_not_go_on_is_not_made() {
        let passwords = Passwords::new(&[user("ann", b"right")]);
        assert_eq!(passwords.check("ann", Some(b"right"), || false).await, Checked::Busy);
        assert_eq!(passwords.check("ann", Some(b"right"), || true).await, Checked::Right);
        // A password that has been proven needs no turn.
        assert_eq!(passwords.check("ann", Some(b"right"), || false).await, Checked::Right);
    }
}
