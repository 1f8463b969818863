//! The time that a question about a node is about.

use time::{Duration, OffsetDateTime};

use crate::api::{
    problem::Problem,
    range::{self, Range},
};

/// How far back is looked unless it is said: as far as communications are kept by default.
const DEFAULT: Duration = Duration::days(90);

/// Parses `from` and `to`; up to now by default.
pub fn parse(from: Option<&str>, to: Option<&str>, now: OffsetDateTime) -> Result<Range, Problem> {
    let to = match to {
        Some(text) => range::time("to", text)?,
        None => now,
    };
    let from = match from {
        Some(text) => range::time("from", text)?,
        None => (to - DEFAULT).max(OffsetDateTime::UNIX_EPOCH),
    };
    match from < to {
        true => Ok(Range { from, to }),
        false => Err(Problem::parameter(
            "from",
            "it must lie before to, which is now by default",
        )),
    }
}
