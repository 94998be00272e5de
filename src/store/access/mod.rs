//! Who may do what, as it is stored: people and their sessions, keys, credentials of devices, and
//! the log of what was done. Read whole at start (but the log); `access` holds it in memory.

mod audit;
mod credentials;
mod keys;
mod sessions;
mod users;

pub use audit::{AuditFilter, AuditRow, NewAudit};
pub use credentials::{CredentialRow, NewCredential, Proof};
pub use keys::{ApiKeyEdit, ApiKeyRow, NewApiKey};
pub use sessions::{NewSession, SessionRow, SessionUse};
pub use users::{NewUser, UserEdit, UserRow};

/// SHA-256, or an HMAC by it.
pub type Digest = [u8; 32];

/// `None`: some other program has written it.
fn digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok()
}

/// A list of permissions; what is none reads as an empty one, which allows nothing.
fn permissions(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}

fn permissions_json(permissions: &[String]) -> String {
    serde_json::Value::from(permissions).to_string()
}

#[cfg(test)]
mod tests;
