//! Whether every batch of an agent is accounted for.

use std::collections::BTreeMap;

use sqlx::{FromRow, PgConnection};

use super::{
    super::{
        ranges::{Range, Ranges},
        report::{Check, Finding, MAX_FINDINGS, Tally},
        sequences::{Account, Stream},
    },
    kind_name,
};

const STREAMS: &str = include_str!("../streams.sql");
const VERDICTS: &str = include_str!("../verdicts.sql");
const RECEIVED: &str = include_str!("../received.sql");

/// A stream by its run and kind.
pub(super) type StreamKey = (i64, i16);

/// What became of the batches of an agent.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Those above the floors, by stream.
    pub(super) accounts: BTreeMap<StreamKey, Account>,
    /// Those that will never come, as the agent says, also below the floors.
    pub(super) omitted: BTreeMap<StreamKey, Ranges>,
    /// Those that were refused, also below the floors.
    pub(super) refused: BTreeMap<StreamKey, Ranges>,
}

impl Books {
    /// Batches that are still with the agent.
    pub(super) fn outstanding(&self) -> u64 {
        self.accounts.values().map(|a| a.outstanding.count()).sum()
    }
}

#[derive(FromRow)]
struct StreamRow {
    epoch: i64,
    kind: i16,
    floor: i64,
    settled_through: i64,
    sealed_through: i64,
    over: bool,
}

#[derive(FromRow)]
struct Verdicts {
    epoch: i64,
    kind: i16,
    refused: bool,
    first: i64,
    last: i64,
}

#[derive(FromRow)]
struct Omission {
    epoch: i64,
    kind: i16,
    first_sequence: i64,
    last_sequence: i64,
    cause: String,
    records: i64,
}

/// Gives every batch its place, and tells of those that are not stored.
pub(super) async fn sequences(
    connection: &mut PgConnection,
    agent: i64,
    tally: &mut Tally,
) -> sqlx::Result<Books> {
    let rows: Vec<StreamRow> = sqlx::query_as(STREAMS)
        .bind(agent)
        .fetch_all(&mut *connection)
        .await?;
    let verdicts: Vec<Verdicts> = sqlx::query_as(VERDICTS)
        .bind(agent)
        .fetch_all(&mut *connection)
        .await?;
    let omissions: Vec<Omission> = sqlx::query_as(
        "SELECT epoch, kind, first_sequence, last_sequence, cause, records FROM ingest_omissions
         WHERE agent_id = $1 ORDER BY epoch, kind, first_sequence",
    )
    .bind(agent)
    .fetch_all(&mut *connection)
    .await?;
    let refusals: Vec<(i64, i16, i64)> =
        sqlx::query_as("SELECT epoch, kind, sequence FROM ingest_refusals WHERE agent_id = $1")
            .bind(agent)
            .fetch_all(&mut *connection)
            .await?;
    let entered = |refused: bool| {
        let of = verdicts.iter().filter(move |v| v.refused == refused);
        by_stream(of.map(|v| ((v.epoch, v.kind), v.first, v.last)))
    };
    let (mut stored, mut refused) = (entered(false), entered(true));
    let mut books = Books {
        omitted: by_stream(omissions.iter().map(Omission::range)),
        refused: by_stream(
            refusals
                .into_iter()
                .map(|(epoch, kind, n)| ((epoch, kind), n, n)),
        ),
        ..Books::default()
    };
    for row in rows {
        let key = (row.epoch, row.kind);
        let stream = Stream {
            floor: row.floor,
            settled_through: row.settled_through,
            sealed_through: row.sealed_through,
            over: row.over,
            stored: stored.remove(&key).unwrap_or_default(),
            refused: refused.remove(&key).unwrap_or_default(),
            omitted: books.omitted.get(&key).cloned().unwrap_or_default(),
        };
        let account = stream.account();
        lost(connection, agent, key, &account.lost, tally).await?;
        tell(key, &account, &omissions, tally);
        books.accounts.insert(key, account);
    }
    Ok(books)
}

fn by_stream(ranges: impl Iterator<Item = (StreamKey, i64, i64)>) -> BTreeMap<StreamKey, Ranges> {
    let mut streams: BTreeMap<StreamKey, Vec<Range>> = BTreeMap::new();
    for (key, first, last) in ranges {
        streams
            .entry(key)
            .or_default()
            .extend(Range::new(first, last));
    }
    let joined = |(key, ranges): (StreamKey, Vec<Range>)| (key, Ranges::from_iter(ranges));
    streams.into_iter().map(joined).collect()
}

impl Omission {
    fn range(&self) -> (StreamKey, i64, i64) {
        (
            (self.epoch, self.kind),
            self.first_sequence,
            self.last_sequence,
        )
    }
}

/// Tells of lost batches, with the times at which their neighbours came.
async fn lost(
    connection: &mut PgConnection,
    agent: i64,
    key: StreamKey,
    lost: &Ranges,
    tally: &mut Tally,
) -> sqlx::Result<()> {
    let kind = kind_name(key.1);
    tally.checked(Check::Sequences, lost.count());
    for (index, range) in lost.iter().enumerate() {
        let (epoch, name) = (key.0, batches(range));
        let detail = format!("{name} of {kind}, run {epoch}, are neither here nor with the agent");
        let mut finding = Finding::new(Check::Sequences, true, "lost", detail).of_batches(
            epoch,
            kind,
            range.first,
            range.last,
        );
        if index < MAX_FINDINGS {
            (finding.from, finding.to) = sqlx::query_as(RECEIVED)
                .bind(agent)
                .bind(epoch)
                .bind(key.1)
                .bind(range.first)
                .bind(range.last)
                .fetch_one(&mut *connection)
                .await?;
        }
        tally.add(finding);
    }
    Ok(())
}

/// Adds what there is to say of a stream that is no violation.
fn tell(key: StreamKey, account: &Account, omissions: &[Omission], tally: &mut Tally) {
    let kind = kind_name(key.1);
    let parts = [
        (
            &account.refused,
            "refused",
            "were refused: `netmon-server refusals` shows them",
        ),
        (
            &account.outstanding,
            "outstanding",
            "are still with the agent",
        ),
    ];
    let counts = [&account.stored, &account.omitted];
    let mut checked: u64 = counts.into_iter().map(Ranges::count).sum();
    for (ranges, cause, what) in parts {
        checked += ranges.count();
        for range in ranges.iter() {
            let detail = format!("{} of {kind}, run {}, {what}", batches(range), key.0);
            let finding = Finding::new(Check::Sequences, false, cause, detail);
            tally.add(finding.of_batches(key.0, kind, range.first, range.last));
        }
    }
    for omission in omissions.iter().filter(|o| (o.epoch, o.kind) == key) {
        let Some(range) = Range::new(omission.first_sequence, omission.last_sequence) else {
            continue;
        };
        let missing = account.omitted.within(range).count();
        if missing == 0 {
            continue;
        }
        let detail = format!(
            "{missing} batches of {kind} from {} to {}, run {}, were given up by the agent ({}), \
             at most {} records",
            range.first, range.last, key.0, omission.cause, omission.records
        );
        let finding = Finding::new(Check::Sequences, false, "omitted", detail);
        tally.add(finding.of_batches(key.0, kind, range.first, range.last));
    }
    tally.checked(Check::Sequences, checked);
}

fn batches(range: Range) -> String {
    match range.count() {
        1 => format!("batch {}", range.first),
        count => format!("{count} batches from {} to {}", range.first, range.last),
    }
}
