//! What agents report of their own books: how far their streams are, which batches will never come,
//! and when nothing was measured.

use netmon_common::wire::{self, Batch, GapCause, Kind, OmissionCause};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{
    Invalid, StoreError,
    error::counted,
    invalid::fit,
    ledger,
    rows::{Origin, Rows},
};

/// Most reports of each sort in one batch.
const MAX_REPORTS: usize = 4096;

/// How far a stream has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    stream: ledger::Stream,
    settled_through: i64,
    sealed_through: i64,
}

/// Batches that will never come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Omission {
    stream: ledger::Stream,
    first: i64,
    last: i64,
    cause: &'static str,
    batches: i64,
    records: i64,
}

/// A time in which nothing was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    agent: i64,
    epoch: i64,
    from_us: i64,
    to_us: i64,
    cause: &'static str,
}

/// Takes the reports of a batch, or names the first that is invalid.
pub(super) fn collect(rows: &mut Rows, origin: Origin, batch: &Batch) -> Result<(), Invalid> {
    let counts = [
        ("streams", batch.streams.len()),
        ("omissions", batch.omissions.len()),
        ("gaps", batch.gaps.len()),
    ];
    for (place, count) in counts {
        if count > MAX_REPORTS {
            let problem = format_args!("{count} of them are more than {MAX_REPORTS}");
            return Err(Invalid::new(place, problem));
        }
    }
    let agent = origin.key.agent;
    for (index, state) in batch.streams.iter().enumerate() {
        let stream = stream(agent, state)
            .map_err(|invalid| invalid.within(format_args!("streams[{index}]")))?;
        rows.streams.push(stream);
    }
    for (index, reported) in batch.omissions.iter().enumerate() {
        let omission = omission(agent, reported)
            .map_err(|invalid| invalid.within(format_args!("omissions[{index}]")))?;
        rows.omissions.push(omission);
    }
    for (index, reported) in batch.gaps.iter().enumerate() {
        let gap = gap(origin, reported)
            .map_err(|invalid| invalid.within(format_args!("gaps[{index}]")))?;
        rows.gaps.push(gap);
    }
    Ok(())
}

fn stream(agent: i64, state: &wire::StreamState) -> Result<Stream, Invalid> {
    let stream = named(agent, state.epoch, state.kind)?;
    let settled_through = fit("settled_through", state.settled_through)?;
    let sealed_through = fit("sealed_through", state.sealed_through)?;
    if settled_through > sealed_through {
        let problem = format_args!("{settled_through} is more than were sealed, {sealed_through}");
        return Err(Invalid::new("settled_through", problem));
    }
    Ok(Stream {
        stream,
        settled_through,
        sealed_through,
    })
}

fn omission(agent: i64, reported: &wire::Omission) -> Result<Omission, Invalid> {
    let stream = named(agent, reported.epoch, reported.kind)?;
    let first = fit("first_sequence", reported.first_sequence)?;
    let last = fit("last_sequence", reported.last_sequence)?;
    if !(1..=last).contains(&first) {
        let problem = format_args!("{first} to {last} is no range of batches");
        return Err(Invalid::new("first_sequence", problem));
    }
    let cause = match reported.cause() {
        OmissionCause::SpoolFull => "spool_full",
        OmissionCause::TooOld => "too_old",
        OmissionCause::Corrupt => "corrupt",
        OmissionCause::NotSpooled => "not_spooled",
        OmissionCause::Unspecified => return Err(unknown_cause(reported.cause)),
    };
    Ok(Omission {
        stream,
        first,
        last,
        cause,
        batches: fit("batches", reported.batches)?,
        records: fit("records", reported.records)?,
    })
}

fn gap(origin: Origin, reported: &wire::Gap) -> Result<Gap, Invalid> {
    let from_us = origin
        .window
        .not_ahead("from_unix_ns", reported.from_unix_ns)?;
    let to_us = origin.window.not_ahead("to_unix_ns", reported.to_unix_ns)?;
    if !(0..=to_us).contains(&from_us) {
        let problem = format_args!(
            "{} to {} ns is no time",
            reported.from_unix_ns, reported.to_unix_ns
        );
        return Err(Invalid::new("from_unix_ns", problem));
    }
    let cause = match reported.cause() {
        GapCause::Stopped => "stopped",
        GapCause::Crashed => "crashed",
        GapCause::StateLost => "state_lost",
        GapCause::Unspecified => return Err(unknown_cause(reported.cause)),
    };
    Ok(Gap {
        agent: origin.key.agent,
        epoch: origin.key.epoch,
        from_us,
        to_us,
        cause,
    })
}

fn named(agent: i64, epoch: u64, kind: i32) -> Result<ledger::Stream, Invalid> {
    let epoch = fit("epoch", epoch)?;
    if epoch == 0 {
        return Err(Invalid::new("epoch", "is 0, which is no run of an agent"));
    }
    let Ok(kind) = Kind::try_from(kind) else {
        let problem = format_args!("{kind} is no kind this server knows");
        return Err(Invalid::new("kind", problem));
    };
    Ok(ledger::Stream {
        agent,
        epoch,
        kind: kind as i16,
    })
}

fn unknown_cause(cause: i32) -> Invalid {
    Invalid::new(
        "cause",
        format_args!("{cause} is no cause this server knows"),
    )
}

/// Writes what agents said of their streams; both numbers only grow.
pub(super) async fn write_streams(
    connection: &mut PgConnection,
    mut streams: Vec<Stream>,
    reported_at: OffsetDateTime,
) -> Result<(), StoreError> {
    if streams.is_empty() {
        return Ok(());
    }
    streams.sort_by_key(|state| state.stream);
    streams.dedup_by(|next, kept| {
        let same = next.stream == kept.stream;
        if same {
            kept.settled_through = kept.settled_through.max(next.settled_through);
            kept.sealed_through = kept.sealed_through.max(next.sealed_through);
        }
        same
    });
    let done = sqlx::query(
        "INSERT INTO ingest_streams AS s
             (agent_id, epoch, kind, settled_through, sealed_through, reported_at)
         SELECT agent_id, epoch, kind, settled_through, sealed_through, $6
         FROM unnest($1::int8[], $2::int8[], $3::int2[], $4::int8[], $5::int8[])
           AS r (agent_id, epoch, kind, settled_through, sealed_through)
         ON CONFLICT (agent_id, epoch, kind) DO UPDATE SET
             settled_through = greatest(s.settled_through, EXCLUDED.settled_through),
             sealed_through = greatest(s.sealed_through, EXCLUDED.sealed_through),
             reported_at = EXCLUDED.reported_at",
    )
    .bind(column(&streams, |s| s.stream.agent))
    .bind(column(&streams, |s| s.stream.epoch))
    .bind(column(&streams, |s| s.stream.kind))
    .bind(column(&streams, |s| s.settled_through))
    .bind(column(&streams, |s| s.sealed_through))
    .bind(reported_at)
    .execute(connection)
    .await
    .map_err(StoreError::of_rows)?;
    counted("ingest_streams", streams.len() as u64, done.rows_affected())
}

/// Writes omissions; one that is reported again may have grown at its end.
pub(super) async fn write_omissions(
    connection: &mut PgConnection,
    mut omissions: Vec<Omission>,
    reported_at: OffsetDateTime,
) -> Result<(), StoreError> {
    if omissions.is_empty() {
        return Ok(());
    }
    omissions.sort_by_key(|omission| (omission.stream, omission.first));
    omissions.dedup_by(|next, kept| {
        let same = (next.stream, next.first) == (kept.stream, kept.first);
        if same {
            kept.last = kept.last.max(next.last);
            kept.batches = kept.batches.max(next.batches);
            kept.records = kept.records.max(next.records);
        }
        same
    });
    let done = sqlx::query(
        "INSERT INTO ingest_omissions AS o
             (agent_id, epoch, kind, first_sequence, last_sequence, cause, batches, records,
              reported_at)
         SELECT agent_id, epoch, kind, first_sequence, last_sequence, cause, batches, records, $9
         FROM unnest($1::int8[], $2::int8[], $3::int2[], $4::int8[], $5::int8[], $6::text[],
                     $7::int8[], $8::int8[])
           AS r (agent_id, epoch, kind, first_sequence, last_sequence, cause, batches, records)
         ON CONFLICT (agent_id, epoch, kind, first_sequence) DO UPDATE SET
             last_sequence = greatest(o.last_sequence, EXCLUDED.last_sequence),
             batches = greatest(o.batches, EXCLUDED.batches),
             records = greatest(o.records, EXCLUDED.records)",
    )
    .bind(column(&omissions, |o| o.stream.agent))
    .bind(column(&omissions, |o| o.stream.epoch))
    .bind(column(&omissions, |o| o.stream.kind))
    .bind(column(&omissions, |o| o.first))
    .bind(column(&omissions, |o| o.last))
    .bind(column(&omissions, |o| o.cause))
    .bind(column(&omissions, |o| o.batches))
    .bind(column(&omissions, |o| o.records))
    .bind(reported_at)
    .execute(connection)
    .await
    .map_err(StoreError::of_rows)?;
    counted(
        "ingest_omissions",
        omissions.len() as u64,
        done.rows_affected(),
    )
}

/// Writes gaps; one that is reported again may have grown at its end.
pub(super) async fn write_gaps(
    connection: &mut PgConnection,
    mut gaps: Vec<Gap>,
) -> Result<(), StoreError> {
    if gaps.is_empty() {
        return Ok(());
    }
    gaps.sort_by_key(|gap| (gap.agent, gap.epoch, gap.from_us));
    gaps.dedup_by(|next, kept| {
        let same = (next.agent, next.epoch, next.from_us) == (kept.agent, kept.epoch, kept.from_us);
        if same {
            kept.to_us = kept.to_us.max(next.to_us);
        }
        same
    });
    let done = sqlx::query(
        "INSERT INTO sensor_gaps AS g (agent_id, epoch, from_at, to_at, cause)
         SELECT agent_id, epoch, timestamptz 'epoch' + from_us * interval '1 microsecond',
                timestamptz 'epoch' + to_us * interval '1 microsecond', cause
         FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::text[])
           AS r (agent_id, epoch, from_us, to_us, cause)
         ON CONFLICT (agent_id, epoch, from_at) DO UPDATE SET
             to_at = greatest(g.to_at, EXCLUDED.to_at)",
    )
    .bind(column(&gaps, |g| g.agent))
    .bind(column(&gaps, |g| g.epoch))
    .bind(column(&gaps, |g| g.from_us))
    .bind(column(&gaps, |g| g.to_us))
    .bind(column(&gaps, |g| g.cause))
    .execute(connection)
    .await
    .map_err(StoreError::of_rows)?;
    counted("sensor_gaps", gaps.len() as u64, done.rows_affected())
}

fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
