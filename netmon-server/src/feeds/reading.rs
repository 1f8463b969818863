//! A log as chunks that are ready to be stored.

use std::{
    collections::HashSet,
    io::{self, Read},
    net::IpAddr,
};

use bytes::Bytes;
use netmon_feeds::{Cutter, Line, Options, Parser, RawChunk, lines};
use netmon_geo::{Place, names};
use time::OffsetDateTime;

use crate::{
    geo,
    store::botnets::{Chunk, EditionId, Figures, Rejections, Sighting},
};

/// Octets read at once.
const BUFFER: usize = 64 << 10;

/// Reads a log from its beginning to its end. Blocks, and uses the processor.
pub struct Reading<R> {
    source: R,
    /// `None` after the end.
    cutter: Option<Cutter>,
    buffer: Vec<u8>,
    /// What of the buffer is not cut yet.
    pending: std::ops::Range<usize>,
    lines: Lines,
}

impl<R: Read> Reading<R> {
    /// A log at its beginning.
    pub fn new(source: R, lines: Lines) -> Self {
        Self {
            source,
            cutter: Some(Cutter::new()),
            buffer: vec![0; BUFFER],
            pending: 0..0,
            lines,
        }
    }

    /// The next chunk; `None` after the last.
    ///
    /// # Errors
    /// When the source cannot be read. What is not a whole chunk by then is not given: sent again, the
    /// same chunk must come.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        Ok(self.raw()?.map(|raw| self.lines.chunk(raw)))
    }

    fn raw(&mut self) -> io::Result<Option<RawChunk>> {
        while let Some(cutter) = &mut self.cutter {
            if self.pending.is_empty() {
                let read = match self.source.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read?,
                };
                if read == 0 {
                    return Ok(self.cutter.take().and_then(Cutter::finish));
                }
                self.pending = 0..read;
            }
            let (taken, chunk) = cutter.push(&self.buffer[self.pending.clone()]);
            self.pending.start += taken;
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
        Ok(None)
    }
}

/// Reads lines: who was seen when, and where that is.
pub struct Lines {
    parser: Parser,
    received_at: OffsetDateTime,
    geo: geo::Current,
    edition: EditionId,
    /// Sightings of the chunk so far.
    seen: HashSet<(IpAddr, Option<u16>, OffsetDateTime)>,
}

impl Lines {
    /// For the lines of one log that came at a time, which is the time of lines without one.
    pub fn new(
        options: Options,
        received_at: OffsetDateTime,
        geo: geo::Current,
        edition: EditionId,
    ) -> Self {
        Self {
            parser: Parser::new(options),
            received_at,
            geo,
            edition,
            seen: HashSet::new(),
        }
    }

    /// Reads a chunk, in the order of chunks.
    pub fn chunk(&mut self, chunk: RawChunk) -> Chunk {
        self.seen.clear();
        let mut figures = Figures {
            lines: u64::from(chunk.lines),
            ..Figures::default()
        };
        let mut rejections = Rejections::default();
        let mut sightings = Vec::with_capacity(chunk.lines as usize);
        for (number, line) in (chunk.first_line..).zip(lines(&chunk.raw)) {
            match self.parser.line(line) {
                Line::Sighting(found) => match self.take(found) {
                    Some(sighting) => {
                        figures.accepted += 1;
                        sightings.push(sighting);
                    }
                    None => figures.duplicate += 1,
                },
                Line::Skipped(_) => {}
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
            raw: Bytes::from(chunk.raw),
            edition: self.edition,
            sightings,
        }
    }

    /// What the lines of a chunk are, in the order of chunks. None of them is [taken](Self::take) yet.
    pub(super) fn parse(&mut self, raw: &[u8]) -> Vec<Line> {
        self.seen.clear();
        lines(raw).map(|line| self.parser.line(line)).collect()
    }

    /// The sighting, unless the chunk has an equal one.
    pub(super) fn take(&mut self, found: netmon_feeds::Sighting) -> Option<Sighting> {
        let seen_at = found.seen_at.unwrap_or(self.received_at);
        if !self.seen.insert((found.address, found.port, seen_at)) {
            return None;
        }
        let place = self.locate(found.address, found.country);
        Some(Sighting::new(found.address, seen_at, found.port, place))
    }

    /// By which edition places are found.
    pub(super) fn edition(&self) -> EditionId {
        self.edition
    }

    /// Where no geo file knows an address, the country counts that the line gives.
    fn locate(&self, address: IpAddr, country: Option<[u8; 2]>) -> Place {
        let place = self.geo.locate(address);
        let stated = country.as_ref().and_then(|code| str::from_utf8(code).ok());
        match stated {
            Some(code) if place.is_unknown() && names::country(code).is_some() => {
                Place::new(code, "", "").unwrap_or_default()
            }
            _ => place,
        }
    }
}
