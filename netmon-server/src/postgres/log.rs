//! Takes what PostgreSQL logs into the server's own log.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
};

/// A longer line is cut: a statement may have any length.
const MAX_LINE_BYTES: u64 = 8 << 10;

/// How much a line matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Debug,
    Warn,
    Error,
}

/// Reads until every process that writes has ended.
pub(super) fn forward(source: impl Read) {
    let mut source = BufReader::new(source);
    let mut level = Level::Debug;
    while let Some(line) = next_line(&mut source) {
        level = level_of(&line, level);
        match level {
            Level::Debug => tracing::debug!(target: "postgres", "{line}"),
            Level::Warn => tracing::warn!(target: "postgres", "{line}"),
            Level::Error => tracing::error!(target: "postgres", "{line}"),
        }
    }
}

/// Reads to the end and keeps the last lines, as one.
pub(super) fn end_of(source: impl Read) -> String {
    const LINES: usize = 8;
    let mut source = BufReader::new(source);
    let mut last = VecDeque::with_capacity(LINES + 1);
    while let Some(line) = next_line(&mut source) {
        if !line.is_empty() {
            last.push_back(line);
        }
        if last.len() > LINES {
            last.pop_front();
        }
    }
    Vec::from(last).join("; ")
}

fn next_line(source: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    let read = source
        .by_ref()
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut bytes)
        .ok()?;
    let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    (read > 0).then_some(line)
}

/// Lines that continue a message (DETAIL, HINT, STATEMENT, an indented line) are as important as
/// the message; `previous` is what that was.
fn level_of(line: &str, previous: Level) -> Level {
    const ROUTINE: [&str; 4] = [
        "FATAL:  the database system is starting up",
        "FATAL:  the database system is shutting down",
        "FATAL:  the database system is not yet accepting connections",
        "FATAL:  terminating connection due to administrator command",
    ];
    let severity = line.split(':').next().unwrap_or_default();
    match severity {
        _ if ROUTINE.iter().any(|routine| line.starts_with(routine)) => Level::Debug,
        "LOG" | "INFO" | "NOTICE" | "DEBUG" => Level::Debug,
        "WARNING" | "ERROR" | "FATAL" => Level::Warn,
        "PANIC" => Level::Error,
        _ => previous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_important_as_the_message_it_belongs_to() {
        for (line, previous, expected) in [
            ("LOG:  checkpoint starting", Level::Error, Level::Debug),
            (
                "FATAL:  the database system is starting up",
                Level::Error,
                Level::Debug,
            ),
            (
                "FATAL:  could not map shared memory",
                Level::Debug,
                Level::Warn,
            ),
            ("PANIC:  could not write", Level::Debug, Level::Error),
            ("DETAIL:  No space left", Level::Error, Level::Error),
            ("\tSELECT 1", Level::Warn, Level::Warn),
        ] {
            assert_eq!(level_of(line, previous), expected, "{line}");
        }
    }

    #[test]
    fn an_endless_line_is_cut_into_pieces() {
        let mut source = BufReader::new(std::io::repeat(b'x').take(20_000));
        let lengths: Vec<usize> = std::iter::from_fn(|| next_line(&mut source))
            .map(|line| line.len())
            .collect();
        assert_eq!(lengths, [8192, 8192, 3616]);
    }
}
