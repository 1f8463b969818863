//! What clients have sent and been told: what must be stored, whatever was killed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::{Context as _, Result, ensure};

use super::{
    answer::{Answer, Figures},
    log::{Line, Log},
    stored::Piece,
};

/// A node in an hour: family, address, the hour's beginning.
pub type Seen = (&'static str, IpAddr, u64);

/// How often, and the first and the last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sightings {
    pub count: u64,
    pub first: u64,
    pub last: u64,
}

/// The books of all clients.
#[derive(Debug, Default)]
pub struct Ledger {
    logs: Mutex<BTreeMap<String, Entry>>,
    /// What comes of logs that were found whole, and of which nothing is kept but this.
    settled: Mutex<HashMap<Seen, Sightings>>,
    vain: AtomicU64,
    again: AtomicU64,
}

/// A log, and what its sender was told.
#[derive(Clone, Debug)]
pub struct Entry {
    pub log: Arc<Log>,
    pub answer: Option<Answer>,
}

impl Ledger {
    /// Notes a log before its first octet is sent.
    pub fn begin(&self, log: &Arc<Log>) {
        let entry = Entry {
            log: Arc::clone(log),
            answer: None,
        };
        lock(&self.logs).insert(log.key.clone(), entry);
    }

    /// Notes that a log is acknowledged.
    pub fn acknowledge(&self, log: &Log, answer: Answer) {
        if let Some(entry) = lock(&self.logs).get_mut(&log.key) {
            entry.answer = Some(answer);
        }
    }

    /// Notes that a request was not answered.
    pub fn tried_in_vain(&self) {
        self.vain.fetch_add(1, Relaxed);
    }

    /// Notes that an acknowledged log was sent again and answered in the same way.
    pub fn sent_again(&self) {
        self.again.fetch_add(1, Relaxed);
    }

    /// Requests that were not answered, and logs answered twice.
    pub fn requests(&self) -> [u64; 2] {
        [&self.vain, &self.again].map(|counter| counter.load(Relaxed))
    }

    /// The keys of logs that are not acknowledged.
    pub fn under_way(&self) -> Vec<String> {
        let logs = lock(&self.logs);
        let open = logs.iter().filter(|(_, entry)| entry.answer.is_none());
        open.map(|(key, _)| key.clone()).collect()
    }

    /// The logs that are not settled, as they are now.
    pub fn open(&self) -> BTreeMap<String, Entry> {
        lock(&self.logs).clone()
    }

    /// What must be stored of settled logs.
    pub fn settled(&self) -> HashMap<Seen, Sightings> {
        lock(&self.settled).clone()
    }

    /// Puts logs away that are acknowledged and were found whole.
    pub fn settle(&self, whole: &[(String, Pieces)]) {
        let mut logs = lock(&self.logs);
        let mut settled = lock(&self.settled);
        for (key, pieces) in whole {
            logs.remove(key);
            add(&mut settled, &pieces.sightings);
        }
    }
}

/// What the stored pieces of a log come to, by the log itself.
#[derive(Debug, Default)]
pub struct Pieces {
    pub figures: Figures,
    pub sightings: HashMap<Seen, Sightings>,
}

/// Reads the stored pieces of a log in the log.
///
/// # Errors
/// When the pieces do not follow each other, or say something else than the log.
pub fn read(log: &Log, stored: &[Piece]) -> Result<Pieces> {
    let mut pieces = Pieces::default();
    for (index, piece) in stored.iter().enumerate() {
        let first = pieces.figures.lines;
        ensure!(
            piece.index == index as u64 && piece.first_line == first + 1,
            "piece {index} of {} begins after line {first}: {piece:?}",
            log.key
        );
        let lines = log
            .lines
            .get(first as usize..(first + piece.figures.lines) as usize)
            .with_context(|| format!("{} has not the lines of {piece:?}", log.key))?;
        let figures = read_piece(log.family, lines, &mut pieces.sightings);
        ensure!(
            figures == piece.figures,
            "{}: {figures:?} is in the log, {piece:?} is stored",
            log.key
        );
        pieces.figures += figures;
    }
    Ok(pieces)
}

/// Within a piece, a line that came already is a duplicate.
fn read_piece(
    family: &'static str,
    lines: &[Line],
    sightings: &mut HashMap<Seen, Sightings>,
) -> Figures {
    let mut before = HashSet::new();
    let mut figures = Figures {
        lines: lines.len() as u64,
        ..Figures::default()
    };
    for line in lines {
        match *line {
            Line::Seen(address, at, _) if before.insert(line) => {
                figures.accepted += 1;
                let one = Sightings {
                    count: 1,
                    first: at,
                    last: at,
                };
                merge(sightings, (family, address, at / 3600 * 3600), one);
            }
            Line::Seen(..) => figures.duplicate += 1,
            Line::Refused(_) => figures.rejected += 1,
            Line::Skipped(_) => {}
        }
    }
    figures
}

/// Adds sightings to others.
pub fn add(to: &mut HashMap<Seen, Sightings>, more: &HashMap<Seen, Sightings>) {
    for (seen, sightings) in more {
        merge(to, *seen, *sightings);
    }
}

/// Adds sightings to those of the same key.
pub fn merge<K: Eq + Hash>(to: &mut HashMap<K, Sightings>, key: K, more: Sightings) {
    to.entry(key)
        .and_modify(|known| {
            known.count += more.count;
            known.first = known.first.min(more.first);
            known.last = known.last.max(more.last);
        })
        .or_insert(more);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: Vec<Line>) -> Log {
        Log {
            family: "mozi",
            key: "key".to_owned(),
            lines,
            text: String::new(),
        }
    }

    fn piece(index: u64, first_line: u64, figures: [u64; 4]) -> Piece {
        let [lines, accepted, duplicate, rejected] = figures;
        Piece {
            index,
            first_line,
            figures: Figures {
                lines,
                accepted,
                duplicate,
                rejected,
            },
        }
    }

    #[test]
    fn a_line_that_comes_again_counts_in_another_piece_only() {
        let seen = Line::Seen("45.0.0.1".parse().unwrap(), 7200, 23);
        let log = log(vec![seen, seen, Line::Refused(true), seen]);
        let stored = [piece(0, 1, [3, 1, 1, 1]), piece(1, 4, [1, 1, 0, 0])];
        let pieces = read(&log, &stored).unwrap();
        assert_eq!(pieces.sightings.values().next().unwrap().count, 2);
        assert_eq!(pieces.figures.lines, 4);
    }

    #[test]
    fn pieces_that_leave_lines_out_or_count_otherwise_are_found() {
        let log = log(vec![Line::Skipped(true); 4]);
        for wrong in [
            piece(0, 2, [1, 0, 0, 0]),
            piece(1, 1, [1, 0, 0, 0]),
            piece(0, 1, [1, 1, 0, 0]),
            piece(0, 1, [5, 0, 0, 0]),
        ] {
            assert!(read(&log, &[wrong]).is_err(), "{wrong:?}");
        }
    }
}
