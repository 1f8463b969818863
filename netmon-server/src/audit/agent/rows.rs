//! Whether every batch has the rows it came with.

use futures_util::TryStreamExt as _;
use sqlx::{FromRow, PgConnection};
use time::{Duration, OffsetDateTime};

use super::{
    super::report::{Check, Finding, Tally},
    Window, kind_name,
};

const ROWS: &str = include_str!("../rows.sql");

/// No batch holds rows of more time than this, as long as its clock was not stepped.
const BATCH: Duration = Duration::hours(2);

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

/// Compares the rows of each batch with what the ledger says.
pub(super) async fn rows(
    connection: &mut PgConnection,
    agent: i64,
    window: Window,
    tally: &mut Tally,
) -> sqlx::Result<()> {
    let from = window.start();
    let since_ms = i64::try_from(from.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
    let checked: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM ingest_ledger WHERE agent_id = $1 AND row_count IS NOT NULL",
    )
    .bind(agent)
    .fetch_one(&mut *connection)
    .await?;
    tally.checked(Check::Rows, checked.max(0) as u64);
    let mut compared = sqlx::query_as::<_, Compared>(ROWS)
        .bind(agent)
        .bind(window.frames)
        .bind(window.exchanges)
        .bind(from + BATCH)
        .bind(since_ms)
        .bind(window.readings)
        .bind(window.controls)
        .bind(window.folds)
        .fetch(connection);
    while let Some(batch) = compared.try_next().await? {
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
