//! Lines as they came, to be processed again.

use std::ops::RangeInclusive;

use bytes::Bytes;
use time::{Date, OffsetDateTime};

use super::{
    BotnetError, Botnets, FamilyId, Figures, Rejections, SourceId, Upload, commit::decompress,
};
use crate::store::StoreError;

/// A chunk as it is stored.
#[derive(Clone, Debug)]
pub struct RawChunk {
    /// Of which it is a part.
    pub upload: Upload,
    /// 0, 1, 2, …
    pub index: u32,
    /// The number of its first line in the upload, from 1.
    pub first_line: u64,
    /// What became of its lines.
    pub figures: Figures,
    /// Which lines were rejected.
    pub rejections: Rejections,
    /// The lines.
    pub raw: Bytes,
}

/// Chunks in the order in which they came: by the time of their upload, each upload's one after the
/// other. One at a time is held in memory.
#[derive(Debug)]
pub struct RawChunks<'a> {
    botnets: &'a Botnets,
    family: FamilyId,
    from: OffsetDateTime,
    /// The first moment after the last day.
    to: OffsetDateTime,
    /// The key of the last one given.
    after: (OffsetDateTime, i64, i32),
}

#[derive(sqlx::FromRow)]
struct Row {
    received_at: OffsetDateTime,
    upload_id: i64,
    chunk: i32,
    first_line: i64,
    lines: i64,
    accepted: i64,
    duplicate: i64,
    rejected: i64,
    rejections: sqlx::types::Json<Rejections>,
    raw: Vec<u8>,
    key: String,
    source_id: SourceId,
    format: String,
    finished: bool,
}

impl Botnets {
    /// The chunks that are kept of uploads that came on certain days (UTC).
    pub fn raw_chunks(&self, family: FamilyId, days: RangeInclusive<Date>) -> RawChunks<'_> {
        let from = days.start().midnight().assume_utc();
        let to = days.end().next_day().unwrap_or(Date::MAX);
        RawChunks {
            botnets: self,
            family,
            from,
            to: to.midnight().assume_utc(),
            after: (from, i64::MIN, i32::MIN),
        }
    }
}

impl RawChunks<'_> {
    /// The next one; `None` after the last.
    ///
    /// # Errors
    /// The database's; [`StoreError::Permanent`] if the lines are damaged. The next call goes on
    /// behind it.
    pub async fn next(&mut self) -> Result<Option<RawChunk>, BotnetError> {
        let (received_at, upload_id, chunk) = self.after;
        let row: Option<Row> = sqlx::query_as(
            "SELECT c.received_at, c.upload_id, c.chunk, c.first_line, c.lines, c.accepted,
                    c.duplicate, c.rejected, c.rejections, c.raw,
                    u.key, u.source_id, u.format, u.finished_at IS NOT NULL AS finished
             FROM (SELECT * FROM botnet_chunks
                   WHERE family_id = $1 AND received_at >= $2 AND received_at < $3
                     AND (received_at, upload_id, chunk) > ($4, $5, $6)
                   ORDER BY family_id, received_at, upload_id, chunk LIMIT 1) AS c
             JOIN botnet_uploads u ON u.family_id = c.family_id AND u.upload_id = c.upload_id",
        )
        .bind(self.family)
        .bind(self.from.max(received_at))
        .bind(self.to)
        .bind(received_at)
        .bind(upload_id)
        .bind(chunk)
        .fetch_optional(&self.botnets.pool)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        self.after = (row.received_at, row.upload_id, row.chunk);
        let raw = decompress(&row.raw).map_err(|error| {
            StoreError::Permanent(format!(
                "chunk {} of upload {} cannot be decompressed: {error}",
                row.chunk, row.upload_id
            ))
        })?;
        Ok(Some(RawChunk {
            upload: Upload {
                family: self.family,
                key: row.key,
                upload_id: row.upload_id,
                received_at: row.received_at,
                source_id: row.source_id,
                format: row.format,
                known: true,
                finished: row.finished,
                _open: None,
            },
            index: row.chunk as u32,
            first_line: row.first_line as u64,
            figures: Figures {
                lines: row.lines as u64,
                accepted: row.accepted as u64,
                duplicate: row.duplicate as u64,
                rejected: row.rejected as u64,
            },
            rejections: row.rejections.0,
            raw,
        }))
    }
}
