//! Which names and passwords people may have. Pure.
//!
//! A password has to be long and not one that everybody tries; there is no rule about digits or
//! signs, which only make people choose what they can't remember.

use super::secret::has_prefix;

/// Characters.
pub const PASSWORD_MIN: usize = 10;
/// Bytes; longer ones only cost.
pub(super) const PASSWORD_BYTES_MAX: usize = 1_024;
const NAME_MAX: usize = 64;

/// What people try first, of ten characters and more, in small letters.
const COMMON: &str = include_str!("common_passwords.txt");

/// Why a password can't be somebody's; `None`: it can.
pub fn password_mistake(password: &str, user: &str) -> Option<&'static str> {
    let count = password.chars().count();
    if count < PASSWORD_MIN {
        return Some("a password has at least 10 characters");
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Some("a password has at most 1024 bytes");
    }
    if has_prefix(password) {
        return Some("a password does not begin like a key");
    }
    let small = password.to_lowercase();
    let small = small.trim();
    let user = user.to_lowercase();
    let rest = small.trim_end_matches(|last: char| !last.is_alphabetic());
    if rest == user || small.trim_matches(|c: char| !c.is_alphanumeric()) == user {
        return Some("the password is the user's name");
    }
    if COMMON.lines().any(|common| common == small) || is_run(small) {
        return Some("the password is one of those that everybody tries");
    }
    None
}

/// One or two characters over and over, or each a neighbour of the one before.
fn is_run(text: &str) -> bool {
    let letters: Vec<u32> = text.chars().map(u32::from).collect();
    let repeats = |length: usize| {
        letters.iter().skip(length).zip(&letters).all(|(letter, before)| letter == before)
    };
    let steps = |step: i64| {
        letters.windows(2).all(|pair| match pair {
            // After 9 comes 0.
            [before, letter] => {
                let (before, letter) = (i64::from(*before), i64::from(*letter));
                letter - before == step || letter - before == -9 * step
            }
            _ => true,
        })
    };
    repeats(1) || repeats(2) || repeats(3) || steps(1) || steps(-1)
}

/// Why a name can't be a user's; `None`: it can.
pub(super) fn name_mistake(name: &str) -> Option<&'static str> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_legal) {
        return Some("a user's name is 1 to 64 of A-Z a-z 0-9 . _ @ -");
    }
    matches!(name, "." | "..").then_some("a user's name is neither . nor ..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_everybody_tries_is_refused() {
        for refused in [
            "short",
            "password123",
            "Password123",
            "qwertyuiop",
            "1234567890",
            "0987654321",
            "aaaaaaaaaaaa",
            "abababababab",
            "abcdefghijkl",
            "johannes2024",
            "JOHANNES!!!!",
            "brk_0123456789abcdef",
        ] {
            assert!(password_mistake(refused, "johannes").is_some(), "{refused}");
        }
        for taken in ["correct horse battery", "温度计在三号楼的屋顶上", "gHk3-plumeau"]
        {
            assert_eq!(password_mistake(taken, "johannes"), None, "{taken}");
        }
        assert!(password_mistake(&"x1".repeat(513), "a").is_some());
    }

    #[test]
    fn the_list_is_in_its_form() {
        let lines: Vec<_> = COMMON.lines().collect();
        assert!(lines.len() > 200);
        for line in &lines {
            assert!(line.chars().count() >= PASSWORD_MIN, "{line}");
            assert_eq!(line.to_lowercase().trim(), *line);
        }
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted, lines);
    }

    proptest! {
        #[test]
        fn any_text_is_judged(password in ".*", user in ".*") {
            let _ = password_mistake(&password, &user);
            prop_assert_eq!(name_mistake(&user).is_none(), !user.is_empty() && user.len() <= 64
                && user.chars().all(|c| c.is_ascii_alphanumeric() || "._@-".contains(c))
                && user != "." && user != "..");
        }
    }
}
