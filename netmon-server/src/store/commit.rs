//! The one transaction that stores a group of batches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
};

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{
    Refused, Rows, Series, Store, StoreError, agents, clients,
    copy::{HEADER, TRAILER},
    error::counted,
    interfaces, late,
    lease::Lease,
    ledger::{self, Key},
    reports,
    rows::RAW,
    servers, staging,
    target::Target,
    watched::{Ready, SightingCounts},
};
use crate::metrics::Table;

/// COPY data goes out in pieces of this size, so that a connection's buffer stays small.
const PIECE: usize = 128 << 10;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Stored now.
    Stored(RowCounts),
    /// Stored by an earlier attempt.
    Duplicate,
    /// Refused earlier; the first verdict stands.
    Refused(Refused),
}

/// What became of a group of batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupCommitted {
    /// The verdict on each, in their order.
    pub verdicts: Vec<Committed>,
    /// Rows inserted or updated in all.
    pub rows: RowCounts,
    /// Rows of series that were there already although their batches had no ledger row; `None` as
    /// a rule, when nothing was there.
    pub present: Option<u64>,
    /// What became of sightings of watched addresses.
    pub sightings: SightingCounts,
}

/// Rows written per table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Frames.
    pub bandwidth: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Folds of exchanges.
    pub folds: u64,
    /// Readings of hosts.
    pub system: u64,
    /// Questions of NTP modes 6 and 7.
    pub controls: u64,
    /// NTP clients inserted or updated.
    pub clients: u64,
    /// NTP servers inserted or updated.
    pub servers: u64,
    /// Interfaces inserted or updated.
    pub interfaces: u64,
    /// Communications with watched addresses inserted or updated.
    pub communications: u64,
}

impl RowCounts {
    /// The counts by table, for metrics.
    pub fn by_table(self) -> [(Table, u64); 9] {
        [
            (Table::Bandwidth, self.bandwidth),
            (Table::Exchanges, self.exchanges),
            (Table::Folds, self.folds),
            (Table::System, self.system),
            (Table::Controls, self.controls),
            (Table::Clients, self.clients),
            (Table::Servers, self.servers),
            (Table::Interfaces, self.interfaces),
            (Table::Communications, self.communications),
        ]
    }
}

/// How batches and their rows get into their tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// All by COPY, as if nothing of it were there, which is the rule: every group would pay for a
    /// look that seldom finds anything.
    New,
    /// Leaving out batches that have their verdict.
    Known,
    /// And rows that are there although their batches are new, through a table of the
    /// transaction's own.
    Staging,
}

/// A transaction of a group.
struct Group<'a> {
    store: &'a Store,
    rows: &'a Rows,
    batches: Range<usize>,
    way: Way,
    /// The database's clock at the begin.
    db_now: OffsetDateTime,
    received_at: OffsetDateTime,
}

/// Stores those of the batches that have no verdict yet.
pub(super) async fn commit(
    store: &Store,
    rows: &Rows,
    batches: Range<usize>,
    way: Way,
) -> Result<GroupCommitted, StoreError> {
    // Before the transaction and on a connection given back: a commit never holds two.
    let days = rows.days_of(batches.clone());
    store.partitions.ensure(&store.pool, &days).await?;
    let has_sightings = |batch: &usize| !rows.watched_of(*batch).is_empty();
    let mut with_sightings: Vec<usize> = batches.clone().filter(has_sightings).collect();
    let (mut lease, group, accepted, verdicts, ready) = loop {
        let ready = Ready::look_up(store, rows, &with_sightings).await?;
        let (mut lease, db_now) = Lease::begin_at(&store.pool).await?;
        let group = Group {
            store,
            rows,
            batches: batches.clone(),
            way,
            db_now,
            received_at: OffsetDateTime::now_utc(),
        };
        let (accepted, verdicts) = group.enter(lease.connection()).await?;
        let left: Vec<usize> = accepted.iter().copied().filter(has_sightings).collect();
        if left == with_sightings || left.is_empty() {
            let ready = if left.is_empty() {
                Ready::default()
            } else {
                ready
            };
            break (lease, group, accepted, verdicts, ready);
        }
        // Some are stored already, and what is stored never becomes less.
        lease.roll_back().await?;
        with_sightings = left;
    };
    let connection = lease.connection();
    let mut committed = GroupCommitted::default();
    if accepted.is_empty() {
        lease.roll_back().await?;
    } else {
        let present = group.insert(connection, &accepted).await?;
        let updates = group.update(connection, &accepted, &present).await?;
        let (sightings, written) = ready.write(connection).await?;
        lease.commit().await?;
        for written in written {
            store.botnets().written(written);
        }
        store
            .written
            .remember(&updates.interfaces, &updates.agents, group.received_at);
        committed.rows = group.counts(&accepted);
        committed.rows.clients = updates.clients;
        committed.rows.servers = updates.servers;
        committed.rows.interfaces = updates.interfaces.len() as u64;
        committed.rows.communications = sightings.communications;
        committed.sightings = sightings;
        committed.present = present.found;
    }
    committed.verdicts = group.verdicts(&accepted, &verdicts);
    Ok(committed)
}

/// What was written of the tables that are updated in place.
struct Updates<'a> {
    interfaces: Vec<interfaces::Interface<'a>>,
    agents: Vec<i64>,
    clients: u64,
    servers: u64,
}

/// What the staging way found in the tables.
#[derive(Default)]
struct Present {
    found: Option<u64>,
    /// Batches whose exchanges, or folds of them, were there: their clients are counted already.
    counted: HashSet<Key>,
}

impl<'a> Group<'a> {
    /// Enters the batches into the ledger. Gives the places of those that are to be stored, in
    /// their order, and the verdicts that the others have.
    async fn enter(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(Vec<usize>, HashMap<Key, Committed>), StoreError> {
        // In the order of the keys, and the first of equal ones.
        let mut first: BTreeMap<Key, usize> = BTreeMap::new();
        for batch in self.batches.clone() {
            first.entry(self.rows.key(batch)).or_insert(batch);
        }
        let entries: Vec<_> = first
            .iter()
            .map(|(key, batch)| (*key, Some(self.rows.row_count(*batch))))
            .collect();
        // The ledger comes first: another copy of a batch waits here, holding nothing but earlier
        // keys, until this transaction ended.
        let mut entered = match self.way {
            Way::New => ledger::enter_new(connection, &entries, self.received_at).await?,
            Way::Known | Way::Staging => {
                ledger::enter(connection, &entries, self.received_at).await?
            }
        };
        for key in &ledger::below_floors(connection, &entered).await? {
            ledger::withdraw(connection, &[*key]).await?;
            entered.remove(key);
        }
        let others: Vec<Key> = first
            .keys()
            .filter(|key| !entered.contains(key))
            .copied()
            .collect();
        let verdicts = match others.is_empty() {
            true => HashMap::new(),
            false => ledger::verdicts(connection, &others).await?,
        };
        let mut accepted: Vec<_> = first
            .into_iter()
            .filter_map(|(key, batch)| entered.contains(&key).then_some(batch))
            .collect();
        accepted.sort_unstable();
        Ok((accepted, verdicts))
    }

    /// Writes the rows of the series.
    async fn insert(
        &self,
        connection: &mut PgConnection,
        accepted: &[usize],
    ) -> Result<Present, StoreError> {
        let mut present = Present::default();
        for series in RAW {
            let sent: u64 = accepted
                .iter()
                .map(|batch| u64::from(self.rows.rows_of(*batch, series)))
                .sum();
            let Some(target) = Target::of(series).filter(|_| sent > 0) else {
                continue;
            };
            let parts = runs(accepted).map(|run| self.rows.encoded(run, series));
            match self.way {
                Way::New | Way::Known => {
                    let statement = target.copy_into(target.table);
                    let stored = copy(connection, &statement, parts).await;
                    counted(target.table, sent, stored.map_err(StoreError::of_rows)?)?;
                }
                Way::Staging => {
                    let new = staging::insert(connection, &target, sent, parts).await?;
                    *present.found.get_or_insert(0) += sent - new.rows;
                    if series.leader() == Series::Exchanges {
                        let of_series = |batch: &&usize| self.rows.rows_of(**batch, series) > 0;
                        let keys = accepted.iter().filter(of_series);
                        let keys = keys.map(|batch| self.rows.key(*batch));
                        present.counted.extend(keys.filter(|key| !new.has(key)));
                    }
                }
            }
        }
        Ok(present)
    }

    /// Writes what is updated in place, table after table in the order in which every transaction
    /// locks them.
    async fn update(
        &self,
        connection: &mut PgConnection,
        accepted: &[usize],
        present: &Present,
    ) -> Result<Updates<'a>, StoreError> {
        let rows = self.rows;
        let agent = |batch: &usize| rows.key(*batch).agent;
        let seen = accepted.iter().flat_map(|batch| {
            let of = rows.interfaces_of(*batch).iter();
            of.map(move |sighting| (agent(batch), sighting))
        });
        let mut interfaces = interfaces::fold(&rows.names, seen.collect());
        self.store
            .written
            .retain_news(&mut interfaces, self.received_at);
        interfaces::upsert(connection, &interfaces).await?;

        let new = accepted
            .iter()
            .filter(|batch| !present.counted.contains(&rows.key(**batch)));
        let seen = new.flat_map(|batch| {
            let of = rows.sightings_of(*batch).iter();
            of.map(move |sighting| (agent(batch), sighting))
        });
        let seen: Vec<_> = seen.collect();
        let servers = servers::fold(&rows.names, seen.clone());
        let clients = clients::fold(&rows.names, seen);
        clients::upsert(connection, &clients).await?;
        servers::upsert(connection, &servers).await?;

        let mut agents = Vec::from_iter(accepted.iter().map(agent).collect::<BTreeSet<_>>());
        self.store.written.retain_due(&mut agents, self.received_at);
        agents::seen(connection, &agents, self.received_at).await?;

        let streams = accepted.iter().flat_map(|batch| rows.streams_of(*batch));
        reports::write_streams(connection, streams.copied().collect(), self.received_at).await?;
        let omissions = accepted.iter().flat_map(|batch| rows.omissions_of(*batch));
        let omissions = omissions.copied().collect();
        reports::write_omissions(connection, omissions, self.received_at).await?;
        let gaps = accepted.iter().flat_map(|batch| rows.gaps_of(*batch));
        reports::write_gaps(connection, gaps.copied().collect()).await?;

        let hours = accepted.iter().flat_map(|batch| {
            let of = rows.hours_of(*batch).iter();
            of.map(move |(series, hour)| (agent(batch), *series, *hour))
        });
        late::mark(connection, self.db_now, &hours.collect()).await?;
        Ok(Updates {
            interfaces,
            agents,
            clients: clients.len() as u64,
            servers: servers.len() as u64,
        })
    }

    fn verdicts(&self, accepted: &[usize], others: &HashMap<Key, Committed>) -> Vec<Committed> {
        let verdict = |batch: usize| {
            if accepted.binary_search(&batch).is_ok() {
                return Committed::Stored(self.counts(&[batch]));
            }
            // Not among them: it has the key of an earlier one in the group.
            let earlier = others.get(&self.rows.key(batch));
            earlier.cloned().unwrap_or(Committed::Duplicate)
        };
        self.batches.clone().map(verdict).collect()
    }

    /// Rows of series.
    fn counts(&self, batches: &[usize]) -> RowCounts {
        let [bandwidth, exchanges, folds, system, controls] = RAW.map(|series| {
            let of = |batch: &usize| u64::from(self.rows.rows_of(*batch, series));
            batches.iter().map(of).sum()
        });
        RowCounts {
            bandwidth,
            exchanges,
            folds,
            system,
            controls,
            ..RowCounts::default()
        }
    }
}

/// Numbers in ascending order as ranges of those that follow each other.
fn runs(numbers: &[usize]) -> impl Iterator<Item = Range<usize>> {
    numbers
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| run[0]..run[run.len() - 1] + 1)
}

/// Sends encoded rows; gives how many the database took.
pub(super) async fn copy<'a>(
    connection: &mut PgConnection,
    statement: &str,
    parts: impl Iterator<Item = &'a [u8]>,
) -> sqlx::Result<u64> {
    let mut copy = connection.copy_in_raw(statement).await?;
    copy.send(HEADER).await?;
    for part in parts {
        for piece in part.chunks(PIECE) {
            copy.send(piece).await?;
        }
    }
    copy.send(TRAILER).await?;
    copy.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_one_run() {
        let ranges: Vec<_> = runs(&[0, 1, 2, 5, 7, 8]).collect();
        assert_eq!(ranges, [0..3, 5..6, 7..9]);
        assert_eq!(runs(&[]).count(), 0);
    }
}
