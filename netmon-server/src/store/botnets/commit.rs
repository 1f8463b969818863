//! The transaction that stores a chunk.

use std::{io, time::Instant};

use bytes::Bytes;
use ring::digest;
use sqlx::PgConnection;
use tokio::task::spawn_blocking;

use super::{
    BotnetError, Botnets, Chunk, Figures, Rejections, StoredChunk, Upload, Written, families,
    gathered::Gathered,
    retry::Pauses,
    write::{Prepared, Way},
};
use crate::metrics::ChunkFailure;
use crate::store::{Series, StoreError, attempt, error::counted, lease::Lease, partitions::Day};

/// The quickest: it runs over every line that comes in.
const ZSTD_LEVEL: i32 = 1;

const CHUNK: &str = "\
    INSERT INTO botnet_chunks (family_id, received_at, upload_id, chunk, first_line, lines, accepted,
                               duplicate, rejected, rejections, digest, raw)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (family_id, received_at, upload_id, chunk) DO NOTHING";

/// A chunk with everything about it that needs no database.
struct Ready {
    index: i32,
    first_line: i64,
    figures: Figures,
    rejections: Rejections,
    digest: Vec<u8>,
    raw: Vec<u8>,
    prepared: Prepared,
}

/// What an attempt found.
enum Outcome {
    Stored(Written),
    Known(Figures, Rejections),
}

impl Botnets {
    /// Stores a chunk with all that follows from it in one transaction, unless it is stored already.
    /// While the database cannot take it, it is tried again.
    ///
    /// # Errors
    /// [`BotnetError::OtherContent`], [`BotnetError::FamilyGone`], [`BotnetError::OutOfWindow`], or
    /// the database's. After one that [passes](BotnetError::is_transient) it may be stored or not:
    /// the same chunk sent again settles it.
    pub async fn store_chunk(
        &self,
        upload: &Upload,
        chunk: Chunk,
    ) -> Result<StoredChunk, BotnetError> {
        let window = self.window(upload.received_at);
        let outside = chunk.sightings.iter().map(|of| of.seen_at);
        if let Some(at) = outside.into_iter().find(|at| !window.contains(at)) {
            return Err(BotnetError::OutOfWindow(at));
        }
        let of = upload.clone();
        let ready = spawn_blocking(move || Ready::new(&of, chunk)).await;
        // It does nothing that could panic.
        let mut ready = ready.map_err(|error| StoreError::Permanent(error.to_string()))?;
        let mut pauses = Pauses::new(self.patience);
        let (mut way, mut may_be_stored) = (Way::Copy, false);
        loop {
            let begun = Instant::now();
            let error = match self
                .try_chunk(upload, &mut ready, way, &mut may_be_stored)
                .await
            {
                Ok(outcome) => return Ok(self.stored(ready, outcome, begun, may_be_stored)),
                Err(error) => error,
            };
            if let BotnetError::Store(StoreError::RowsPresent(_)) = &error
                && way == Way::Copy
            {
                tracing::warn!(%error, "communications are there without their nodes");
                way = Way::Upsert;
                continue;
            }
            self.look_again(&error);
            if !error.is_transient() {
                self.count_failure(&error);
                return Err(error);
            }
            let Some(pause) = pauses.next() else {
                self.metrics.failed(ChunkFailure::Unavailable);
                return Err(error);
            };
            tracing::debug!(%error, ?pause, "a chunk is tried again");
            self.metrics.retried();
            tokio::time::sleep(pause).await;
        }
    }

    /// Adds to a stored chunk what its lines turned out to say later: figures and rejections are
    /// replaced, sightings are added. `before` is what the caller read.
    ///
    /// # Errors
    /// [`BotnetError::ChunkChanged`] when somebody else did that meanwhile; otherwise as
    /// [`Botnets::store_chunk`].
    pub async fn amend_chunk(
        &self,
        upload: &Upload,
        before: Figures,
        chunk: &Chunk,
    ) -> Result<Written, BotnetError> {
        let gathered = Gathered::new(&chunk.sightings);
        let mut prepared = Prepared::new(upload.family, upload.source_id, chunk.edition, gathered);
        let _permit = self.writers.acquire().await;
        self.make_ready(&mut prepared, &[]).await?;
        let amended = attempt_botnets(async {
            let mut lease = Lease::begin(&self.pool).await?;
            let connection = lease.connection();
            families::hold(connection, upload.family).await?;
            let figures = chunk.figures;
            let changed = sqlx::query(
                "UPDATE botnet_chunks
                 SET accepted = $5, duplicate = $6, rejected = $7, rejections = $8
                 WHERE family_id = $1 AND received_at = $2 AND upload_id = $3 AND chunk = $4
                   AND accepted = $9 AND duplicate = $10 AND rejected = $11",
            )
            .bind(upload.family)
            .bind(upload.received_at)
            .bind(upload.upload_id)
            .bind(chunk.index as i32)
            .bind(figures.accepted as i64)
            .bind(figures.duplicate as i64)
            .bind(figures.rejected as i64)
            .bind(sqlx::types::Json(&chunk.rejections))
            .bind(before.accepted as i64)
            .bind(before.duplicate as i64)
            .bind(before.rejected as i64)
            .execute(&mut *connection)
            .await?;
            if changed.rows_affected() != 1 {
                return Err(BotnetError::ChunkChanged);
            }
            let written = prepared.write_held(connection, Way::Upsert).await?;
            lease.commit().await?;
            Ok(written)
        })
        .await;
        match amended {
            Ok(written) => {
                self.metrics.written(written);
                Ok(written)
            }
            Err(error) => {
                self.look_again(&error);
                Err(error)
            }
        }
    }

    async fn try_chunk(
        &self,
        upload: &Upload,
        ready: &mut Ready,
        way: Way,
        may_be_stored: &mut bool,
    ) -> Result<Outcome, BotnetError> {
        // Never closed.
        let _permit = self.writers.acquire().await;
        attempt_botnets(async {
            let day = (Series::Chunks, Day::of(upload.received_at));
            self.make_ready(&mut ready.prepared, &[day]).await?;
            let mut lease = Lease::begin(&self.pool).await?;
            let connection = lease.connection();
            families::hold(connection, upload.family).await?;
            // The first statement that writes: the same chunk sent twice at once waits here, holding
            // nothing that others wait for.
            if ready.insert(connection, upload).await? == 0 {
                let (figures, rejections) = ready.known(connection, upload).await?;
                lease.roll_back().await?;
                return Ok(Outcome::Known(figures, rejections));
            }
            let written = ready.prepared.write_held(connection, way).await?;
            counted("botnet_chunks", ready.figures.accepted, written.sightings)?;
            *may_be_stored = true;
            lease.commit().await?;
            Ok(Outcome::Stored(written))
        })
        .await
    }

    fn stored(
        &self,
        ready: Ready,
        outcome: Outcome,
        begun: Instant,
        may_be_stored: bool,
    ) -> StoredChunk {
        let written = match outcome {
            Outcome::Stored(written) => written,
            // By an attempt of this call whose answer was lost: nobody knew of it before.
            Outcome::Known(..) if may_be_stored => Written {
                sightings: ready.figures.accepted,
                ..Written::default()
            },
            Outcome::Known(figures, rejections) => {
                self.metrics.chunk_known();
                return StoredChunk::Known(figures, rejections);
            }
        };
        let (figures, rejections) = (ready.figures, ready.rejections);
        self.metrics
            .chunk_stored(figures, &rejections, written, begun.elapsed());
        StoredChunk::New(figures, rejections)
    }

    /// After a failure what is known of the database may not hold any more.
    pub(super) fn look_again(&self, error: &BotnetError) {
        let BotnetError::Store(error) = error else {
            return;
        };
        if error.is_missing_partition() {
            self.partitions.forget();
        }
        // It may have come back from an older backup, which knows fewer of them.
        self.forget_numbers();
    }

    fn count_failure(&self, error: &BotnetError) {
        match error {
            BotnetError::Store(error @ StoreError::Mismatch { .. }) => {
                tracing::error!(%error, "nothing of the chunk was committed");
                self.metrics.failed(ChunkFailure::Mismatch);
            }
            BotnetError::Store(error) => {
                tracing::error!(%error, "the chunk can never be stored");
                self.metrics.failed(ChunkFailure::Refused);
            }
            _ => {}
        }
    }
}

impl Ready {
    fn new(upload: &Upload, chunk: Chunk) -> Self {
        let gathered = Gathered::new(&chunk.sightings);
        Self {
            index: chunk.index as i32,
            first_line: chunk.first_line as i64,
            figures: chunk.figures,
            rejections: chunk.rejections,
            digest: digest::digest(&digest::SHA256, &chunk.raw)
                .as_ref()
                .to_vec(),
            raw: compress(&chunk.raw),
            prepared: Prepared::new(upload.family, upload.source_id, chunk.edition, gathered),
        }
    }

    /// Gives 1, or 0 if it is there.
    async fn insert(
        &self,
        connection: &mut PgConnection,
        upload: &Upload,
    ) -> Result<u64, BotnetError> {
        let inserted = sqlx::query(CHUNK)
            .bind(upload.family)
            .bind(upload.received_at)
            .bind(upload.upload_id)
            .bind(self.index)
            .bind(self.first_line)
            .bind(self.figures.lines as i64)
            .bind(self.figures.accepted as i64)
            .bind(self.figures.duplicate as i64)
            .bind(self.figures.rejected as i64)
            .bind(sqlx::types::Json(&self.rejections))
            .bind(&self.digest)
            .bind(&self.raw)
            .execute(connection)
            .await;
        Ok(inserted.map_err(StoreError::of_rows)?.rows_affected())
    }

    /// What became of the chunk when it was stored.
    async fn known(
        &self,
        connection: &mut PgConnection,
        upload: &Upload,
    ) -> Result<(Figures, Rejections), BotnetError> {
        let row: Known = sqlx::query_as(
            "SELECT lines, accepted, duplicate, rejected, rejections, digest FROM botnet_chunks
             WHERE family_id = $1 AND received_at = $2 AND upload_id = $3 AND chunk = $4",
        )
        .bind(upload.family)
        .bind(upload.received_at)
        .bind(upload.upload_id)
        .bind(self.index)
        .fetch_one(connection)
        .await?;
        if row.digest != self.digest {
            let chunk = self.index as u32;
            return Err(BotnetError::OtherContent { chunk });
        }
        Ok((row.figures(), row.rejections.0))
    }
}

#[derive(sqlx::FromRow)]
struct Known {
    lines: i64,
    accepted: i64,
    duplicate: i64,
    rejected: i64,
    rejections: sqlx::types::Json<Rejections>,
    digest: Vec<u8>,
}

impl Known {
    fn figures(&self) -> Figures {
        Figures {
            lines: self.lines as u64,
            accepted: self.accepted as u64,
            duplicate: self.duplicate as u64,
            rejected: self.rejected as u64,
        }
    }
}

/// [`attempt`] for our errors.
pub(super) async fn attempt_botnets<T>(
    work: impl Future<Output = Result<T, BotnetError>>,
) -> Result<T, BotnetError> {
    attempt(async { Ok(work.await) }).await?
}

/// Lines as they are kept.
fn compress(raw: &[u8]) -> Vec<u8> {
    // Into memory, with a level that exists: there is nothing to fail.
    zstd::bulk::compress(raw, ZSTD_LEVEL).expect("zstd compresses what is in memory")
}

/// Lines as they came.
pub(super) fn decompress(raw: &[u8]) -> io::Result<Bytes> {
    zstd::bulk::decompress(raw, super::CHUNK_BYTES * 2).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_went_in() {
        for lines in [
            "",
            "192.0.2.1\n",
            &"192.0.2.1 80\r\n\u{feff}\0".repeat(100_000),
        ] {
            assert_eq!(decompress(&compress(lines.as_bytes())).unwrap(), lines);
        }
    }
}
