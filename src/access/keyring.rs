//! The server's own keys: one for the secrets of devices, and those that sign access tokens.
//!
//! Made once and kept in the data directory, in a file that only the owner may read. A token's header
//! names its key (`kid`), so that a key can be replaced while tokens of the one before are still in
//! use.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::RwLock;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::{
    AccessError,
    secret::{random_bytes, random_text},
};
use crate::{
    store::{BackupPart, Digest},
    telemetry::{DeviceId, Timestamp},
};

/// In the data directory. Whoever restores the store elsewhere needs it too: without it no device's
/// secret and no token is recognised.
pub const KEYS_FILE: &str = "access-keys.json";
/// How long an access token is good.
pub const TOKEN_SECONDS: i64 = 30 * 60;
const MICROS: i64 = 1_000_000;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The user's number.
    pub(super) sub: String,
    /// The session that it belongs to, and ends with.
    pub(super) sid: i64,
    /// Seconds since 1970.
    pub(super) iat: i64,
    pub(super) exp: i64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    device_secrets: String,
    /// The first one signs.
    tokens: Vec<StoredKey>,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredKey {
    kid: String,
    secret: String,
    /// When another took its place, in seconds since 1970; its tokens are good until they expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced_at: Option<i64>,
}

struct TokenKey {
    stored: StoredKey,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

pub(super) struct Keyring {
    path: PathBuf,
    device_secrets: String,
    mac: hmac::Key,
    /// The first one signs. Bound: those that were replaced within the life of a token.
    tokens: RwLock<Vec<TokenKey>>,
}

impl Keyring {
    /// Reads the keys of a folder, or makes them.
    ///
    /// # Errors
    /// When the file can't be read, written or understood.
    pub(super) fn open(folder: &Path) -> Result<Self, AccessError> {
        let path = folder.join(KEYS_FILE);
        let stored = match fs::read(&path) {
            Ok(text) => {
                protect(&path)?;
                serde_json::from_slice(&text).map_err(|error| failed(&path, &error))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let stored = Stored {
                    device_secrets: STANDARD.encode(random_bytes::<32>()?),
                    tokens: vec![new_token_key()?],
                };
                write(&path, &stored)?;
                stored
            }
            Err(error) => return Err(failed(&path, &error)),
        };
        let secret = STANDARD.decode(&stored.device_secrets);
        let secret = secret.map_err(|error| failed(&path, &error))?;
        let tokens: Option<Vec<_>> = stored.tokens.into_iter().map(token_key).collect();
        let tokens = tokens.filter(|tokens| !tokens.is_empty());
        let tokens = tokens.ok_or_else(|| failed(&path, &"it holds no key for tokens"))?;
        Ok(Self {
            path,
            device_secrets: stored.device_secrets,
            mac: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            tokens: RwLock::new(tokens),
        })
    }

    /// What is kept of a device's secret.
    pub(super) fn mac(&self, device: DeviceId, secret: &str) -> Digest {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(&device.0.to_be_bytes());
        context.update(secret.as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// # Errors
    /// When the token can't be signed.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, AccessError> {
        let tokens = self.tokens.read();
        let key = tokens.first().ok_or(AccessError::Token)?;
        let header = Header { kid: Some(key.stored.kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &key.encoding).map_err(|_| AccessError::Token)
    }

    /// What a token says that we have signed and that has not expired.
    pub(super) fn read(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
        let tokens = self.tokens.read();
        let key = tokens.iter().find(|key| key.stored.kid == kid)?;
        let mut validation = Validation::new(Algorithm::HS256);
        // Judged below, by our clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation).ok()?.claims;
        let seconds = now.as_micros().div_euclid(MICROS);
        let is_late = key.stored.replaced_at.is_some_and(|at| claims.iat > at);
        (seconds < claims.exp && !is_late).then_some(claims)
    }

    /// Makes another key that signs from here on. Tokens of the one before are good until they
    /// expire.
    ///
    /// # Errors
    /// When the file can't be written; nothing has changed then.
    pub(super) fn rotate(&self, now: Timestamp) -> Result<(), AccessError> {
        let seconds = now.as_micros().div_euclid(MICROS);
        let mut tokens = self.tokens.write();
        let mut stored = vec![new_token_key()?];
        for key in tokens.iter().map(|key| &key.stored) {
            let replaced_at = key.replaced_at.unwrap_or(seconds);
            if seconds - replaced_at < TOKEN_SECONDS {
                stored.push(StoredKey { replaced_at: Some(replaced_at), ..key.clone() });
            }
        }
        let next: Option<Vec<_>> = stored.iter().cloned().map(token_key).collect();
        let next = next.ok_or(AccessError::Token)?;
        let file = Stored { device_secrets: self.device_secrets.clone(), tokens: stored };
        write(&self.path, &file)?;
        *tokens = next;
        Ok(())
    }
}

fn new_token_key() -> Result<StoredKey, AccessError> {
    let secret = STANDARD.encode(random_bytes::<32>()?);
    Ok(StoredKey { kid: random_text(8)?, secret, replaced_at: None })
}

fn token_key(stored: StoredKey) -> Option<TokenKey> {
    let secret = STANDARD.decode(&stored.secret).ok().filter(|secret| secret.len() >= 32)?;
    Some(TokenKey {
        stored,
        encoding: EncodingKey::from_secret(&secret),
        decoding: DecodingKey::from_secret(&secret),
    })
}

fn write(path: &Path, stored: &Stored) -> Result<(), AccessError> {
    let text = serde_json::to_string_pretty(stored).map_err(|error| failed(path, &error))?;
    write_private(path, &(text + "\n"))
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// When the folder can't be written.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), AccessError> {
    let failed = |error: std::io::Error| failed(path, &error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let beside = path.with_extension("part");
    // One that was left behind may have other rights.
    let _ = fs::remove_file(&beside);
    let mut file =
        File::options().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

/// What of a data directory a backup has to have beside the store; nothing where nobody has started yet.
///
/// # Errors
/// When the file can't be read.
pub fn parts_of_a_backup(folder: &Path) -> Result<Vec<BackupPart>, AccessError> {
    let path = folder.join(KEYS_FILE);
    match fs::read(&path) {
        Ok(contents) => Ok(vec![BackupPart { name: KEYS_FILE, contents }]),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(&path, &error)),
    }
}

/// Takes away what others could do with a file.
fn protect(path: &Path) -> Result<(), AccessError> {
    let rights = fs::metadata(path).map_err(|error| failed(path, &error))?.permissions();
    if rights.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read the server's keys; they can't any more");
        let only_owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(path, only_owner).map_err(|error| failed(path, &error))?;
    }
    Ok(())
}

fn failed(path: &Path, reason: &dyn std::fmt::Display) -> AccessError {
    AccessError::File { path: path.display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * MICROS)
    }

    fn claims(iat: i64) -> Claims {
        Claims { sub: "1".to_owned(), sid: 2, iat, exp: iat + TOKEN_SECONDS }
    }

    #[test]
    fn tokens_are_good_for_their_time_and_by_their_key() {
        let folder = TempDir::new().unwrap();
        let keyring = Keyring::open(folder.path()).unwrap();
        let token = keyring.sign(&claims(100)).unwrap();
        assert_eq!(keyring.read(&token, at(101)), Some(claims(100)));
        assert_eq!(keyring.read(&token, at(100 + TOKEN_SECONDS)), None);
        let other = Keyring::open(TempDir::new().unwrap().path()).unwrap();
        assert_eq!(other.read(&token, at(101)), None);
        let (head, rest) = token.split_once('.').unwrap();
        let (body, signature) = rest.split_once('.').unwrap();
        let forged = serde_json::to_string(&claims(200)).unwrap();
        let forged = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(forged);
        for wrong in [
            format!("{head}.{forged}.{signature}"),
            format!("{head}.{body}."),
            format!("{head}.{body}"),
            "x.y.z".to_owned(),
            String::new(),
        ] {
            assert_eq!(keyring.read(&wrong, at(101)), None, "{wrong}");
        }
        let none = Header::new(Algorithm::HS256);
        let unsigned = serde_json::to_string(&none).unwrap().replace("HS256", "none");
        let unsigned = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(unsigned);
        assert_eq!(keyring.read(&format!("{unsigned}.{body}."), at(101)), None);
    }

    #[test]
    fn keys_outlive_the_process_and_overlap() {
        let folder = TempDir::new().unwrap();
        let keyring = Keyring::open(folder.path()).unwrap();
        let old = keyring.sign(&claims(100)).unwrap();
        let mac = keyring.mac(DeviceId(1), "secret");
        keyring.rotate(at(200)).unwrap();
        let new = keyring.sign(&claims(200)).unwrap();
        let keyring = Keyring::open(folder.path()).unwrap();
        assert_eq!(keyring.read(&old, at(300)), Some(claims(100)));
        assert_eq!(keyring.read(&new, at(300)), Some(claims(200)));
        assert_eq!(keyring.mac(DeviceId(1), "secret"), mac);
        assert_ne!(keyring.mac(DeviceId(2), "secret"), mac);
        keyring.rotate(at(200 + TOKEN_SECONDS)).unwrap();
        assert_eq!(keyring.tokens.read().len(), 2, "the first one is gone");
        let rights = fs::metadata(folder.path().join(KEYS_FILE)).unwrap().permissions().mode();
        assert_eq!(rights & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_others_may_read_is_closed_and_a_wrong_one_said() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(KEYS_FILE);
        Keyring::open(folder.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Keyring::open(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "{}").unwrap();
        assert!(matches!(Keyring::open(folder.path()), Err(AccessError::File { .. })));
    }
}
