//! Mending small damage that field devices do to JSON: a byte-order mark, trailing NULs, trailing
//! commas, `NaN` and the infinities. Tried only where strict parsing failed; never inside a string.
//!
//! What JSON has no number for is marked by a text that the decoder turns back (`Json::read_marks`);
//! only mended text is searched for marks, so a strict message can't hold one.

/// Stands for `NaN` and the infinities in mended text.
pub(super) const NOT_A_NUMBER: &str = "\u{0}NaN";
const NOT_A_NUMBER_JSON: &[u8] = br#""\u0000NaN""#;
/// Stands for a number beyond the range of a 64-bit float, which a strict parser refuses together
/// with all that stands beside it.
pub(super) const TOO_LARGE: &str = "\u{0}too large";
const TOO_LARGE_JSON: &[u8] = br#""\u0000too large""#;

/// Kinds of damage found, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    pub byte_order_mark: bool,
    pub trailing_nul: bool,
    pub trailing_comma: bool,
    pub not_a_number: bool,
}

impl Repairs {
    /// Metric labels of the kinds found.
    pub fn labels(self) -> impl Iterator<Item = &'static str> {
        [
            (self.byte_order_mark, "byte_order_mark"),
            (self.trailing_nul, "trailing_nul"),
            (self.trailing_comma, "trailing_comma"),
            (self.not_a_number, "not_a_number"),
        ]
        .into_iter()
        .filter_map(|(found, label)| found.then_some(label))
    }
}

/// The mended text, or `None` when there is nothing that this can mend.
pub(super) fn repair(text: &[u8]) -> Option<(Vec<u8>, Repairs)> {
    let mut repairs = Repairs::default();
    let mut rest = text;
    if let Some(stripped) = rest.strip_prefix(b"\xEF\xBB\xBF") {
        rest = stripped;
        repairs.byte_order_mark = true;
    }
    while let Some((last, before)) = rest.split_last()
        && (*last == 0 || last.is_ascii_whitespace())
    {
        repairs.trailing_nul |= *last == 0;
        rest = before;
    }
    let mut mended = Mended { text: Vec::with_capacity(rest.len() + 32), is_too_large: false };
    mended.read(rest, &mut repairs);
    mended.drop_commas(&mut repairs);
    let is_mended = mended.is_too_large || repairs != Repairs::default();
    is_mended.then_some((mended.text, repairs))
}

struct Mended {
    text: Vec<u8>,
    is_too_large: bool,
}

impl Mended {
    fn read(&mut self, mut rest: &[u8], repairs: &mut Repairs) {
        while let Some((&byte, after)) = rest.split_first() {
            rest = match byte {
                b'"' => {
                    let (string, after) = split_string(rest);
                    self.text.extend_from_slice(string);
                    after
                }
                b'}' | b']' => {
                    self.drop_commas(repairs);
                    self.text.push(byte);
                    after
                }
                b'0'..=b'9' | b'-' | b'+' | b'.' | b'a'..=b'z' | b'A'..=b'Z' => {
                    self.word(rest, repairs)
                }
                _ => {
                    self.text.push(byte);
                    after
                }
            };
        }
    }

    /// Takes a number or a literal, and gives what follows it.
    fn word<'t>(&mut self, text: &'t [u8], repairs: &mut Repairs) -> &'t [u8] {
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.' | b'_');
        let end = text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len());
        let (word, after) = text.split_at_checked(end).unwrap_or((text, &[]));
        if is_not_a_number(word) {
            repairs.not_a_number = true;
            self.text.extend_from_slice(NOT_A_NUMBER_JSON);
        } else if is_too_large(word) {
            self.is_too_large = true;
            self.text.extend_from_slice(TOO_LARGE_JSON);
        } else {
            self.text.extend_from_slice(word);
        }
        after
    }

    /// Drops commas behind the last value, but not those before the first.
    fn drop_commas(&mut self, repairs: &mut Repairs) {
        let is_between = |b: &u8| *b == b',' || b.is_ascii_whitespace();
        let end = self.text.iter().rposition(|byte| !is_between(byte)).map_or(0, |at| at + 1);
        let has_value = self.text.get(..end).and_then(<[u8]>::last);
        let has_value = has_value.is_some_and(|last| !matches!(last, b'[' | b'{' | b':'));
        let has_comma = self.text.get(end..).is_some_and(|tail| tail.contains(&b','));
        if has_value && has_comma {
            self.text.truncate(end);
            repairs.trailing_comma = true;
        }
    }
}

/// Splits behind the closing quote of the string that `text` begins with.
fn split_string(text: &[u8]) -> (&[u8], &[u8]) {
    let mut is_escaped = true;
    let end = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    text.split_at_checked(end.map_or(text.len(), |end| end + 1)).unwrap_or((text, &[]))
}

/// As Python, JavaScript and C print it.
fn is_not_a_number(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"-").or(word.strip_prefix(b"+")).unwrap_or(word);
    [&b"NaN"[..], b"nan", b"Infinity", b"inf"].contains(&word)
}

fn is_too_large(word: &[u8]) -> bool {
    let is_number = word.iter().any(u8::is_ascii_digit)
        && word.iter().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'));
    let number = std::str::from_utf8(word).ok().filter(|_| is_number).map(str::parse::<f64>);
    number.is_some_and(|number| number.is_ok_and(f64::is_infinite))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mended(damaged: &str) -> Option<String> {
        repair(damaged.as_bytes()).map(|(mended, _)| String::from_utf8(mended).unwrap())
    }

    #[test]
    fn mends_each_kind_and_leaves_strings_alone() {
        for (damaged, expected) in [
            ("\u{feff}{\"a\":1}", r#"{"a":1}"#),
            ("{\"a\":1}\0\0", r#"{"a":1}"#),
            ("{\"a\":1}\0\r\n\0", r#"{"a":1}"#),
            (r#"{"a":[1,2, ], }"#, r#"{"a":[1,2]}"#),
            (r#"{"a":1,,}"#, r#"{"a":1}"#),
            (r#"{"a":1},"#, r#"{"a":1}"#),
            (r#"{"a":NaN}"#, r#"{"a":"\u0000NaN"}"#),
            (r#"{"a":-Infinity,}"#, r#"{"a":"\u0000NaN"}"#),
            (r#"[-nan, +inf]"#, r#"["\u0000NaN", "\u0000NaN"]"#),
            (r#"{"a":1e999,"b":-2E+400}"#, r#"{"a":"\u0000too large","b":"\u0000too large"}"#),
            (r#"{"a,}\"NaN":1,}"#, r#"{"a,}\"NaN":1}"#),
        ] {
            assert_eq!(mended(damaged).as_deref(), Some(expected), "{damaged}");
        }
    }

    #[test]
    fn leaves_what_is_no_small_damage() {
        for text in
            [r#"{"a":"NaN,}"}"#, r#"{"a":nano}"#, "[,]", "{,}", r#"{"a":,}"#, "", "1e308", "e999"]
        {
            assert_eq!(mended(text), None, "{text}");
        }
    }

    #[test]
    fn takes_time_in_proportion() {
        // Quadratic work on these would take hours.
        for unit in [",", ", ", ",}", "[,", "\"", "-", "nan,", "\0"] {
            let _ = repair(unit.repeat(1_000_000 / unit.len()).as_bytes());
        }
    }

    proptest! {
        #[test]
        fn what_is_mended_needs_no_second_mending(text in r#"[\[\]{},:" \\0-9a-zNI.+-]{0,40}"#) {
            if let Some(once) = mended(&text) {
                prop_assert_eq!(mended(&once), None, "{}", once);
            }
        }

        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = repair(&text);
        }
    }
}
