//! What the server says of an upload.

use std::{fmt, ops::AddAssign};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Lines of an upload by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub lines: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub rejected: u64,
}

/// An acknowledgement.
#[derive(Clone, Debug)]
pub struct Answer {
    pub figures: Figures,
    /// Of the lines, those that an earlier request has stored.
    pub already_stored: u64,
    whole: Value,
}

impl Answer {
    /// Reads the body of an answer.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(body: &str) -> Result<Self> {
        let whole: Value = serde_json::from_str(body)?;
        let number = |name: &str| {
            let number = whole[name].as_u64();
            number.with_context(|| format!("no number {name:?} in {body}"))
        };
        Ok(Self {
            figures: Figures {
                lines: number("lines")?,
                accepted: number("accepted")?,
                duplicate: number("duplicate")?,
                rejected: number("rejected")?,
            },
            already_stored: number("already_stored")?,
            whole,
        })
    }

    /// Whether two answers say the same of the log, whichever of the requests stored it.
    pub fn agrees(&self, other: &Self) -> bool {
        let plain = |answer: &Self| {
            let mut whole = answer.whole.clone();
            if let Some(fields) = whole.as_object_mut() {
                fields.remove("already_stored");
            }
            whole
        };
        plain(self) == plain(other)
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)
    }
}
