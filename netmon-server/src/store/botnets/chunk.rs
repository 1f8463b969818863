//! Pieces of uploads: each stored whole with all that follows from it, and once.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{EditionId, Sighting};

/// Of a chunk's rejected lines so many are kept by number and reason; of all the counts by reason.
pub const MAX_REJECTED_LINES: usize = 1000;

/// A piece of an upload. Uploads are cut at the same places whenever they are sent: after
/// [`super::CHUNK_LINES`] lines, or after the line that reaches [`super::CHUNK_BYTES`].
#[derive(Clone, Debug)]
pub struct Chunk {
    /// 0, 1, 2, …
    pub index: u32,
    /// The number of its first line in the upload, from 1.
    pub first_line: u64,
    /// What became of its lines.
    pub figures: Figures,
    /// Which lines were rejected.
    pub rejections: Rejections,
    /// The lines as they came, decompressed.
    pub raw: Bytes,
    /// By which edition the places were found.
    pub edition: EditionId,
    /// Of its accepted lines, one each.
    pub sightings: Vec<Sighting>,
}

/// What became of lines. Blank ones and comments are the rest of `lines`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// All.
    pub lines: u64,
    /// Sightings.
    pub accepted: u64,
    /// Equal to an earlier line of the chunk in address, port and time.
    pub duplicate: u64,
    /// Refused with a reason.
    pub rejected: u64,
}

/// The lines that were rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejections {
    /// How many, by the code of the reason.
    pub reasons: BTreeMap<String, u64>,
    /// The first of them, by number in the upload, and why.
    pub lines: Vec<(u64, String)>,
}

/// What became of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredChunk {
    /// Stored now.
    New(Figures, Rejections),
    /// Stored by an earlier attempt, of which these are the figures.
    Known(Figures, Rejections),
}

impl StoredChunk {
    /// What became of its lines, now or earlier.
    pub fn figures(&self) -> Figures {
        match self {
            Self::New(figures, _) | Self::Known(figures, _) => *figures,
        }
    }

    /// Which lines were rejected, now or earlier.
    pub fn rejections(&self) -> &Rejections {
        match self {
            Self::New(_, rejections) | Self::Known(_, rejections) => rejections,
        }
    }
}

impl Figures {
    /// Blank lines, comments and headers.
    pub fn skipped(&self) -> u64 {
        self.lines
            .saturating_sub(self.accepted + self.duplicate + self.rejected)
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
    }
}

impl Rejections {
    /// A line was rejected for a reason.
    pub fn add(&mut self, line: u64, code: &str) {
        match self.reasons.get_mut(code) {
            Some(count) => *count += 1,
            None => {
                self.reasons.insert(code.to_owned(), 1);
            }
        }
        if self.lines.len() < MAX_REJECTED_LINES {
            self.lines.push((line, code.to_owned()));
        }
    }
}
