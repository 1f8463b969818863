//! A log from its first octet to its last chunk in the database.

use std::io::{self, Read};

use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{JoinError, spawn_blocking},
};

use super::{
    Encoding, LogOptions, Report, decoded,
    reading::{Lines, Reading},
};
use crate::{
    geo,
    store::botnets::{BotnetError, Botnets, Chunk, Family, StoredChunk, Upload},
};

/// Why a log was not received to its end. The chunks before are stored.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It cannot be read, or decompressed.
    #[error("it cannot be read to its end: {0}")]
    Source(#[from] io::Error),
    /// It cannot be stored.
    #[error(transparent)]
    Store(#[from] BotnetError),
    /// The key came before with other options, by which its lines were read.
    #[error("the key was used for a log that was to be read as {0:?}: use another key")]
    OtherOptions(String),
    /// The thread that reads failed.
    #[error("the thread that reads the log failed: {0}")]
    Reader(#[from] JoinError),
}

/// Reads a log and stores it, chunk by chunk; `stored` is told of each. The report counts what is
/// stored also when an error ends it.
///
/// # Errors
/// See [`ReceiveError`]. The same log sent again with the same key goes on where this ended.
pub async fn receive<R: Read + Send + 'static>(
    botnets: &Botnets,
    geo: geo::Current,
    family: &Family,
    upload: &Upload,
    options: LogOptions,
    (source, encoding): (R, Encoding),
    mut stored: impl FnMut(&StoredChunk),
) -> Result<(), ReceiveError> {
    if upload.format != options.to_text() {
        return Err(ReceiveError::OtherOptions(upload.format.clone()));
    }
    let edition = botnets.edition(geo.edition()).await?;
    let parser = options.of_family(botnets, family, upload.received_at);
    let lines = Lines::new(parser, upload.received_at, geo, edition);
    // With a place for one, which is taken before a chunk is begun.
    let (sender, mut chunks) = mpsc::channel::<Chunk>(1);
    let runtime = Handle::current();
    let reader = spawn_blocking(move || {
        let mut reading = Reading::new(decoded(source, encoding)?, lines);
        loop {
            let Ok(place) = runtime.block_on(sender.reserve()) else {
                // Nobody stores any more.
                return Ok(());
            };
            match reading.next_chunk()? {
                Some(chunk) => place.send(chunk),
                None => return io::Result::Ok(()),
            }
        }
    });
    let mut count = 0;
    while let Some(chunk) = chunks.recv().await {
        stored(&botnets.store_chunk(upload, chunk).await?);
        count += 1;
    }
    reader.await??;
    if upload.known {
        check_end(botnets, upload, count).await?;
    }
    botnets.finish_upload(upload).await?;
    Ok(())
}

/// Whether the log that came before with the key had no more chunks than this one.
async fn check_end(botnets: &Botnets, upload: &Upload, count: u32) -> Result<(), BotnetError> {
    let last: Option<i32> = sqlx::query_scalar(
        "SELECT max(chunk) FROM botnet_chunks
         WHERE family_id = $1 AND received_at = $2 AND upload_id = $3",
    )
    .bind(upload.family)
    .bind(upload.received_at)
    .bind(upload.upload_id)
    .fetch_one(botnets.pool())
    .await?;
    match last {
        Some(last) if i64::from(last) >= i64::from(count) => {
            Err(BotnetError::OtherContent { chunk: count })
        }
        _ => Ok(()),
    }
}

impl ReceiveError {
    /// Whether it passes: the same may be sent again in a moment.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}

/// A report while a log is received.
impl Report {
    /// Takes the chunks of [`receive`].
    pub fn collect(&mut self) -> impl FnMut(&StoredChunk) + '_ {
        |chunk| self.add(chunk)
    }
}
