//! NTP monitoring of interfaces: how it stands, and what is wished of it.
//!
//! A wish is stored and passed on to the agent, which does what it can and says what it does: a
//! request changes the wish and answers before the agent has acted.

pub mod change;
mod interface;
mod order;

use axum::{Json, extract::State};
use serde::Deserialize;
use sqlx::PgPool;
use utoipa::IntoParams;

pub use self::interface::Interface;
use self::interface::{Key, Selection, fetch};
use crate::api::{
    Api,
    agents::{self, AgentSegment},
    cursor::Scope,
    extract::{Parameters, Segments},
    listing::{Listing, Page},
    problem::Problem,
};

/// Agents named when it is not clear which is meant.
const MAX_NAMED: usize = 10;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// Of this agent: id or alias.
    agent: Option<String>,
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParameters {
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AgentParameter {
    /// The agent, by id or alias; needed where several have an interface of this name.
    agent: Option<String>,
}

/// The path's interface.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct NameSegment {
    /// Name of an interface; `eth0@blue` is one in the network namespace `blue`.
    name: String,
}

/// The path's interface of an agent.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct InterfaceSegments {
    /// Id (16 hexadecimal digits) or alias.
    agent: String,
    /// Name of an interface; `eth0@blue` is one in the network namespace `blue`.
    name: String,
}

/// How NTP monitoring stands on every interface that an agent has reported or somebody wished for.
#[utoipa::path(
    get,
    path = "/api/ntp/interfaces",
    tag = "ntp",
    operation_id = "list_ntp_monitoring",
    params(ListParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Interface>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Listing<Interface>>, Problem> {
    let agent = match &parameters.agent {
        Some(agent) => Some(agents::find(&api.database, agent).await?),
        None => None,
    };
    let paging = (parameters.limit.as_deref(), parameters.cursor.as_deref());
    page(&api, agent.as_ref(), paging).await.map(Json)
}

/// The same of one agent.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}/ntp/interfaces",
    tag = "ntp",
    operation_id = "list_agent_ntp_monitoring",
    params(AgentSegment, PageParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Interface>))
)]
pub async fn list_of_agent(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Json<Listing<Interface>>, Problem> {
    let agent = agents::find(&api.database, &agent).await?;
    let paging = (parameters.limit.as_deref(), parameters.cursor.as_deref());
    page(&api, Some(&agent), paging).await.map(Json)
}

async fn page(
    api: &Api,
    agent: Option<&agents::Agent>,
    (limit, cursor): (Option<&str>, Option<&str>),
) -> Result<Listing<Interface>, Problem> {
    let agent = agent.map(agents::Agent::id);
    let filter = agent.map(|agent| agent.to_string());
    let scope = Scope::new("ntp_monitoring", &[filter.as_deref()]);
    let page: Page<Key> = Page::parse(scope, limit, cursor)?;
    let selection = Selection {
        agent,
        names: None,
        after: page.after.as_ref(),
    };
    let rows = fetch(&api.database, &selection, page.fetch()).await?;
    let listing = page.close(rows, interface::Row::key);
    let rows = listing.items.into_iter();
    Ok(Listing {
        items: rows.map(|row| row.seen_by(&api.live)).collect(),
        next_cursor: listing.next_cursor,
    })
}

/// How NTP monitoring stands on an interface.
#[utoipa::path(
    get,
    path = "/api/ntp/interfaces/{name}",
    tag = "ntp",
    operation_id = "show_ntp_monitoring",
    params(NameSegment, AgentParameter),
    responses((status = 200, description = "How it stands", body = Interface))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(NameSegment { name }): Segments<NameSegment>,
    Parameters(AgentParameter { agent }): Parameters<AgentParameter>,
) -> Result<Json<Interface>, Problem> {
    let agent = one_agent(&api.database, &name, agent.as_deref()).await?;
    show_one(&api, &agent, name).await.map(Json)
}

/// The same of an interface of one agent.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}/ntp/interfaces/{name}",
    tag = "ntp",
    operation_id = "show_agent_ntp_monitoring",
    params(InterfaceSegments),
    responses((status = 200, description = "How it stands", body = Interface))
)]
pub async fn show_of_agent(
    State(api): State<Api>,
    Segments(InterfaceSegments { agent, name }): Segments<InterfaceSegments>,
) -> Result<Json<Interface>, Problem> {
    let agent = agents::find(&api.database, &agent).await?;
    show_one(&api, &agent, name).await.map(Json)
}

async fn show_one(api: &Api, agent: &agents::Agent, name: String) -> Result<Interface, Problem> {
    let names = [name];
    let mut found = several(api, agent, &names).await?;
    let [name] = names;
    found.pop().ok_or(Problem::UnknownInterface(name))
}

/// Those of these interfaces that are known.
async fn several(
    api: &Api,
    agent: &agents::Agent,
    names: &[String],
) -> Result<Vec<Interface>, Problem> {
    let selection = Selection {
        agent: Some(agent.id()),
        names: Some(names),
        after: None,
    };
    let rows = fetch(&api.database, &selection, i64::MAX).await?;
    let rows = rows.into_iter();
    Ok(rows.map(|row| row.seen_by(&api.live)).collect())
}

/// The agent that is meant: the one that is named, or else the only one with an interface of this name.
async fn one_agent(
    database: &PgPool,
    interface: &str,
    named: Option<&str>,
) -> Result<agents::Agent, Problem> {
    if let Some(agent) = named {
        return agents::find(database, agent).await;
    }
    let having: Vec<(i64, String)> = sqlx::query_as(
        "SELECT a.agent_id, a.alias FROM agents a
         WHERE EXISTS (SELECT FROM interfaces i WHERE i.agent_id = a.agent_id AND i.name = $1)
            OR EXISTS (SELECT FROM ntp_wishes w WHERE w.agent_id = a.agent_id AND w.interface = $1)
         ORDER BY a.agent_id LIMIT $2",
    )
    .bind(interface)
    .bind(MAX_NAMED as i64 + 1)
    .fetch_all(database)
    .await?;
    let id = |agent: i64| crate::agent_id::AgentId::from_bigint(agent).to_string();
    match having.as_slice() {
        [] => Err(Problem::NoAgentWithInterface(interface.to_owned())),
        [(agent, _)] => agents::find(database, &id(*agent)).await,
        several => {
            let named = several.iter().take(MAX_NAMED);
            let mut named: Vec<_> = named
                .map(|(agent, alias)| format!("{} ({alias})", id(*agent)))
                .collect();
            if several.len() > MAX_NAMED {
                named.push("…".to_owned());
            }
            Err(Problem::AmbiguousInterface {
                interface: interface.to_owned(),
                agents: named.join(", "),
            })
        }
    }
}
