//! Whether those who send logs still do: a feed that comes empty all of a sudden, or stays away, is
//! warned of once.

mod feed;

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

pub use feed::{Feed, State, Warning};

use crate::{
    metrics,
    store::botnets::{FamilyId, SourceId, Upload},
};

/// How often feeds that stay away are looked for.
const INTERVAL: Duration = Duration::from_secs(60);

/// Feeds looked at in one round; there are more only with thousands of sources of many families.
const MAX_FEEDS: i64 = 100_000;

const COLUMNS: &str = "uploads, first_upload_at, last_upload_at, last_accepted_at, accepted, \
                       intervals_s, state, state_since";

/// An upload came to its end for the first time.
///
/// # Errors
/// The database's; then only the watching knows nothing of it.
pub async fn finished(
    pool: &PgPool,
    metrics: &metrics::Feeds,
    upload: &Upload,
    accepted: u64,
) -> sqlx::Result<()> {
    let now = OffsetDateTime::now_utc();
    let mut transaction = pool.begin().await?;
    let known = format!(
        "SELECT {COLUMNS} FROM botnet_feeds WHERE family_id = $1 AND source_id = $2 FOR UPDATE"
    );
    let known = sqlx::query(&known)
        .bind(upload.family)
        .bind(upload.source_id)
        .fetch_optional(&mut *transaction)
        .await?;
    let mut feed = known.as_ref().map(read).transpose()?;
    let warning = match &mut feed {
        Some(feed) => feed.finished(now, accepted),
        None => None,
    };
    let feed = feed.unwrap_or_else(|| Feed::first(now, accepted));
    write(&mut transaction, upload.family, upload.source_id, &feed).await?;
    transaction.commit().await?;
    if let Some(warning) = warning {
        let names = names(pool, upload.family, upload.source_id).await?;
        warn(metrics, warning, &names, &feed);
    }
    Ok(())
}

/// Looks for feeds that stay away, again and again until the shutdown.
pub async fn run(pool: PgPool, metrics: metrics::Feeds, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let round = tokio::select! {
            () = shutdown.cancelled() => return,
            round = look(&pool, &metrics, OffsetDateTime::now_utc()) => round,
        };
        if let Err(error) = round {
            tracing::warn!(%error, "feeds that stay away could not be looked for");
        }
    }
}

/// Looks once; of several servers one warns.
///
/// # Errors
/// The database's.
pub async fn look(
    pool: &PgPool,
    metrics: &metrics::Feeds,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let rows = format!(
        "SELECT family_id, source_id, {COLUMNS} FROM botnet_feeds
         ORDER BY last_upload_at DESC LIMIT $1"
    );
    let rows = sqlx::query(&rows).bind(MAX_FEEDS).fetch_all(pool).await?;
    let mut states = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut feed = read(row)?;
        let before = feed.state;
        if let Some(warning) = feed.stays_away(now) {
            let (family, source) = (row.try_get("family_id")?, row.try_get("source_id")?);
            let changed = sqlx::query(
                "UPDATE botnet_feeds SET state = $3, state_since = $4
                 WHERE family_id = $1 AND source_id = $2 AND state = $5 AND last_upload_at = $6",
            )
            .bind::<FamilyId>(family)
            .bind::<SourceId>(source)
            .bind(feed.state.name())
            .bind(feed.state_since)
            .bind(before.name())
            .bind(feed.last_upload_at)
            .execute(pool)
            .await?;
            if changed.rows_affected() == 1 {
                let names = names(pool, family, source).await?;
                warn(metrics, warning, &names, &feed);
            }
        }
        states.push(feed.state);
    }
    metrics.show(&states);
    Ok(())
}

fn warn(
    metrics: &metrics::Feeds,
    warning: Warning,
    (family, source): &(String, String),
    feed: &Feed,
) {
    metrics.warned(warning);
    match warning {
        Warning::Empty => tracing::warn!(
            family,
            source,
            accepted_before = ?feed.accepted,
            "a feed yields nothing: no line of its last log was accepted, unlike those before"
        ),
        Warning::Late => tracing::warn!(
            family,
            source,
            last_upload_at = %feed.last_upload_at,
            median_interval_seconds = feed.median_interval(),
            "a feed stays away: nothing came for three times as long as between its logs before"
        ),
    }
}

async fn names(
    pool: &PgPool,
    family: FamilyId,
    source: SourceId,
) -> sqlx::Result<(String, String)> {
    let names = sqlx::query_as(
        "SELECT coalesce((SELECT name FROM botnet_families WHERE family_id = $1), ''),
                coalesce((SELECT name FROM botnet_sources WHERE source_id = $2), '')",
    );
    names.bind(family).bind(source).fetch_one(pool).await
}

async fn write(
    connection: &mut PgConnection,
    family: FamilyId,
    source: SourceId,
    feed: &Feed,
) -> sqlx::Result<()> {
    let written = sqlx::query(
        "INSERT INTO botnet_feeds AS t (family_id, source_id, uploads, first_upload_at,
             last_upload_at, last_accepted_at, accepted, intervals_s, state, state_since)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (family_id, source_id) DO UPDATE SET
             uploads = EXCLUDED.uploads, last_upload_at = EXCLUDED.last_upload_at,
             last_accepted_at = EXCLUDED.last_accepted_at, accepted = EXCLUDED.accepted,
             intervals_s = EXCLUDED.intervals_s, state = EXCLUDED.state,
             state_since = EXCLUDED.state_since",
    );
    written
        .bind(family)
        .bind(source)
        .bind(feed.uploads)
        .bind(feed.first_upload_at)
        .bind(feed.last_upload_at)
        .bind(feed.last_accepted_at)
        .bind(&feed.accepted)
        .bind(&feed.intervals_s)
        .bind(feed.state.name())
        .bind(feed.state_since)
        .execute(connection)
        .await?;
    Ok(())
}

/// A feed as it is stored.
///
/// # Errors
/// When a column is missing.
pub fn read(row: &PgRow) -> sqlx::Result<Feed> {
    Ok(Feed {
        uploads: row.try_get("uploads")?,
        first_upload_at: row.try_get("first_upload_at")?,
        last_upload_at: row.try_get("last_upload_at")?,
        last_accepted_at: row.try_get("last_accepted_at")?,
        accepted: row.try_get("accepted")?,
        intervals_s: row.try_get("intervals_s")?,
        state: State::from_name(row.try_get("state")?),
        state_since: row.try_get("state_since")?,
    })
}
