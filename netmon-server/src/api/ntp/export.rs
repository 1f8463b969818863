//! Clients or exchanges as a file, written while they are read.

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
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
    file::{self, File, Format, Stopped},
    problem::Problem,
    range::{self, Range},
};

/// Rows read in one go; so many are in memory, and those that wait to be sent.
const ROWS: i64 = 1000;

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
    let name = match export.what {
        What::Clients => "ntp-clients",
        What::Exchanges => "ntp-exchanges",
    };
    let (format, limit) = (export.format, export.limit);
    let rows = Rows {
        source: Source::new(&api.database, export).await?,
        database: api.database,
    };
    Ok(file::respond(name, format, head, limit, rows))
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

/// The rows, and where they are read.
struct Rows {
    source: Source,
    database: PgPool,
}

impl file::Source for Rows {
    async fn write(self, file: &mut File) -> Result<(), Stopped> {
        self.source.write(&self.database, file).await
    }
}
