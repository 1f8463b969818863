//! Rows of a list as a file, written while they are read.

mod format;

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc;

pub use self::format::{Format, Writer};
use super::problem::Problem;

/// Parts that wait to be sent.
const PARTS: usize = 2;

/// A part of the file, or why there are no more.
type Part = Result<Bytes, std::io::Error>;

/// Where the rows of a file come from.
pub trait Source: Send + 'static {
    /// Writes them all. Whatever can be wrong with the request has been checked before.
    fn write(self, file: &mut File) -> impl Future<Output = Result<(), Stopped>> + Send;
}

/// Why a file ends.
pub enum Stopped {
    /// The caller has what it wanted, or is gone.
    Enough,
    Failed(Problem),
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

/// A file on its way.
pub struct File {
    writer: Writer,
    left: u64,
    parts: mpsc::Sender<Part>,
}

impl File {
    /// Adds rows. Waits while what is written has not been sent.
    pub async fn rows<T: Serialize>(&mut self, rows: &[T]) -> Result<(), Stopped> {
        let take = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(rows.len());
        for row in &rows[..take] {
            self.writer.row(row).map_err(|error| {
                tracing::error!(%error, "a row cannot be exported");
                Problem::Internal
            })?;
        }
        self.left -= take as u64;
        let part = Bytes::from(self.writer.take());
        let gone = !part.is_empty() && self.parts.send(Ok(part)).await.is_err();
        match gone || self.left == 0 {
            true => Err(Stopped::Enough),
            false => Ok(()),
        }
    }

    async fn end(mut self, outcome: Result<(), Stopped>) {
        let part = match outcome {
            Ok(()) | Err(Stopped::Enough) => {
                self.writer.end();
                let part = Bytes::from(self.writer.take());
                if part.is_empty() {
                    return;
                }
                Ok(part)
            }
            Err(Stopped::Failed(problem)) => {
                tracing::warn!(%problem, "an export ended early");
                Err(std::io::Error::other(problem.to_string()))
            }
        };
        // Fails when the caller is gone.
        let _ = self.parts.send(part).await;
    }
}

/// A response with a file called `name` of rows with the fields of `head`, at most `limit` of them. A
/// file that ends before its time ends with the connection, not with its last row.
pub fn respond(
    name: &str,
    format: Format,
    head: &'static [&'static str],
    limit: Option<u64>,
    source: impl Source,
) -> Response {
    let writer = Writer::new(format, head);
    let media_type = writer.media_type();
    let (parts, sent) = mpsc::channel(PARTS);
    let mut file = File {
        writer,
        left: limit.unwrap_or(u64::MAX),
        parts,
    };
    tokio::spawn(async move {
        let outcome = source.write(&mut file).await;
        file.end(outcome).await;
    });
    let body = Body::from_stream(stream::unfold(sent, async |mut sent| {
        let part: Part = sent.recv().await?;
        Some((part, sent))
    }));
    let disposition = format!("attachment; filename=\"{name}.{}\"", format.extension());
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, body).into_response()
}

/// Rows that are all there already.
impl<T: Serialize + Send + Sync + 'static> Source for Vec<T> {
    async fn write(self, file: &mut File) -> Result<(), Stopped> {
        file.rows(&self).await
    }
}
