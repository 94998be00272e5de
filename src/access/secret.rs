//! Generated secrets: random text with a prefix that says what it is, and the digests that are kept.
//!
//! Each holds 190 bits or more, so a fast digest is enough: there is nothing to guess. The prefixes
//! let people and scanners recognise a secret that has got somewhere it should not be.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};

use super::AccessError;
use crate::store::Digest;

/// What an API key begins with.
pub(super) const KEY: &str = "brk_";
/// What a device's secret begins with.
pub(super) const DEVICE: &str = "brd_";
/// What a refresh token begins with.
pub(super) const REFRESH: &str = "brr_";
/// What the console's key begins with.
pub(super) const CONSOLE: &str = "brc_";

/// Characters of a secret without its prefix: 190 bits.
const LENGTH: usize = 32;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random characters, each of 62 with the same probability.
///
/// # Errors
/// When the system has no random bytes.
pub(super) fn random_text(length: usize) -> Result<String, AccessError> {
    let random = SystemRandom::new();
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        random.fill(&mut bytes).map_err(|_| AccessError::NoRandom)?;
        // 248 is the greatest multiple of 62 that a byte holds.
        let drawn = bytes.iter().filter(|byte| **byte < 248);
        let letters = drawn.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        let missing = length - text.len();
        text.extend(letters.take(missing).map(|letter| char::from(*letter)));
    }
    Ok(text)
}

/// # Errors
/// When the system has no random bytes.
pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], AccessError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AccessError::NoRandom)?;
    Ok(bytes)
}

/// # Errors
/// As above.
pub(super) fn generate(prefix: &str) -> Result<String, AccessError> {
    Ok(format!("{prefix}{}", random_text(LENGTH)?))
}

pub(super) fn digest(secret: &str) -> Digest {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether a text has the form of something generated, which nobody may choose as a password.
pub(super) fn has_prefix(text: &str) -> bool {
    [KEY, DEVICE, REFRESH, CONSOLE].iter().any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn secrets_are_long_alphanumeric_and_no_two_the_same() {
        let mut seen = HashSet::new();
        for _ in 0..1_000 {
            let secret = generate(KEY).unwrap();
            assert_eq!(secret.len(), KEY.len() + LENGTH);
            assert!(secret[KEY.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(has_prefix(&secret) && seen.insert(secret));
        }
        let letters: HashSet<char> = seen.iter().flat_map(|secret| secret[4..].chars()).collect();
        assert_eq!(letters.len(), ALPHABET.len());
    }
}
