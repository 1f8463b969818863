//! Lines as they came, read once more by today's parser: what was rejected and can be read now is
//! added, everything else stays as it is.

use std::ops::RangeInclusive;

use bytes::Bytes;
use netmon_feeds::{Format, Line, Parser};
use time::{Date, OffsetDateTime, UtcOffset};

use super::{LogOptions, reading::Lines};
use crate::{
    geo,
    store::{
        StoreError,
        botnets::{
            BotnetError, Botnets, Chunk, EditionId, Family, Figures, RawChunk, Rejections, Upload,
        },
    },
};

/// What is to be read once more, and how.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Days (UTC) on which the logs came.
    pub days: RangeInclusive<Date>,
    /// Another format than was stated.
    pub format: Option<Format>,
    /// Another zone than was stated.
    pub zone: Option<UtcOffset>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reprocessed {
    /// Chunks that were read.
    pub chunks: u64,
    /// Their lines.
    pub lines: u64,
    /// Lines that had been rejected.
    pub rejected_before: u64,
    /// Of these: accepted now.
    pub accepted: u64,
    /// Duplicates now.
    pub duplicate: u64,
    /// Skipped now, as comments or names of columns.
    pub skipped: u64,
    /// Still rejected.
    pub rejected: u64,
    /// Chunks left alone because nobody knows which of their lines had been rejected.
    pub undecided: u64,
    /// Chunks left alone because their lines cannot be read, or somebody changed them meanwhile.
    pub failed: u64,
}

/// Reads the chunks that are kept of a family; `progress` is told after each.
///
/// # Errors
/// The database's. What was added until then stays, and is not added again by another run.
pub async fn reprocess(
    botnets: &Botnets,
    geo: &geo::Geo,
    family: &Family,
    wish: &Wish,
    mut progress: impl FnMut(&Reprocessed),
) -> Result<Reprocessed, BotnetError> {
    let geo = geo.current();
    let edition = botnets.edition(geo.edition()).await?;
    let mut done = Reprocessed::default();
    let mut chunks = botnets.raw_chunks(family.id, wish.days.clone());
    // Lines are read in the order of their upload: names of columns hold for all that follow.
    let mut reader: Option<(i64, Reader)> = None;
    loop {
        let chunk = match chunks.next().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(done),
            Err(BotnetError::Store(StoreError::Permanent(error))) => {
                tracing::error!(error, "a chunk is left alone");
                done.failed += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let is_next = reader
            .as_ref()
            .is_some_and(|(id, _)| *id == chunk.upload.upload_id);
        if !is_next {
            let of_upload = Reader::new(botnets, family, wish, &chunk.upload, &geo, edition);
            reader = Some((chunk.upload.upload_id, of_upload));
        }
        let Some((_, Reader { stated, lines })) = &mut reader else {
            continue;
        };
        let found = lines.parse(&chunk.raw);
        let as_stated = netmon_feeds::lines(&chunk.raw).map(|line| stated.line(line));
        let as_stated: Vec<_> = as_stated.collect();
        done.chunks += 1;
        done.lines += chunk.figures.lines;
        done.rejected_before += chunk.figures.rejected;
        let then = Rejected {
            first_line: chunk.first_line,
            lines: chunk.figures.rejected,
            known: &chunk.rejections,
        };
        let was_rejected = then
            .as_stated(&as_stated)
            .or_else(|| then.by_number(&found));
        match was_rejected.map(|was_rejected| reconsidered(&chunk, &found, &was_rejected, lines)) {
            None => {
                done.undecided += 1;
                done.rejected += chunk.figures.rejected;
            }
            Some(now) => add(botnets, wish, &chunk, now, &mut done).await?,
        }
        progress(&done);
    }
}

/// Reads an upload once more.
struct Reader {
    /// As it was read when it came, to find out which lines were rejected then.
    stated: Parser,
    lines: Lines,
}

impl Reader {
    fn new(
        botnets: &Botnets,
        family: &Family,
        wish: &Wish,
        upload: &Upload,
        geo: &geo::Current,
        edition: EditionId,
    ) -> Self {
        let stated = LogOptions::from_text(&upload.format);
        let wished = LogOptions {
            format: wish.format.unwrap_or(stated.format),
            zone: wish.zone.unwrap_or(stated.zone),
            ..stated
        };
        let received_at = upload.received_at;
        let mut wished = wished.of_family(botnets, family, received_at);
        // Communications of earlier days are dropped meanwhile.
        let kept = botnets.window(OffsetDateTime::now_utc());
        let first = *wished.window.start().max(kept.start());
        wished.window = first..=*wished.window.end();
        Self {
            stated: Parser::new(stated.of_family(botnets, family, received_at)),
            lines: Lines::new(wished, received_at, geo.clone(), edition),
        }
    }
}

async fn add(
    botnets: &Botnets,
    wish: &Wish,
    before: &RawChunk,
    now: Chunk,
    done: &mut Reprocessed,
) -> Result<(), BotnetError> {
    let (then, figures) = (before.figures, now.figures);
    if then != figures && !wish.dry_run {
        match botnets.amend_chunk(&before.upload, then, &now).await {
            Ok(_) => {}
            Err(BotnetError::ChunkChanged) => {
                done.failed += 1;
                done.rejected += then.rejected;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    done.accepted += figures.accepted - then.accepted;
    done.duplicate += figures.duplicate - then.duplicate;
    done.rejected += figures.rejected;
    done.skipped += figures.skipped() - then.skipped();
    Ok(())
}

/// The chunk as it is with what is found in lines that had been rejected. `found` has its lines in
/// their order.
fn reconsidered(
    chunk: &RawChunk,
    found: &[Line],
    was_rejected: &[bool],
    lines: &mut Lines,
) -> Chunk {
    // First those that are stored already, wherever they stand.
    for (line, was_rejected) in found.iter().zip(was_rejected) {
        if let (Line::Sighting(sighting), false) = (line, was_rejected) {
            lines.take(*sighting);
        }
    }
    let mut figures = Figures {
        rejected: 0,
        ..chunk.figures
    };
    let mut rejections = Rejections::default();
    let mut sightings = Vec::new();
    for ((number, line), was_rejected) in (chunk.first_line..).zip(found).zip(was_rejected) {
        match line {
            _ if !was_rejected => {}
            Line::Skipped(_) => {}
            Line::Sighting(sighting) => match lines.take(*sighting) {
                Some(sighting) => {
                    figures.accepted += 1;
                    sightings.push(sighting);
                }
                None => figures.duplicate += 1,
            },
            Line::Rejected(reason) => {
                figures.rejected += 1;
                rejections.add(number, reason.code());
            }
        }
    }
    Chunk {
        index: chunk.index,
        first_line: chunk.first_line,
        figures,
        rejections,
        raw: Bytes::new(),
        edition: lines.edition(),
        sightings,
    }
}

/// What is known of the rejected lines of a chunk.
struct Rejected<'a> {
    /// The number of the chunk's first line.
    first_line: u64,
    /// How many were rejected.
    lines: u64,
    /// The first thousand, by number.
    known: &'a Rejections,
}

impl Rejected<'_> {
    /// Which lines these are, if today's parser rejects as many when it reads them as they were read
    /// then, and first those that are known by number.
    fn as_stated(&self, as_stated: &[Line]) -> Option<Vec<bool>> {
        let was_rejected: Vec<_> = as_stated
            .iter()
            .map(|line| matches!(line, Line::Rejected(_)))
            .collect();
        let numbers = (self.first_line..).zip(&was_rejected);
        let numbers = numbers.filter(|(_, was_rejected)| **was_rejected);
        let mut numbers = numbers.map(|(number, _)| number);
        let mut known = self.known.lines.iter().map(|(number, _)| *number);
        let agree = known.all(|known| numbers.next() == Some(known));
        let count = was_rejected
            .iter()
            .filter(|was_rejected| **was_rejected)
            .count();
        (agree && count as u64 == self.lines).then_some(was_rejected)
    }

    /// Which lines these are when the parser is another one than then. Beyond those that are known by
    /// number it is known how many, which tells all if they are every line, or if as many can be
    /// read now as could then.
    fn by_number(&self, found: &[Line]) -> Option<Vec<bool>> {
        let mut was_rejected = vec![false; found.len()];
        let mut behind = 0;
        for (number, _) in &self.known.lines {
            let place = usize::try_from(number.checked_sub(self.first_line)?).ok()?;
            *was_rejected.get_mut(place)? = true;
            behind = place + 1;
        }
        let unknown = self.lines.checked_sub(self.known.lines.len() as u64)?;
        if unknown == 0 {
            return Some(was_rejected);
        }
        let rest = &found[behind..];
        let count = |is: fn(&Line) -> bool| rest.iter().filter(|line| is(line)).count() as u64;
        let sightings = count(|line| matches!(line, Line::Sighting(_)));
        let telling = count(|line| !matches!(line, Line::Skipped(_)));
        let all_were = telling == unknown;
        if !all_were && sightings + unknown != telling {
            return None;
        }
        for (line, was_rejected) in rest.iter().zip(&mut was_rejected[behind..]) {
            *was_rejected = match line {
                Line::Sighting(_) => all_were,
                Line::Skipped(_) => false,
                Line::Rejected(_) => true,
            };
        }
        Some(was_rejected)
    }
}

#[cfg(test)]
mod tests {
    use netmon_feeds::{Reason, Sighting, Skip};

    use super::*;
    use crate::store::botnets::MAX_REJECTED_LINES;

    const LISTED: u64 = MAX_REJECTED_LINES as u64;

    fn listed(rejected: impl Iterator<Item = u64>) -> (u64, Rejections) {
        let mut rejections = Rejections::default();
        let mut lines = 0;
        for line in rejected {
            rejections.add(line + 1, "unrecognised");
            lines += 1;
        }
        (lines, rejections)
    }

    fn then((lines, known): &(u64, Rejections)) -> Rejected<'_> {
        Rejected {
            first_line: 1,
            lines: *lines,
            known,
        }
    }

    fn found(lines: u64, of: impl Fn(u64) -> Line) -> Vec<Line> {
        (0..lines).map(of).collect()
    }

    fn sighting(_: u64) -> Line {
        Line::Sighting(Sighting {
            address: [1, 2, 3, 4].into(),
            port: None,
            seen_at: None,
            country: None,
        })
    }

    fn every_other(n: u64) -> Line {
        match n % 2 {
            0 => Line::Rejected(Reason::Nul),
            _ => sighting(n),
        }
    }

    #[test]
    fn lines_that_are_listed_are_known() {
        let listed = listed([2, 5].into_iter());
        let was_rejected = then(&listed).by_number(&found(10, sighting)).unwrap();
        let places: Vec<_> = (0..10).filter(|n| was_rejected[*n]).collect();
        assert_eq!(places, [2, 5]);
    }

    #[test]
    fn of_more_than_are_listed_all_or_none_can_be_told() {
        let all = listed(0..3 * LISTED);
        let was_rejected = then(&all).by_number(&found(3 * LISTED, sighting)).unwrap();
        assert!(was_rejected.iter().all(|was_rejected| *was_rejected));

        let lines = 4 * LISTED;
        let half = listed((0..lines).step_by(2));
        let was_rejected = then(&half).by_number(&found(lines, every_other)).unwrap();
        assert!((0..lines).all(|n| was_rejected[n as usize] == (n % 2 == 0)));
        assert_eq!(then(&half).by_number(&found(lines, sighting)), None);
    }

    #[test]
    fn lines_read_as_they_were_tell_which_were_rejected() {
        let lines = 4 * LISTED;
        let half = listed((0..lines).step_by(2));
        let was_rejected = then(&half).as_stated(&found(lines, every_other)).unwrap();
        assert!((0..lines).all(|n| was_rejected[n as usize] == (n % 2 == 0)));
        for other in [
            found(lines, sighting),
            found(lines, |n| every_other(n + 1)),
            found(lines, |_| Line::Skipped(Skip::Comment)),
        ] {
            assert_eq!(then(&half).as_stated(&other), None);
        }
    }
}
