//! Uploads of logs, known by the key that the sender gave them.

use std::{ops::RangeInclusive, sync::Arc};

use time::{Duration, OffsetDateTime};

use super::{BotnetError, Botnets, Family, FamilyId, SourceId, SourceKind, families};
use crate::metrics::OpenUpload;
use crate::store::{expire::time_duration, lease::Lease, partitions::Day};

/// A clock that is ahead of the server's is forgiven so much.
const AHEAD: Duration = Duration::DAY;

/// An upload that is being received, maybe not for the first time.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The family its lines are of.
    pub family: FamilyId,
    /// The sender's key, or one that was made for it.
    pub key: String,
    /// Its number.
    pub upload_id: i64,
    /// When it came first: the time of lines without one. Whole microseconds.
    pub received_at: OffsetDateTime,
    /// Who saw what it says.
    pub source_id: SourceId,
    /// The format of the lines, as stated when it came first, or `auto`.
    pub format: String,
    /// Whether it came before, maybe in part.
    pub known: bool,
    /// Whether it came to its end before.
    pub finished: bool,
    /// Counted as open until the last copy is dropped.
    pub(super) _open: Option<Arc<OpenUpload>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    upload_id: i64,
    received_at: OffsetDateTime,
    source_id: SourceId,
    format: String,
    finished: bool,
    known: bool,
}

impl Botnets {
    /// Begins to receive an upload, or receives it again. Without a key it gets one that nobody else
    /// has.
    ///
    /// # Errors
    /// [`BotnetError::KeyExpired`], [`BotnetError::FamilyGone`], or the database's.
    pub async fn begin_upload(
        &self,
        family: &Family,
        key: Option<&str>,
        source: &str,
        format: &str,
    ) -> Result<Upload, BotnetError> {
        let key = match key {
            Some(key) => key.to_owned(),
            None => format!("netmon-{:032x}", rand::random::<u128>()),
        };
        let source_id = self.source(SourceKind::Log, source).await?;
        let now = OffsetDateTime::now_utc();
        let mut lease = Lease::begin(&self.pool).await?;
        families::hold(lease.connection(), family.id).await?;
        // Waits for another request that begins with the same key.
        sqlx::query(
            "INSERT INTO botnet_uploads (family_id, key, received_at, source_id, format)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (family_id, key) DO NOTHING",
        )
        .bind(family.id)
        .bind(&key)
        .bind(now)
        .bind(source_id)
        .bind(format)
        .execute(lease.connection())
        .await?;
        let row: Row = sqlx::query_as(
            "SELECT upload_id, received_at, source_id, format, finished_at IS NOT NULL AS finished,
                    received_at <> $3 AS known
             FROM botnet_uploads WHERE family_id = $1 AND key = $2",
        )
        .bind(family.id)
        .bind(&key)
        .bind(now)
        .fetch_one(lease.connection())
        .await?;
        lease.commit().await?;
        if self.raw_is_over(row.received_at, now) {
            return Err(BotnetError::KeyExpired);
        }
        Ok(Upload {
            family: family.id,
            key,
            upload_id: row.upload_id,
            received_at: row.received_at,
            source_id: row.source_id,
            format: row.format,
            known: row.known,
            finished: row.finished,
            _open: Some(Arc::new(self.metrics.upload_opened())),
        })
    }

    /// An upload came to its end.
    ///
    /// # Errors
    /// The database's.
    pub async fn finish_upload(&self, upload: &Upload) -> Result<(), BotnetError> {
        let finished = sqlx::query(
            "UPDATE botnet_uploads SET finished_at = $3
             WHERE family_id = $1 AND key = $2 AND finished_at IS NULL",
        );
        finished
            .bind(upload.family)
            .bind(&upload.key)
            .bind(OffsetDateTime::now_utc())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The times that sightings may carry which came at a time: not before what is kept of
    /// communications, and not in the future but for clocks that differ.
    pub fn window(&self, received_at: OffsetDateTime) -> RangeInclusive<OffsetDateTime> {
        let kept = time_duration(self.settings.communications);
        let first = received_at.checked_sub(kept);
        first.unwrap_or(OffsetDateTime::UNIX_EPOCH)..=received_at + AHEAD
    }

    /// Whether chunks that came then are dropped, or may be at any moment.
    fn raw_is_over(&self, received_at: OffsetDateTime, now: OffsetDateTime) -> bool {
        let kept = time_duration(self.settings.raw);
        let end = Day::of(received_at).plus(1).start();
        now.checked_sub(kept).is_some_and(|horizon| end <= horizon)
    }
}
