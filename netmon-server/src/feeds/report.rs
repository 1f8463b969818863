//! What became of the lines of a log.

use std::collections::BTreeMap;

use netmon_feeds::Reason;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::botnets::{Figures, Rejections, StoredChunk};

/// So many rejected lines are told one by one.
pub const MAX_REJECTIONS: usize = 1000;

/// What became of the lines of a log: every one is accepted, a duplicate, rejected or skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BotnetLogReport)]
pub struct Report {
    /// The key of the upload: the same body sent again with it as `Idempotency-Key` stores nothing twice.
    #[schema(example = "sinkhole-2026-11-20T10")]
    pub upload: String,
    /// The family's name.
    #[schema(example = "mozi")]
    pub family: String,
    /// All lines.
    pub lines: u64,
    /// Lines that are stored.
    pub accepted: u64,
    /// Lines equal in address, port and time to one that came shortly before; stored once.
    pub duplicate: u64,
    /// Lines that cannot be stored.
    pub rejected: u64,
    /// Blank lines, comments, names of columns.
    pub skipped: u64,
    /// How many of the lines an earlier attempt with the same key had stored or rejected already.
    pub already_stored: u64,
    /// Rejected lines by the code of their reason.
    pub reasons: BTreeMap<String, u64>,
    /// The first 1000 rejected lines.
    pub rejections: Vec<LineRejection>,
    /// Rejected lines that are not listed.
    pub rejections_omitted: u64,
}

/// A line that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BotnetLogRejection)]
pub struct LineRejection {
    /// Its number, from 1.
    #[schema(example = 17)]
    pub line: u64,
    /// The reason's name, for programs.
    #[schema(example = "multicast")]
    pub code: String,
    /// The reason, for people.
    #[schema(example = "an address of a group")]
    pub reason: String,
}

impl Report {
    /// Of nothing yet.
    pub fn new(upload: &str, family: &str) -> Self {
        Self {
            upload: upload.to_owned(),
            family: family.to_owned(),
            lines: 0,
            accepted: 0,
            duplicate: 0,
            rejected: 0,
            skipped: 0,
            already_stored: 0,
            reasons: BTreeMap::new(),
            rejections: Vec::new(),
            rejections_omitted: 0,
        }
    }

    /// Adds a chunk that is stored, in the order of chunks.
    pub fn add(&mut self, chunk: &StoredChunk) {
        let figures = chunk.figures();
        if let StoredChunk::Known(..) = chunk {
            self.already_stored += figures.lines;
        }
        self.add_figures(figures, chunk.rejections());
    }

    fn add_figures(&mut self, figures: Figures, rejections: &Rejections) {
        self.lines += figures.lines;
        self.accepted += figures.accepted;
        self.duplicate += figures.duplicate;
        self.rejected += figures.rejected;
        self.skipped += figures.skipped();
        for (code, count) in &rejections.reasons {
            *self.reasons.entry(code.clone()).or_default() += count;
        }
        let room = MAX_REJECTIONS - self.rejections.len();
        let told = rejections.lines.iter().take(room);
        self.rejections
            .extend(told.map(|(line, code)| LineRejection::new(*line, code)));
        self.rejections_omitted = self.rejected - self.rejections.len() as u64;
    }
}

impl LineRejection {
    fn new(line: u64, code: &str) -> Self {
        // A code of an earlier release stands for itself.
        let reason = match Reason::from_code(code) {
            Some(reason) => reason.explanation(),
            None => code,
        };
        Self {
            line,
            code: code.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_adds_up_and_is_bounded() {
        let mut report = Report::new("key", "mozi");
        for chunk in 0..3 {
            let mut rejections = Rejections::default();
            for line in 0..400 {
                rejections.add(chunk * 1000 + line, "nul");
            }
            let figures = Figures {
                lines: 1000,
                accepted: 500,
                duplicate: 50,
                rejected: 400,
            };
            report.add(&match chunk {
                0 => StoredChunk::Known(figures, rejections),
                _ => StoredChunk::New(figures, rejections),
            });
        }
        let sum = report.accepted + report.duplicate + report.rejected + report.skipped;
        assert_eq!((report.lines, sum), (3000, 3000));
        assert_eq!(report.skipped, 150);
        assert_eq!(report.already_stored, 1000);
        assert_eq!(report.reasons["nul"], 1200);
        assert_eq!(report.rejections.len(), MAX_REJECTIONS);
        assert_eq!(report.rejections_omitted, 200);
        assert_eq!(report.rejections[999].line, 2199);
    }
}
