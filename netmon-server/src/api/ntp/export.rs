//! Clients or exchanges as a file, written while they are read.

mod format;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::{
    client::NtpClient,
    exchange::NtpExchange,
    exchanges,
    filter::{Filter, Wish},
    selection::Selection,
};
use crate::api::{
    Api,
    extract::Posted,
    problem::Problem,
    range::{self, Range},
};
use format::{Format, Writer};

/// Rows read in one go; so many are in memory, and two parts that wait to be sent.
const ROWS: i64 = 1000;
const PARTS: usize = 2;

/// A part of the file, or why there are no more.
type Part = Result<Bytes, std::io::Error>;

/// What is exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NtpExportKind)]
pub enum What {
    #[default]
    Clients,
    /// By agent, newest first.
    Exchanges,
}

/// An export.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = NtpExport)]
pub struct Export {
    #[serde(alias = "kind")]
    what: What,
    format: Format,
    /// Which rows; all by default.
    #[serde(alias = "filters")]
    filter: Wish,
    /// Most rows; no bound by default.
    limit: Option<u64>,
}

/// Clients or exchanges as JSON (one array), NDJSON (one object a line) or CSV (RFC 4180). A file that
/// ends before its time ends with the connection, not with its last row.
#[utoipa::path(
    post,
    path = "/api/v1/ntp/export",
    tag = "ntp",
    operation_id = "export_ntp",
    request_body = Export,
    responses((status = 200, description = "The file", content_type = "application/x-ndjson", body = String))
)]
pub async fn run(
    State(api): State<Api>,
    Posted(export): Posted<Export>,
) -> Result<Response, Problem> {
    let head = match export.what {
        What::Clients => NtpClient::HEAD,
        What::Exchanges => NtpExchange::HEAD,
    };
    let writer = Writer::new(export.format, head);
    let left = export.limit.unwrap_or(u64::MAX);
    let (parts, sent) = mpsc::channel(PARTS);
    let mut file = File {
        writer,
        left,
        parts,
    };
    let disposition = format!(
        "attachment; filename=\"ntp-{}.{}\"",
        match export.what {
            What::Clients => "clients",
            What::Exchanges => "exchanges",
        },
        export.format.extension()
    );
    let source = Source::new(&api.database, export).await?;
    let media_type = file.writer.media_type();
    tokio::spawn(async move {
        let outcome = source.write(&api.database, &mut file).await;
        file.end(outcome).await;
    });
    let body = Body::from_stream(stream::unfold(sent, async |mut sent| {
        let part: Part = sent.recv().await?;
        Some((part, sent))
    }));
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, body).into_response())
}

/// The same, at the path that earlier programs call.
#[utoipa::path(
    post,
    path = "/api/ntp/history/export",
    tag = "ntp",
    operation_id = "export_ntp_history",
    request_body = Export,
    responses((status = 200, description = "The file", content_type = "application/x-ndjson", body = String))
)]
pub async fn history(api: State<Api>, export: Posted<Export>) -> Result<Response, Problem> {
    run(api, export).await
}

/// Where the rows come from; checked, so that what is wrong is answered with a problem.
enum Source {
    Clients(Wish),
    Exchanges(Vec<i64>, Filter, Range),
}

impl Source {
    async fn new(database: &PgPool, export: Export) -> Result<Self, Problem> {
        let wish = export.filter;
        if export.what == What::Clients {
            Selection::new(database, &wish).await?;
            return Ok(Self::Clients(wish));
        }
        let time = |name, text: &Option<String>, otherwise| match text {
            Some(text) => range::time(name, text),
            None => Ok(otherwise),
        };
        let range = Range {
            from: time("from", &wish.from, OffsetDateTime::UNIX_EPOCH)?,
            to: time("to", &wish.to, OffsetDateTime::now_utc())?,
        };
        let filter = wish.filter(database).await?;
        let agents = match filter.agents() {
            Some(agents) => agents.to_vec(),
            None => {
                sqlx::query_scalar("SELECT agent_id FROM agents ORDER BY agent_id")
                    .fetch_all(database)
                    .await?
            }
        };
        Ok(Self::Exchanges(agents, filter, range))
    }

    /// Reads page after page, each by the key of the last row: no statement is long, and the connection
    /// is given back between them.
    async fn write(&self, database: &PgPool, file: &mut File) -> Result<(), Stopped> {
        match self {
            Self::Clients(wish) => {
                let selection = Selection::new(database, wish).await?;
                let mut after = None;
                loop {
                    let page = selection.fetch(database, after.as_ref(), 0, ROWS).await?;
                    file.rows(&page).await?;
                    match page.last() {
                        Some(last) if page.len() as i64 == ROWS => after = Some(last.key()),
                        _ => return Ok(()),
                    }
                }
            }
            Self::Exchanges(agents, filter, range) => {
                for agent in agents {
                    let filter = filter.of_agent(*agent);
                    let mut after = None;
                    loop {
                        let page = exchanges::fetch(database, &filter, *range, after, ROWS).await?;
                        file.rows(&page).await?;
                        match page.last() {
                            Some(last) if page.len() as i64 == ROWS => after = Some(last.key()),
                            _ => break,
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

/// Why an export ends early.
enum Stopped {
    /// The caller has what it wanted, or is gone.
    Enough,
    Failed(Problem),
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

/// The file on its way.
struct File {
    writer: Writer,
    left: u64,
    parts: mpsc::Sender<Part>,
}

impl File {
    async fn rows<T: Serialize>(&mut self, rows: &[T]) -> Result<(), Stopped> {
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
