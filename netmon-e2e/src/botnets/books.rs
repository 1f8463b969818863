//! Whether exactly what was sent is stored.

use std::{
    collections::HashMap,
    fmt::{self, Debug},
    hash::Hash,
};

use anyhow::{Result, ensure};

use super::{
    ledger::{self, Entry, Ledger},
    site::Site,
    stored::{Amounts, Stored},
};

/// What was found at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Logs that were on their way when something was killed, by what was stored of them afterwards:
    /// nothing, a part of the pieces, all of them.
    pub interrupted: [u64; 3],
    /// Logs that were not acknowledged.
    pub under_way: u64,
    /// Everything that is stored.
    pub logs: u64,
    pub lines: u64,
    pub nodes: u64,
    pub communications: u64,
}

impl Found {
    /// In so many rounds a log is surely interrupted between two of its pieces.
    pub const ROUNDS_TO_SHOW: u32 = 25;
}

/// What was found in all rounds.
#[derive(Debug, Default)]
pub struct Tally {
    interrupted: [u64; 3],
    last: Found,
    requests: [u64; 2],
}

impl Tally {
    pub fn add(&mut self, found: &Found) {
        for (sum, more) in self.interrupted.iter_mut().zip(found.interrupted) {
            *sum += more;
        }
    }

    pub fn finally(&mut self, found: &Found, ledger: &Ledger) {
        self.last = *found;
        self.requests = ledger.requests();
    }

    /// Whether logs were interrupted of which a part was stored.
    pub fn shows_something(&self) -> bool {
        self.interrupted[1] > 0
    }
}

/// Compares everything that is stored with what was sent; `interrupted` were on their way when
/// something was killed. Clients may go on.
///
/// # Errors
/// The first difference.
pub fn check(site: &Site, ledger: &Ledger, interrupted: &[String]) -> Result<Found> {
    // In this order: what is acknowledged by now must be stored, and what is stored by then was begun.
    let acknowledged = ledger.open();
    let stored = Stored::read(site)?;
    let begun = ledger.open();

    let mut expected = ledger.settled();
    let mut found = Found::default();
    let mut whole = Vec::new();
    for (key, entry) in &begun {
        let pieces = stored.pieces.get(key).map_or(&[][..], Vec::as_slice);
        let known = ledger::read(&entry.log, pieces)?;
        ledger::add(&mut expected, &known.sightings);
        let lines = entry.log.lines.len() as u64;
        let state = match known.figures.lines {
            0 => 0,
            some if some < lines => 1,
            _ => 2,
        };
        if interrupted.contains(key) {
            found.interrupted[state] += 1;
        }
        let answer = acknowledged
            .get(key)
            .and_then(|Entry { answer, .. }| answer.as_ref());
        let Some(answer) = answer else {
            found.under_way += u64::from(entry.answer.is_none());
            continue;
        };
        ensure!(
            known.figures == answer.figures && stored.finished.contains(key),
            "{key} is acknowledged by {answer}, and {:?} is stored",
            known.figures
        );
        whole.push((key.clone(), known));
    }

    same("node in an hour", &expected, &stored.seen)?;
    let mut nodes = HashMap::new();
    for ((family, address, _), sightings) in &stored.seen {
        ledger::merge(&mut nodes, (*family, *address), *sightings);
    }
    let counters = stored
        .nodes
        .iter()
        .map(|(key, node)| (*key, node.sightings));
    same("node", &nodes, &counters.collect())?;
    let mut places = HashMap::<_, Amounts>::new();
    for ((family, _), node) in &stored.nodes {
        let amounts = places.entry((*family, node.place)).or_default();
        amounts.nodes += 1;
        amounts.communications += node.sightings.count as i64;
    }
    let mut statistics = stored.places;
    statistics.retain(|_, amounts| *amounts != Amounts::default());
    same("place", &places, &statistics)?;

    found.logs = stored.pieces.len() as u64;
    let pieces = stored.pieces.values().flatten();
    found.lines = pieces.map(|piece| piece.figures.lines).sum();
    found.nodes = stored.nodes.len() as u64;
    found.communications = stored.seen.values().map(|seen| seen.count).sum();
    ledger.settle(&whole);
    Ok(found)
}

/// Fails with the first difference.
fn same<K, V>(what: &str, expected: &HashMap<K, V>, stored: &HashMap<K, V>) -> Result<()>
where
    K: Debug + Eq + Hash,
    V: Debug + PartialEq,
{
    for (key, value) in expected {
        let is = stored.get(key);
        ensure!(
            is == Some(value),
            "{what} {key:?}: {value:?} is expected, {is:?} is stored"
        );
    }
    for (key, value) in stored {
        ensure!(
            expected.contains_key(key),
            "{what} {key:?}: nothing is expected, {value:?} is stored"
        );
    }
    Ok(())
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [nothing, part, all] = self.interrupted;
        write!(
            f,
            "{} logs interrupted: {nothing} not stored, {part} in part, {all} whole; {} lines, {} nodes, {} \
             communications, all as sent",
            nothing + part + all,
            self.lines,
            self.nodes,
            self.communications
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [nothing, part, all] = self.interrupted;
        let [vain, again] = self.requests;
        write!(
            f,
            "{} logs of {} lines are stored: {} nodes, {} communications; {} times a log was interrupted: \
             {nothing} times nothing of it was stored afterwards, {part} times a part, {all} times all; {vain} \
             requests were not answered, {again} logs sent again when acknowledged",
            self.last.logs,
            self.last.lines,
            self.last.nodes,
            self.last.communications,
            nothing + part + all
        )
    }
}
