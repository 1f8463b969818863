//! Whether the frames of an agent sum to its own counters.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use netmon_common::wire::Kind;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::{
    super::{
        counters::{Break, Evidence, Gap, Missing, Place, Totals},
        report::{Check, Finding, Tally},
    },
    Window,
    batches::Books,
};

const BREAKS: &str = include_str!("../breaks.sql");

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

/// Explains every place where frames do not follow from the ones before.
pub(super) async fn counters(
    connection: &mut PgConnection,
    agent: i64,
    window: Window,
    books: &Books,
    tally: &mut Tally,
) -> sqlx::Result<()> {
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
    .fetch_one(&mut *connection)
    .await?;
    tally.checked(Check::Counters, frames.max(0) as u64);
    for gap in &gaps {
        let seconds = (gap.to_at - gap.from_at).as_seconds_f64();
        let detail = format!("nothing was measured for {seconds:.1} s ({})", gap.cause);
        let finding = Finding::new(Check::Counters, false, "sensor_gap", detail);
        tally.add(finding.during(gap.from_at, gap.to_at));
    }
    let evidence = evidence(books, gaps);
    let mut breaks = sqlx::query_as::<_, BreakRow>(BREAKS)
        .bind(agent)
        .bind(window.frames)
        .bind(window.frames)
        .fetch(connection);
    while let Some(row) = breaks.try_next().await? {
        tally.add(explain(&Break::from(row), &evidence));
    }
    Ok(())
}

/// What may explain a break: frames travel in batches of bandwidth, or of no kind from older agents.
/// Below a floor nobody knows any more which of the batches of an omission are stored: all may be
/// missing.
fn evidence(books: &Books, gaps: Vec<GapRow>) -> Evidence {
    let carries = |kind: i16| kind == Kind::Bandwidth as i16 || kind == Kind::Unspecified as i16;
    let streams = books.accounts.keys().chain(books.omitted.keys());
    let streams: BTreeSet<_> = streams.chain(books.refused.keys()).copied().collect();
    let of_frames = streams.into_iter().filter(|(_, kind)| carries(*kind));
    Evidence {
        missing: of_frames
            .map(|key| {
                let account = books.accounts.get(&key).cloned().unwrap_or_default();
                let known = books.omitted.get(&key).cloned().unwrap_or_default();
                let kept = books.refused.get(&key).cloned().unwrap_or_default();
                let missing = Missing {
                    lost: account.lost,
                    outstanding: account.outstanding,
                    refused: account.refused.iter().chain(kept.iter()).collect(),
                    omitted: known.without(&account.stored),
                };
                (key.0, missing)
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
    let packets = missing
        .ingress_packets
        .saturating_add(missing.egress_packets);
    let bytes = missing.ingress_bytes.saturating_add(missing.egress_bytes);
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
