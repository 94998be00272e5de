//! Comma-separated values (RFC 4180), read whole. Pure.

use anyhow::bail;

/// The rows of a text, each with the line that it begins on; empty lines are left out.
pub(super) fn rows(text: &str) -> anyhow::Result<Vec<(usize, Vec<String>)>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut rows, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begins, mut is_quoted, mut had_quotes) = (1, 1, false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if is_quoted => is_quoted = false,
            '"' if field.is_empty() && !had_quotes => (is_quoted, had_quotes) = (true, true),
            '"' => bail!("line {line}: a quotation mark stands within a field"),
            '\n' if is_quoted => {
                line += 1;
                field.push('\n');
            }
            ',' if !is_quoted => {
                fields.push(std::mem::take(&mut field));
                had_quotes = false;
            }
            '\r' if !is_quoted && letters.peek() == Some(&'\n') => {}
            '\n' => {
                if !fields.is_empty() || !field.is_empty() || had_quotes {
                    fields.push(std::mem::take(&mut field));
                    rows.push((begins, std::mem::take(&mut fields)));
                }
                line += 1;
                (begins, had_quotes) = (line, false);
            }
            letter => field.push(letter),
        }
    }
    if is_quoted {
        bail!("line {begins}: a quotation mark has no counterpart");
    }
    if !fields.is_empty() || !field.is_empty() || had_quotes {
        fields.push(field);
        rows.push((begins, fields));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_hold_commas_and_lines() {
        let text = "\u{feff}a,b\r\n\"x, \"\"y\"\"\",\"1\n2\"\n\n,\nlast";
        let expected: [(usize, &[&str]); 4] =
            [(1, &["a", "b"]), (2, &["x, \"y\"", "1\n2"]), (5, &["", ""]), (6, &["last"])];
        let found = rows(text).unwrap();
        let found: Vec<(usize, Vec<&str>)> = found
            .iter()
            .map(|(line, row)| (*line, row.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(found, expected.map(|(line, row)| (line, row.to_vec())));
        assert!(rows("a\"b").is_err() && rows("\"a").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in prop::collection::vec("[^\r]*", 1..5)) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let text = fields.iter().map(quoted).collect::<Vec<_>>().join(",");
            prop_assert_eq!(rows(&text).unwrap(), [(1, fields)]);
        }

        #[test]
        fn nothing_panics(text in ".*") {
            let _ = rows(&text);
        }
    }
}
