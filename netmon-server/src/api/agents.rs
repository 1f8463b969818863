//! Agents: who sends, since when, and from what host.

pub mod interfaces;
pub mod live;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    columns::Agent as AgentColumn,
    cursor::Scope,
    extract::{Parameters, Segments},
    listing::{Listing, Page},
    problem::Problem,
};
use crate::{agent_id::AgentId, live::LiveBoard};

/// One agent.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct Agent {
    /// The number in its certificate.
    #[sqlx(rename = "agent_id")]
    #[schema(inline)]
    id: AgentColumn,
    /// A name for people; not necessarily unique.
    alias: String,
    hostname: String,
    agent_version: String,
    kernel_release: String,
    /// Its newest run: milliseconds since 1970 at its start.
    epoch: i64,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
    /// Whether it has a connection to this server.
    #[sqlx(skip)]
    connected: bool,
}

/// Columns by name: `*` would break on a column that a newer server adds to a shared database.
macro_rules! select {
    () => {
        "SELECT agent_id, alias, hostname, agent_version, kernel_release, epoch, first_seen, \
         last_seen FROM agents"
    };
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The path's agent: its id, or its alias where that is unique.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AgentSegment {
    /// Id (16 hexadecimal digits) or alias.
    pub agent: String,
}

/// Every agent that has ever connected, by id.
#[utoipa::path(
    get,
    path = "/api/v1/agents",
    tag = "agents",
    operation_id = "list_agents",
    params(ListParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Agent>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Listing<Agent>>, Problem> {
    let scope = Scope::new("agents", &[]);
    let page = Page::parse(
        scope,
        parameters.limit.as_deref(),
        parameters.cursor.as_deref(),
    )?;
    let rows: Vec<Agent> = sqlx::query_as(concat!(
        select!(),
        " WHERE agent_id > $1 ORDER BY agent_id LIMIT $2"
    ))
    .bind(page.after.unwrap_or(i64::MIN))
    .bind(page.fetch())
    .fetch_all(&api.database)
    .await?;
    let agents = rows
        .into_iter()
        .map(|agent| agent.seen_by(&api.live))
        .collect();
    Ok(Json(page.close(agents, |agent| agent.id.0)))
}

/// One agent.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}",
    tag = "agents",
    operation_id = "show_agent",
    params(AgentSegment),
    responses((status = 200, description = "The agent", body = Agent))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
) -> Result<Json<Agent>, Problem> {
    Ok(Json(find(&api.database, &agent).await?.seen_by(&api.live)))
}

/// The agent with this id, or else with this alias.
pub async fn find(database: &PgPool, name: &str) -> Result<Agent, Problem> {
    if let Ok(id) = name.parse::<AgentId>() {
        let row = sqlx::query_as(concat!(select!(), " WHERE agent_id = $1"))
            .bind(id.to_bigint())
            .fetch_optional(database)
            .await?;
        if let Some(row) = row {
            return Ok(row);
        }
    }
    let mut rows: Vec<Agent> = sqlx::query_as(concat!(
        select!(),
        " WHERE alias = $1 ORDER BY agent_id LIMIT 3"
    ))
    .bind(name)
    .fetch_all(database)
    .await?;
    if rows.len() > 1 {
        let ids: Vec<_> = rows.iter().map(|row| row.id().to_string()).collect();
        return Err(Problem::AmbiguousAgent {
            alias: name.to_owned(),
            ids: ids.join(", "),
        });
    }
    rows.pop()
        .ok_or_else(|| Problem::UnknownAgent(name.to_owned()))
}

impl Agent {
    pub fn id(&self) -> AgentId {
        self.id.id()
    }

    pub fn alias(&self) -> &str {
        &self.alias
    }

    pub fn agent_version(&self) -> &str {
        &self.agent_version
    }

    pub fn kernel_release(&self) -> &str {
        &self.kernel_release
    }

    /// The database does not know who is connected; the board does.
    fn seen_by(self, live: &LiveBoard) -> Self {
        Self {
            connected: live.is_connected(self.id()),
            ..self
        }
    }
}
