//! The first start: somebody has to be the first who may do everything.
//!
//! What was generated is shown once, and kept in two files that only the owner may read, until the
//! password is changed. They are written before the store has the user: a start that is cut off
//! between the two is made again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Access, AccessError, Actor, AuditEntry, NewKey, NewPassword, NewPerson, Principal, Role, Scope,
    Scopes, keyring::write_private, secret,
};

/// The first user.
pub(super) const USER: &str = "admin";
const KEY: &str = "first";
const PASSWORD_FILE: &str = "initial-admin-password";
const KEY_FILE: &str = "initial-api-key";
const PASSWORD_LENGTH: usize = 20;

/// What the first start has made.
pub struct FirstStart {
    pub user: &'static str,
    pub password: String,
    pub key: String,
    pub password_file: PathBuf,
    pub key_file: PathBuf,
}

impl Access {
    /// Makes the first user and the first key, where the HTTP surface is closed and nobody is there
    /// who could make them.
    ///
    /// # Errors
    /// When the store or the folder can't be written.
    pub async fn first_start(&self) -> Result<Option<FirstStart>, AccessError> {
        let has_somebody = !self.people.is_empty() || self.keys.has_configured_admin();
        if has_somebody || self.anybody().is_some() {
            return Ok(None);
        }
        let console = console();
        let (password, key) =
            (secret::random_text(PASSWORD_LENGTH)?, secret::generate(secret::KEY)?);
        let (password_file, key_file) =
            (self.folder.join(PASSWORD_FILE), self.folder.join(KEY_FILE));
        write_private(&password_file, &format!("{password}\n"))?;
        write_private(&key_file, &format!("{key}\n"))?;
        if let Some(left) = self.keys.all().iter().find(|other| other.name == KEY) {
            self.keys.delete(left.id, &console).await?;
        }
        let new = NewKey {
            name: KEY.to_owned(),
            scopes: Scopes::new(&[Scope::Admin]),
            device: None,
            expires_at: None,
        };
        self.keys.create_with(new, key.clone(), &console).await?;
        let person = NewPerson {
            name: USER.to_owned(),
            email: None,
            role: Role::Admin,
            password: NewPassword::Plain(password.clone()),
            mqtt_allow: Vec::new(),
        };
        self.people.create(person, &console).await?;
        self.note_first("create_key", "/api/keys", KEY).await?;
        self.note_first("create_user", "/api/users", USER).await?;
        Ok(Some(FirstStart { user: USER, password, key, password_file, key_file }))
    }

    async fn note_first(
        &self,
        action: &str,
        resource: &str,
        name: &str,
    ) -> Result<(), AccessError> {
        let detail = serde_json::json!({"name": name, "first_start": true});
        let entry = AuditEntry {
            actor: Actor::Console,
            action: action.to_owned(),
            resource: resource.to_owned(),
            detail: Some(detail.to_string()),
            address: None,
            request_id: None,
        };
        self.note(entry).await
    }
}

/// The command line, which may do everything.
pub(super) fn console() -> Principal {
    Principal { actor: Actor::Console, scopes: Scopes::new(&[Scope::Admin]), device: None }
}

/// The password is another: what was written at the first start goes.
pub(super) fn forget(folder: &Path) {
    for name in [PASSWORD_FILE, KEY_FILE] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "the file stays; delete it");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
