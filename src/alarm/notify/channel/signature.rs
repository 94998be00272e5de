//! What proves to a webhook's receiver who sent a body, and when. Pure.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The value of `X-Brooklet-Signature`: HMAC-SHA-256 over the value of `X-Brooklet-Timestamp`, a dot
/// and the body.
pub(super) fn signature(key: &str, timestamp: &str, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let hex: String = hex;
    Some(format!("sha256={hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `printf '1766125800.{}' | openssl dgst -sha256 -hmac secret`.
    #[test]
    fn is_what_openssl_makes() {
        let expected = "sha256=3d2c8dd3f0164a9e124f657ec20d0f800cd88272a85207939df958b92ad119f4";
        assert_eq!(signature("secret", "1766125800", b"{}").as_deref(), Some(expected));
    }
}
