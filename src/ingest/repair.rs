//! Mending small damage that field devices do to JSON: a byte-order mark, trailing NULs, trailing
//! commas, `NaN` and `Infinity`. Tried only where strict parsing failed; never inside a string.

/// What `NaN` and the infinities become: a string that no strict JSON text of a device holds by
/// accident, so that the decoder can tell "the sensor failed" from a text.
pub(crate) const NOT_A_NUMBER: &str = "\u{0}NaN";
const NOT_A_NUMBER_JSON: &[u8] = b"\"\\u0000NaN\"";

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
pub(crate) fn repair(text: &[u8]) -> Option<(Vec<u8>, Repairs)> {
    let mut repairs = Repairs::default();
    let mut rest = text;
    if let Some(stripped) = rest.strip_prefix(b"\xEF\xBB\xBF") {
        rest = stripped;
        repairs.byte_order_mark = true;
    }
    while let Some(stripped) = rest.strip_suffix(b"\0") {
        rest = stripped;
        repairs.trailing_nul = true;
    }
    let mended = mend(rest, &mut repairs);
    (repairs != Repairs::default()).then_some((mended, repairs))
}

fn mend(mut rest: &[u8], repairs: &mut Repairs) -> Vec<u8> {
    let mut mended = Vec::with_capacity(rest.len() + 16);
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' => {
                let (string, after) = split_string(rest);
                mended.extend_from_slice(string);
                rest = after;
                continue;
            }
            b',' if closes(after) => repairs.trailing_comma = true,
            b'N' | b'I' | b'-' | b'n' | b'i' => {
                if let Some(after) = not_a_number(rest) {
                    mended.extend_from_slice(NOT_A_NUMBER_JSON);
                    repairs.not_a_number = true;
                    rest = after;
                    continue;
                }
                mended.push(byte);
            }
            _ => mended.push(byte),
        }
        rest = after;
    }
    mended
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

fn closes(text: &[u8]) -> bool {
    matches!(text.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'}' | b']'))
}

fn not_a_number(text: &[u8]) -> Option<&[u8]> {
    ["NaN", "nan", "-Infinity", "Infinity", "-inf", "inf", "-nan"].iter().find_map(|word| {
        let after = text.strip_prefix(word.as_bytes())?;
        let ends = after.first().is_none_or(|next| !next.is_ascii_alphanumeric());
        ends.then_some(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mends_each_kind_and_leaves_strings_alone() {
        for (damaged, mended) in [
            (&b"\xEF\xBB\xBF{\"a\":1}"[..], &b"{\"a\":1}"[..]),
            (b"{\"a\":1}\0\0", b"{\"a\":1}"),
            (b"{\"a\":[1,2, ], }", b"{\"a\":[1,2 ] }"),
            (b"{\"a\":NaN}", b"{\"a\":\"\\u0000NaN\"}"),
            (b"{\"a\":-Infinity,}", b"{\"a\":\"\\u0000NaN\"}"),
            (b"{\"a,}\\\"NaN\":1,}", b"{\"a,}\\\"NaN\":1}"),
        ] {
            assert_eq!(repair(damaged).unwrap().0, mended);
        }
        assert_eq!(repair(b"{\"a\":\"NaN,}\"}"), None);
        assert_eq!(repair(b"{\"a\":nano}"), None);
    }
}
