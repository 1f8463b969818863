//! Which rows belong to which batch.

use std::{collections::BTreeSet, ops::Range};

use super::{RAW, Rows, mark::Mark, place};
use crate::{
    agent_id::AgentId,
    store::{
        Observed, ObservedFold, Series, interfaces, late::Hour, ledger::Key, partitions::Day,
        reports, sightings, watched,
    },
};

/// One batch: its key, and where its rows end.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) end: Mark,
}

impl Rows {
    pub(in crate::store) fn key(&self, batch: usize) -> Key {
        self.batches[batch].key
    }

    /// Rows of a batch that go into partitioned tables.
    pub(in crate::store) fn row_count(&self, batch: usize) -> i32 {
        let rows = RAW.map(|series| self.rows_of(batch, series));
        i32::try_from(rows.iter().sum::<u32>()).unwrap_or(i32::MAX)
    }

    /// Rows of one table in a batch.
    pub(in crate::store) fn rows_of(&self, batch: usize, series: Series) -> u32 {
        let (start, end) = self.span(batch);
        let table = place(series);
        end.copies[table].rows_since(start.copies[table])
    }

    /// The encoded rows of one table in batches that follow each other.
    pub(in crate::store) fn encoded(&self, batches: Range<usize>, series: Series) -> &[u8] {
        let (start, end) = self.spanning(batches);
        let table = place(series);
        self.copies[table].between(start.copies[table], end.copies[table])
    }

    pub(in crate::store) fn interfaces_of(&self, batch: usize) -> &[interfaces::Sighting] {
        let (start, end) = self.span(batch);
        &self.interfaces[start.interfaces..end.interfaces]
    }

    pub(in crate::store) fn sightings_of(&self, batch: usize) -> &[sightings::Sighting] {
        let (start, end) = self.span(batch);
        &self.sightings[start.sightings..end.sightings]
    }

    /// NTP exchanges of a batch, for metrics, and whose they are.
    pub fn observed_of(&self, batch: usize) -> (AgentId, &[Observed]) {
        let (start, end) = self.span(batch);
        let agent = AgentId::from_bigint(self.key(batch).agent);
        (agent, &self.observed[start.observed..end.observed])
    }

    /// What the agent counted together of a batch's exchanges, for metrics.
    pub fn observed_folds_of(&self, batch: usize) -> &[ObservedFold] {
        let (start, end) = self.span(batch);
        &self.observed_folds[start.observed_folds..end.observed_folds]
    }

    pub(in crate::store) fn streams_of(&self, batch: usize) -> &[reports::Stream] {
        let (start, end) = self.span(batch);
        &self.streams[start.streams..end.streams]
    }

    pub(in crate::store) fn omissions_of(&self, batch: usize) -> &[reports::Omission] {
        let (start, end) = self.span(batch);
        &self.omissions[start.omissions..end.omissions]
    }

    pub(in crate::store) fn gaps_of(&self, batch: usize) -> &[reports::Gap] {
        let (start, end) = self.span(batch);
        &self.gaps[start.gaps..end.gaps]
    }

    /// What a batch says of watched addresses.
    pub(in crate::store) fn watched_of(&self, batch: usize) -> &[watched::Seen] {
        let (start, end) = self.span(batch);
        &self.watched[start.watched..end.watched]
    }

    /// The partitions that batches need.
    pub(in crate::store) fn days_of(&self, batches: Range<usize>) -> BTreeSet<(Series, Day)> {
        let (start, end) = self.spanning(batches);
        self.days[start.days..end.days].iter().copied().collect()
    }

    pub(in crate::store) fn hours_of(&self, batch: usize) -> &[(Series, Hour)] {
        let (start, end) = self.span(batch);
        &self.hours[start.hours..end.hours]
    }

    fn span(&self, batch: usize) -> (Mark, Mark) {
        self.spanning(batch..batch + 1)
    }

    fn spanning(&self, batches: Range<usize>) -> (Mark, Mark) {
        let before = |batch: usize| match batch.checked_sub(1) {
            Some(before) => self.batches[before].end,
            None => Mark::default(),
        };
        (before(batches.start), before(batches.end))
    }
}
