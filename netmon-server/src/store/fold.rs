//! Exchanges of one transaction, folded to a row each for those who have a row: clients and servers.

use netmon_common::wire::NtpAssociation;

use super::{
    names::Names,
    sightings::{Answer, Kiss, Sighting},
};

/// What a transaction knows of a client or server.
#[derive(Debug)]
pub(super) struct Folded<'a> {
    pub(super) agent: i64,
    pub(super) interface: &'a str,
    /// The newest exchange.
    pub(super) newest: Sighting,
    pub(super) first_us: i64,
    /// Requests seen: what a client counts as its sessions.
    pub(super) requests: i64,
    pub(super) answered: i64,
    pub(super) kisses: i64,
    /// The newest response.
    pub(super) answer: Option<Answer>,
    /// The newest kiss-o'-death, and when it came.
    pub(super) kiss: Option<(Kiss, i64)>,
}

/// Folds sightings, each with its agent, by agent, interface and what `of` says, in the order of
/// these keys, in which every transaction locks the rows.
pub(super) fn fold<'a, K: Ord>(
    names: &'a Names,
    mut sightings: Vec<(i64, &Sighting)>,
    of: impl Fn(&Sighting) -> K,
) -> Vec<Folded<'a>> {
    let key = |(agent, s): &(i64, &Sighting)| (*agent, names.get(s.interface), of(s));
    // Stable: of two at the same time the later in its batch counts.
    sightings.sort_by(|a, b| key(a).cmp(&key(b)));
    let alike = sightings.chunk_by(|a, b| key(a) == key(b));
    alike
        .map(|alike| {
            let (agent, first) = alike[0];
            let mut folded = Folded {
                agent,
                interface: names.get(first.interface),
                newest: *first,
                first_us: first.first_us,
                requests: 0,
                answered: 0,
                kisses: 0,
                answer: None,
                kiss: None,
            };
            for (_, sighting) in alike {
                folded.add(sighting);
            }
            folded
        })
        .collect()
}

impl Folded<'_> {
    fn add(&mut self, sighting: &Sighting) {
        self.requests += sighting.requests;
        self.answered += sighting.answered;
        self.kisses += sighting.kisses;
        self.first_us = self.first_us.min(sighting.first_us);
        if sighting.at_us >= self.newest.at_us {
            self.newest = *sighting;
        }
        let at_us = |answer: Answer| answer.at_us;
        if sighting.answer.map(at_us) >= self.answer.map(at_us) {
            self.answer = sighting.answer;
        }
        let came_us = |(_, came_us): (Kiss, i64)| came_us;
        if sighting.kiss.map(came_us) >= self.kiss.map(came_us) {
            self.kiss = sighting.kiss;
        }
    }
}

/// One array per column.
pub(super) struct Columns<'a>(pub(super) &'a [Folded<'a>]);

impl<'a> Columns<'a> {
    pub(super) fn each<T>(&self, column: impl Fn(&Folded<'a>) -> T) -> Vec<T> {
        self.0.iter().map(column).collect()
    }

    pub(super) fn association<T>(
        &self,
        column: impl Fn(&NtpAssociation) -> Option<T>,
    ) -> Vec<Option<T>> {
        self.each(|folded| folded.newest.association.as_ref().and_then(&column))
    }

    pub(super) fn answer<T>(&self, column: impl Fn(&Answer) -> Option<T>) -> Vec<Option<T>> {
        self.each(|folded| folded.answer.as_ref().and_then(&column))
    }
}
