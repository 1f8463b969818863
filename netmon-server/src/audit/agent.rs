//! One agent, at one moment.

use std::collections::BTreeMap;

use netmon_common::wire::Kind;
use sqlx::{Connection as _, FromRow, PgConnection, PgPool};
use time::{Duration, OffsetDateTime};

use super::{
    counters::{Break, Evidence, Gap, Missing, Place, Totals},
    ranges::{Range, Ranges},
    report::{Check, Finding, Tally},
    sequences::{Account, Stream},
};

const STREAMS: &str = include_str!("streams.sql");
const VERDICTS: &str = include_str!("verdicts.sql");
const ROWS: &str = include_str!("rows.sql");
const BREAKS: &str = include_str!("breaks.sql");
const ROLLUPS: &str = include_str!("rollups.sql");

/// No batch holds rows of more time than this, as long as its clock was not stepped.
const BATCH: Duration = Duration::hours(2);

/// From when on raw rows are whole.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// Frames of bandwidth.
    frames: OffsetDateTime,
    /// Exchanges.
    exchanges: OffsetDateTime,
    /// Readings of the host.
    readings: OffsetDateTime,
    /// The same for frames, however little was asked for.
    retained: OffsetDateTime,
}

/// A stream by its run and kind.
type StreamKey = (i64, i16);

/// Checks everything of an agent; gives how many batches are still with it.
pub(super) async fn check(
    pool: &PgPool,
    agent: i64,
    since: OffsetDateTime,
    tally: &mut Tally,
) -> sqlx::Result<u64> {
    let mut connection = pool.acquire().await?;
    let mut snapshot = connection.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *snapshot)
        .await?;
    sqlx::query(
        "SELECT set_config('statement_timeout', '10min', true), set_config('jit', 'off', true)",
    )
    .execute(&mut *snapshot)
    .await?;
    let window = window(&mut snapshot, since).await?;
    let accounts = sequences(&mut snapshot, agent, tally).await?;
    rows(&mut snapshot, agent, window, tally).await?;
    counters(&mut snapshot, agent, window, &accounts, tally).await?;
    rollups(&mut snapshot, agent, window, tally).await?;
    snapshot.rollback().await?;
    Ok(accounts.values().map(|a| a.outstanding.count()).sum())
}

async fn window(connection: &mut PgConnection, since: OffsetDateTime) -> sqlx::Result<Window> {
    let retained: Vec<(String, OffsetDateTime)> =
        sqlx::query_as("SELECT table_name, since FROM retained")
            .fetch_all(connection)
            .await?;
    let whole = |table: &str| {
        let found = retained.iter().find(|(name, _)| name == table);
        found.map_or(OffsetDateTime::UNIX_EPOCH, |(_, since)| *since)
    };
    Ok(Window {
        frames: since.max(whole("bandwidth_stats")),
        exchanges: since.max(whole("ntp_exchanges")),
        readings: since.max(whole("system_stats")),
        retained: whole("bandwidth_stats"),
    })
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

async fn sequences(
    connection: &mut PgConnection,
    agent: i64,
    tally: &mut Tally,
) -> sqlx::Result<BTreeMap<StreamKey, Account>> {
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
    .fetch_all(connection)
    .await?;
    let mut accounts = BTreeMap::new();
    for row in rows {
        let key = (row.epoch, row.kind);
        let decided = |refused: bool| -> Ranges {
            let of = verdicts
                .iter()
                .filter(|v| (v.epoch, v.kind) == key && v.refused == refused);
            of.filter_map(|v| Range::new(v.first, v.last)).collect()
        };
        let stream = Stream {
            floor: row.floor,
            settled_through: row.settled_through,
            sealed_through: row.sealed_through,
            over: row.over,
            stored: decided(false),
            refused: decided(true),
            omitted: omissions
                .iter()
                .filter(|o| (o.epoch, o.kind) == key)
                .filter_map(|o| Range::new(o.first_sequence, o.last_sequence))
                .collect(),
        };
        let account = stream.account();
        tell(key, &account, &omissions, tally);
        accounts.insert(key, account);
    }
    Ok(accounts)
}

/// Adds what there is to say of a stream.
fn tell(key: StreamKey, account: &Account, omissions: &[Omission], tally: &mut Tally) {
    let kind = kind_name(key.1);
    let parts = [
        (
            &account.lost,
            true,
            "lost",
            "are neither here nor with the agent",
        ),
        (
            &account.refused,
            false,
            "refused",
            "were refused: `netmon-server refusals` shows them",
        ),
        (
            &account.outstanding,
            false,
            "outstanding",
            "are still with the agent",
        ),
    ];
    let counts = [&account.stored, &account.omitted];
    let mut checked: u64 = counts.into_iter().map(Ranges::count).sum();
    for (ranges, violation, cause, what) in parts {
        checked += ranges.count();
        for range in ranges.iter() {
            let detail = format!("{} of {kind}, run {}, {what}", batches(range), key.0);
            let finding = Finding::new(Check::Sequences, violation, cause, detail);
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

fn kind_name(kind: i16) -> &'static str {
    Kind::try_from(i32::from(kind)).map_or("unknown", |kind| kind.name())
}

#[derive(FromRow)]
struct Compared {
    kind: i16,
    epoch: i64,
    sequence: i64,
    promised: Option<i64>,
    rows: i64,
    first_at: OffsetDateTime,
    last_at: OffsetDateTime,
}

async fn rows(
    connection: &mut PgConnection,
    agent: i64,
    window: Window,
    tally: &mut Tally,
) -> sqlx::Result<()> {
    let from = window.frames.max(window.exchanges).max(window.readings);
    let since_ms = i64::try_from(from.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
    let compared: Vec<Compared> = sqlx::query_as(ROWS)
        .bind(agent)
        .bind(window.frames)
        .bind(window.exchanges)
        .bind(from + BATCH)
        .bind(since_ms)
        .bind(window.readings)
        .fetch_all(&mut *connection)
        .await?;
    let checked: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM ingest_ledger WHERE agent_id = $1 AND row_count IS NOT NULL",
    )
    .bind(agent)
    .fetch_one(connection)
    .await?;
    tally.checked(Check::Rows, checked.max(0) as u64);
    for batch in compared {
        let kind = kind_name(batch.kind);
        let name = format!("batch {} of {kind}, run {},", batch.sequence, batch.epoch);
        let rows = batch.rows;
        let (cause, detail) = match batch.promised {
            None => (
                "unknown_batch",
                format!("{name} has {rows} rows and is not in the ledger"),
            ),
            Some(promised) if rows > promised => (
                "doubled_rows",
                format!("{name} has {rows} rows, the ledger says {promised}"),
            ),
            Some(promised) => (
                "missing_rows",
                format!("{name} has {rows} of the {promised} rows in the ledger"),
            ),
        };
        let finding = Finding::new(Check::Rows, true, cause, detail);
        tally.add(
            finding
                .of_batches(batch.epoch, kind, batch.sequence, batch.sequence)
                .during(batch.first_at, batch.last_at),
        );
    }
    Ok(())
}

#[derive(FromRow)]
struct BreakRow {
    interface: String,
    attachment: i32,
    epoch: i64,
    sequence: i64,
    started_at: OffsetDateTime,
    ended_at: OffsetDateTime,
    went_back: bool,
    before_epoch: Option<i64>,
    before_sequence: Option<i64>,
    before_ended_at: Option<OffsetDateTime>,
    base_ip: i64,
    base_ib: i64,
    base_ep: i64,
    base_eb: i64,
    expected_ip: i64,
    expected_ib: i64,
    expected_ep: i64,
    expected_eb: i64,
}

#[derive(FromRow)]
struct GapRow {
    from_at: OffsetDateTime,
    to_at: OffsetDateTime,
    cause: String,
}

async fn counters(
    connection: &mut PgConnection,
    agent: i64,
    window: Window,
    accounts: &BTreeMap<StreamKey, Account>,
    tally: &mut Tally,
) -> sqlx::Result<()> {
    let breaks: Vec<BreakRow> = sqlx::query_as(BREAKS)
        .bind(agent)
        .bind(window.frames)
        .bind(window.frames)
        .fetch_all(&mut *connection)
        .await?;
    let gaps: Vec<GapRow> = sqlx::query_as(
        "SELECT from_at, to_at, cause FROM sensor_gaps WHERE agent_id = $1 AND to_at >= $2
         ORDER BY from_at",
    )
    .bind(agent)
    .bind(window.frames)
    .fetch_all(&mut *connection)
    .await?;
    let frames: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM bandwidth_stats WHERE agent_id = $1 AND started_at >= $2",
    )
    .bind(agent)
    .bind(window.frames)
    .fetch_one(connection)
    .await?;
    tally.checked(Check::Counters, frames.max(0) as u64);
    for gap in &gaps {
        let seconds = (gap.to_at - gap.from_at).as_seconds_f64();
        let detail = format!("nothing was measured for {seconds:.1} s ({})", gap.cause);
        let finding = Finding::new(Check::Counters, false, "sensor_gap", detail);
        tally.add(finding.during(gap.from_at, gap.to_at));
    }
    let evidence = evidence(accounts, gaps);
    for row in breaks {
        tally.add(explain(&Break::from(row), &evidence));
    }
    Ok(())
}

/// What may explain a break: frames travel in batches of bandwidth, or of no kind from older agents.
fn evidence(accounts: &BTreeMap<StreamKey, Account>, gaps: Vec<GapRow>) -> Evidence {
    let carries = |kind: i16| kind == Kind::Bandwidth as i16 || kind == Kind::Unspecified as i16;
    let of_frames = accounts.iter().filter(|((_, kind), _)| carries(*kind));
    Evidence {
        missing: of_frames
            .map(|((epoch, _), account)| {
                let missing = Missing {
                    lost: account.lost.clone(),
                    outstanding: account.outstanding.clone(),
                    refused: account.refused.clone(),
                    omitted: account.omitted.clone(),
                };
                (*epoch, missing)
            })
            .collect(),
        gaps: gaps
            .into_iter()
            .map(|gap| Gap {
                from_at: gap.from_at,
                to_at: gap.to_at,
            })
            .collect(),
    }
}

fn explain(found: &Break, evidence: &Evidence) -> Finding {
    let cause = found.cause(evidence);
    let missing = found.missing();
    let packets = missing.ingress_packets + missing.egress_packets;
    let bytes = missing.ingress_bytes + missing.egress_bytes;
    let detail = format!(
        "{}: {packets} packets and {bytes} octets counted by attachment {:08x} are in no frame \
         before batch {} of run {}",
        found.interface, found.attachment, found.place.sequence, found.place.epoch
    );
    let from = found
        .before
        .map_or(found.started_at, |(_, ended_at)| ended_at);
    let finding = Finding::new(Check::Counters, cause.is_violation(), cause.name(), detail)
        .of_batches(
            found.place.epoch,
            Kind::Bandwidth.name(),
            found.place.sequence,
            found.place.sequence,
        )
        .during(from.min(found.started_at), found.started_at);
    Finding {
        interface: Some(found.interface.clone()),
        packets: Some(packets),
        bytes: Some(bytes),
        ..finding
    }
}

impl From<BreakRow> for Break {
    fn from(row: BreakRow) -> Self {
        let before = row.before_epoch.zip(row.before_sequence);
        let before = before.zip(row.before_ended_at);
        Self {
            interface: row.interface,
            attachment: row.attachment,
            before: before
                .map(|((epoch, sequence), ended_at)| (Place { epoch, sequence }, ended_at)),
            place: Place {
                epoch: row.epoch,
                sequence: row.sequence,
            },
            started_at: row.started_at,
            ended_at: row.ended_at,
            went_back: row.went_back,
            base: Totals {
                ingress_packets: row.base_ip,
                ingress_bytes: row.base_ib,
                egress_packets: row.base_ep,
                egress_bytes: row.base_eb,
            },
            expected: Totals {
                ingress_packets: row.expected_ip,
                ingress_bytes: row.expected_ib,
                egress_packets: row.expected_ep,
                egress_bytes: row.expected_eb,
            },
        }
    }
}

#[derive(FromRow)]
struct Unequal {
    unit: String,
    interface: String,
    bucket: OffsetDateTime,
    samples: i64,
    stored_samples: i64,
    packets: i64,
    bytes: i64,
    pending: bool,
}

async fn rollups(
    connection: &mut PgConnection,
    agent: i64,
    window: Window,
    tally: &mut Tally,
) -> sqlx::Result<()> {
    let hour = whole_hour(window.frames);
    let unequal: Vec<Unequal> = sqlx::query_as(ROLLUPS)
        .bind(agent)
        .bind(hour)
        .bind(window.retained)
        .fetch_all(&mut *connection)
        .await?;
    let checked: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM bandwidth_minutes WHERE agent_id = $1 AND bucket >= $2)
              + (SELECT count(*) FROM bandwidth_hours WHERE agent_id = $1 AND bucket >= $2)",
    )
    .bind(agent)
    .bind(hour)
    .fetch_one(connection)
    .await?;
    tally.checked(Check::Rollups, checked.max(0) as u64);
    for row in unequal {
        let Unequal {
            unit,
            interface,
            bucket,
            samples,
            stored_samples,
            packets,
            bytes,
            pending,
        } = row;
        let cause = if pending { "pending" } else { "unequal" };
        let detail = format!(
            "{interface}: the {unit} has {stored_samples} samples, its rows {samples}; it differs \
             by {packets} packets and {bytes} octets"
        );
        let finding = Finding::new(Check::Rollups, !pending, cause, detail);
        let length = if unit == "hour" {
            Duration::HOUR
        } else {
            Duration::MINUTE
        };
        tally.add(Finding {
            interface: Some(interface),
            packets: Some(packets),
            bytes: Some(bytes),
            ..finding.during(bucket, bucket + length)
        });
    }
    Ok(())
}

/// The first whole hour from a time on.
fn whole_hour(at: OffsetDateTime) -> OffsetDateTime {
    let hours = at.unix_timestamp().div_euclid(3600);
    let floor = OffsetDateTime::from_unix_timestamp(hours * 3600).unwrap_or(at);
    if floor == at {
        floor
    } else {
        floor + Duration::HOUR
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_hour_that_is_cut_is_not_compared() {
        let noon = datetime!(2026-11-21 12:00 UTC);
        assert_eq!(whole_hour(noon), noon);
        assert_eq!(whole_hour(noon - Duration::SECOND), noon);
        assert_eq!(
            whole_hour(noon + Duration::NANOSECOND),
            noon + Duration::HOUR
        );
    }
}
