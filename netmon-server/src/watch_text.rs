//! Lists of addresses and prefixes as people write them: one a line.

use netmon_common::watch::{List, PrefixError};

use crate::store::MAX_LISTED;

/// The text is no list; none of it is used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A line is neither empty, nor a comment, nor an address, nor a prefix.
    #[error("line {line}: {text:?} is {source}")]
    Line {
        /// From 1 on.
        line: usize,
        /// Its start.
        text: String,
        /// What is wrong.
        source: PrefixError,
    },
    /// More than agents would take.
    #[error("it has more than {MAX_LISTED} entries")]
    TooLong,
}

/// Reads a text. Comments begin with `#`.
///
/// # Errors
/// See [`TextError`]; the first line that is wrong is named.
pub fn parse(text: &[u8]) -> Result<List, TextError> {
    let mut entries = Vec::new();
    for (index, line) in text.split(|octet| *octet == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let entry = line.split('#').next().unwrap_or("").trim();
        if entry.is_empty() {
            continue;
        }
        if entries.len() >= MAX_LISTED {
            return Err(TextError::TooLong);
        }
        entries.push(entry.parse().map_err(|source| TextError::Line {
            line: index + 1,
            text: entry.chars().take(64).collect(),
            source,
        })?);
    }
    Ok(entries.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_empty_lines_and_doubles_are_left_out() {
        let list = parse(b"# bad\r\n192.0.2.1\t# one\r\n\n 2001:db8::/32 \n192.0.2.1").unwrap();
        let entries: Vec<String> = list
            .iter()
            .map(|e| format!("{}/{}", e.address(), e.length()))
            .collect();
        assert_eq!(entries, ["192.0.2.1/32", "2001:db8::/32"]);
        assert!(parse(b"").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, said) in [
            (
                &b"192.0.2.1\nexample.org\n"[..],
                "line 2: \"example.org\" is not an IPv4 or IPv6 address",
            ),
            (
                b"192.0.2.1/24",
                "line 1: \"192.0.2.1/24\" is bits are set behind the prefix",
            ),
            (
                b"\xff\xff",
                "line 1: \"\u{fffd}\u{fffd}\" is not an IPv4 or IPv6 address",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), said);
        }
    }
}
