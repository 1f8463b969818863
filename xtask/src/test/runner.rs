//! The test runner's output: shown as it comes, except the summary it closes with, which is kept
//! for the very end.

use std::io::{BufRead, Write as _};

use anyhow::Result;

/// Shows the runner's output, except the summary, which is returned.
///
/// # Errors
/// When it cannot be read, or the own output cannot be written.
pub fn pass_on(mut lines: impl BufRead) -> Result<String> {
    let mut summary = String::new();
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if !summary.is_empty() || is_summary(&text) {
            summary.push_str(&text);
        } else {
            std::io::stderr().write_all(&line)?;
        }
        line.clear();
    }
    Ok(summary)
}

/// The line `     Summary [   1.234s] 10 tests run: 10 passed, 0 skipped`, with or without colours.
fn is_summary(line: &str) -> bool {
    let mut plain = String::new();
    let mut colour = false;
    for letter in line.chars() {
        match letter {
            '\x1b' => colour = true,
            'm' if colour => colour = false,
            _ if !colour => plain.push(letter),
            _ => {}
        }
    }
    plain.trim_start().starts_with("Summary [")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_recognised_with_and_without_colours() {
        let cases = [
            ("     Summary [   0.512s] 10 tests run: 10 passed\n", true),
            (
                "\x1b[32;1m     Summary\x1b[0m [   0.5s] \x1b[1m10\x1b[0m tests run\n",
                true,
            ),
            ("        PASS [   0.004s] xtask summary::is_shown\n", false),
            ("Summary of nothing\n", false),
        ];
        for (line, expected) in cases {
            assert_eq!(is_summary(line), expected, "{line:?}");
        }
    }

    #[test]
    fn what_follows_the_summary_belongs_to_it() {
        let output = "PASS one\n  Summary [ 1.0s] 1 test run\n  FAIL two\n";
        let closing = pass_on(output.as_bytes()).unwrap();
        assert_eq!(closing, "  Summary [ 1.0s] 1 test run\n  FAIL two\n");
    }
}
