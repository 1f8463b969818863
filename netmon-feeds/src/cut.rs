//! Chunks of whole lines, cut at the same places however the octets arrive.

use memchr::{memchr, memchr_iter};

/// Longest line, octets without its end; longer ones are rejected, and only their beginning is kept.
pub const MAX_LINE: usize = 64 << 10;

/// Lines of a chunk, at most.
pub const CHUNK_LINES: u32 = 16_384;

/// Octets of a chunk: the line that reaches them is its last.
pub const CHUNK_OCTETS: usize = 4 << 20;

/// What is kept of a line that is too long: enough that it still is, whatever ends it.
const KEPT: usize = MAX_LINE + 2;

/// Some lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawChunk {
    /// 0, 1, 2, …
    pub index: u32,
    /// The number of its first line, from 1.
    pub first_line: u64,
    /// How many lines.
    pub lines: u32,
    /// The lines with their ends; the last one of a log may lack it.
    pub raw: Vec<u8>,
}

/// Cuts a log into chunks. Its memory is that of one chunk and one line.
#[derive(Debug)]
pub struct Cutter {
    chunk: RawChunk,
    /// Where in the chunk the line begins that is not complete.
    line: usize,
}

impl Default for Cutter {
    fn default() -> Self {
        Self::new()
    }
}

impl Cutter {
    /// A cutter at the beginning of a log.
    pub fn new() -> Self {
        let chunk = RawChunk {
            first_line: 1,
            ..RawChunk::default()
        };
        Self { chunk, line: 0 }
    }

    /// Takes octets until a chunk is complete, which is given, or all are taken; says how many it
    /// took. Those that are left are for the next call.
    pub fn push(&mut self, octets: &[u8]) -> (usize, Option<RawChunk>) {
        let mut taken = 0;
        for end in memchr_iter(b'\n', octets) {
            self.keep(&octets[taken..end]);
            self.chunk.raw.push(b'\n');
            self.chunk.lines += 1;
            self.line = self.chunk.raw.len();
            taken = end + 1;
            if self.chunk.lines == CHUNK_LINES || self.chunk.raw.len() >= CHUNK_OCTETS {
                return (taken, Some(self.next()));
            }
        }
        self.keep(&octets[taken..]);
        (octets.len(), None)
    }

    /// The last chunk, at the end of the log.
    pub fn finish(mut self) -> Option<RawChunk> {
        if self.chunk.raw.len() > self.line {
            self.chunk.lines += 1;
        }
        (self.chunk.lines > 0).then_some(self.chunk)
    }

    /// Adds to the line that is not complete.
    fn keep(&mut self, part: &[u8]) {
        let room = KEPT.saturating_sub(self.chunk.raw.len() - self.line);
        self.chunk
            .raw
            .extend_from_slice(&part[..part.len().min(room)]);
    }

    fn next(&mut self) -> RawChunk {
        let next = RawChunk {
            index: self.chunk.index.saturating_add(1),
            first_line: self.chunk.first_line + u64::from(self.chunk.lines),
            lines: 0,
            // As much as this one took: the next one is likely to be like it.
            raw: Vec::with_capacity(self.chunk.raw.len()),
        };
        self.line = 0;
        std::mem::replace(&mut self.chunk, next)
    }
}

/// The lines of a chunk, without the line feeds that end them.
pub fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, next) = match memchr(b'\n', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &[][..]),
        };
        rest = next;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<RawChunk> {
        let mut cutter = Cutter::new();
        let mut chunks = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (taken, chunk) = cutter.push(rest);
                rest = &rest[taken..];
                chunks.extend(chunk);
            }
        }
        chunks.extend(cutter.finish());
        chunks
    }

    #[test]
    fn chunks_are_the_same_however_octets_arrive() {
        let mut log = Vec::new();
        for n in 0..40_000 {
            log.extend_from_slice(format!("line {n}\n").as_bytes());
        }
        log.extend_from_slice(&vec![b'x'; 3 * MAX_LINE]);
        log.extend_from_slice(b"\nlast");
        let whole = cut(&[&log]);
        for size in [1, 7, 4096, 100_000] {
            let pieces: Vec<_> = log.chunks(size).collect();
            assert_eq!(cut(&pieces), whole, "{size}");
        }
        let counts: Vec<_> = whole.iter().map(|chunk| chunk.lines).collect();
        assert_eq!(counts, [16_384, 16_384, 7_234]);
        assert_eq!(whole[2].first_line, 32_769);
        assert_eq!(whole[2].index, 2);
        for chunk in &whole {
            assert_eq!(lines(&chunk.raw).count(), chunk.lines as usize);
        }
    }

    #[test]
    fn a_chunk_ends_with_the_line_that_fills_it() {
        let line = [&vec![b'x'; MAX_LINE - 1][..], b"\n"].concat();
        let log = line.repeat(100);
        let chunks = cut(&[&log]);
        assert_eq!(chunks[0].raw.len(), CHUNK_OCTETS);
        assert_eq!(chunks.iter().map(|chunk| chunk.lines).sum::<u32>(), 100);
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_a_long_one() {
        let mut cutter = Cutter::new();
        for _ in 0..1000 {
            assert_eq!(cutter.push(&vec![b'x'; 1 << 20]), (1 << 20, None));
        }
        let (_, none) = cutter.push(b"\nshort\n");
        assert!(none.is_none());
        let chunk = cutter.finish().unwrap();
        assert_eq!(chunk.raw.len(), KEPT + 1 + 6);
        assert_eq!(chunk.lines, 2);
        assert!(lines(&chunk.raw).next().unwrap().len() > MAX_LINE + 1);
    }

    #[test]
    fn nothing_is_no_chunk_and_a_missing_last_end_is_no_loss() {
        assert_eq!(cut(&[]), []);
        assert_eq!(cut(&[b"one\ntwo"])[0].lines, 2);
        assert_eq!(cut(&[b"one\ntwo\n"])[0].lines, 2);
        assert_eq!(cut(&[b"\n\n"])[0].lines, 2);
        assert_eq!(lines(b"one\n\ntwo").count(), 3);
    }
}
