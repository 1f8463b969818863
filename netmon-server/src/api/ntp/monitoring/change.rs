//! Starting and stopping NTP monitoring.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AgentParameter, Interface, InterfaceSegments, NameSegment, one_agent,
    order::{Start, StartSeveral, Stop, StopSeveral, Which},
    several,
};
use crate::{
    agent_id::AgentId,
    api::{
        Api,
        agents::{self, AgentSegment},
        extract::{Parameters, Posted, Segments},
        problem::Problem,
    },
    live::LiveBoard,
    store::{self, Wish, WishError, is_interface_name},
};

/// Most agents changed by one request that names none.
const MAX_AGENTS: usize = 1000;

/// The interfaces that were changed, as they stand now.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpMonitoringChanged)]
pub struct Changed {
    items: Vec<Interface>,
}

/// Starts NTP monitoring of an interface, or changes its terms. The answer does not wait for the agent.
#[utoipa::path(
    post,
    path = "/api/ntp/interfaces/{name}/start",
    tag = "ntp",
    operation_id = "start_ntp_monitoring",
    params(NameSegment, AgentParameter),
    request_body = Start,
    responses((status = 200, description = "How it stands", body = Interface))
)]
pub async fn start(
    State(api): State<Api>,
    Segments(NameSegment { name }): Segments<NameSegment>,
    Parameters(AgentParameter { agent }): Parameters<AgentParameter>,
    Posted(order): Posted<Start>,
) -> Result<Json<Interface>, Problem> {
    let (wish, force) = (order.wish()?, order.force);
    let named = named(agent, order.agent)?;
    let agent = one_agent(&api.database, &name, named.as_deref()).await?;
    change_one(&api, &agent, name, &wish, force).await
}

/// Stops NTP monitoring of an interface; its bandwidth goes on being measured.
#[utoipa::path(
    post,
    path = "/api/ntp/interfaces/{name}/stop",
    tag = "ntp",
    operation_id = "stop_ntp_monitoring",
    params(NameSegment, AgentParameter),
    request_body = Stop,
    responses((status = 200, description = "How it stands", body = Interface))
)]
pub async fn stop(
    State(api): State<Api>,
    Segments(NameSegment { name }): Segments<NameSegment>,
    Parameters(AgentParameter { agent }): Parameters<AgentParameter>,
    Posted(order): Posted<Stop>,
) -> Result<Json<Interface>, Problem> {
    let (wish, force) = (order.wish(), order.force);
    let named = named(agent, order.agent)?;
    let agent = one_agent(&api.database, &name, named.as_deref()).await?;
    change_one(&api, &agent, name, &wish, force).await
}

/// Starts NTP monitoring of several interfaces, or of all.
#[utoipa::path(
    post,
    path = "/api/ntp/interfaces/start",
    tag = "ntp",
    operation_id = "start_several_ntp_monitoring",
    params(AgentParameter),
    request_body = StartSeveral,
    responses((status = 200, description = "How they stand", body = Changed))
)]
pub async fn start_several(
    State(api): State<Api>,
    Parameters(AgentParameter { agent }): Parameters<AgentParameter>,
    Posted(order): Posted<StartSeveral>,
) -> Result<Json<Changed>, Problem> {
    let (wish, which) = (order.wish()?, order.which()?);
    let force = order.force;
    let named = named(agent, order.agent)?;
    change_several(&api, named.as_deref(), which, &wish, force).await
}

/// Stops NTP monitoring of several interfaces, or of all.
#[utoipa::path(
    post,
    path = "/api/ntp/interfaces/stop",
    tag = "ntp",
    operation_id = "stop_several_ntp_monitoring",
    params(AgentParameter),
    request_body = StopSeveral,
    responses((status = 200, description = "How they stand", body = Changed))
)]
pub async fn stop_several(
    State(api): State<Api>,
    Parameters(AgentParameter { agent }): Parameters<AgentParameter>,
    Posted(order): Posted<StopSeveral>,
) -> Result<Json<Changed>, Problem> {
    let (wish, which) = (order.wish(), order.which()?);
    let force = order.force;
    let named = named(agent, order.agent)?;
    change_several(&api, named.as_deref(), which, &wish, force).await
}

/// Starts NTP monitoring of an interface of one agent, or changes its terms.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{agent}/ntp/interfaces/{name}/start",
    tag = "ntp",
    operation_id = "start_agent_ntp_monitoring",
    params(InterfaceSegments),
    request_body = Start,
    responses((status = 200, description = "How it stands", body = Interface))
)]
pub async fn start_of_agent(
    State(api): State<Api>,
    Segments(InterfaceSegments { agent, name }): Segments<InterfaceSegments>,
    Posted(order): Posted<Start>,
) -> Result<Json<Interface>, Problem> {
    let wish = order.wish()?;
    let agent = of_path(&api, agent, order.agent).await?;
    change_one(&api, &agent, name, &wish, order.force).await
}

/// Stops NTP monitoring of an interface of one agent.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{agent}/ntp/interfaces/{name}/stop",
    tag = "ntp",
    operation_id = "stop_agent_ntp_monitoring",
    params(InterfaceSegments),
    request_body = Stop,
    responses((status = 200, description = "How it stands", body = Interface))
)]
pub async fn stop_of_agent(
    State(api): State<Api>,
    Segments(InterfaceSegments { agent, name }): Segments<InterfaceSegments>,
    Posted(order): Posted<Stop>,
) -> Result<Json<Interface>, Problem> {
    let wish = order.wish();
    let agent = of_path(&api, agent, order.agent).await?;
    change_one(&api, &agent, name, &wish, order.force).await
}

/// Starts NTP monitoring of several interfaces of one agent, or of all.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{agent}/ntp/interfaces/start",
    tag = "ntp",
    operation_id = "start_several_agent_ntp_monitoring",
    params(AgentSegment),
    request_body = StartSeveral,
    responses((status = 200, description = "How they stand", body = Changed))
)]
pub async fn start_several_of_agent(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
    Posted(order): Posted<StartSeveral>,
) -> Result<Json<Changed>, Problem> {
    let (wish, which) = (order.wish()?, order.which()?);
    let agent = of_path(&api, agent, order.agent).await?.id().to_string();
    change_several(&api, Some(&agent), which, &wish, order.force).await
}

/// Stops NTP monitoring of several interfaces of one agent, or of all.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{agent}/ntp/interfaces/stop",
    tag = "ntp",
    operation_id = "stop_several_agent_ntp_monitoring",
    params(AgentSegment),
    request_body = StopSeveral,
    responses((status = 200, description = "How they stand", body = Changed))
)]
pub async fn stop_several_of_agent(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
    Posted(order): Posted<StopSeveral>,
) -> Result<Json<Changed>, Problem> {
    let (wish, which) = (order.wish(), order.which()?);
    let agent = of_path(&api, agent, order.agent).await?.id().to_string();
    change_several(&api, Some(&agent), which, &wish, order.force).await
}

/// The agent that query or body name.
fn named(query: Option<String>, body: Option<String>) -> Result<Option<String>, Problem> {
    match (query, body) {
        (Some(query), Some(body)) if query != body => {
            let reason = "the query names another one than the body";
            Err(Problem::parameter("agent", reason))
        }
        (query, body) => Ok(query.or(body)),
    }
}

/// The agent of the path, which the body must not contradict.
async fn of_path(api: &Api, path: String, body: Option<String>) -> Result<agents::Agent, Problem> {
    if body.is_some_and(|body| body != path) {
        let reason = "the path names another one than the body";
        return Err(Problem::parameter("agent", reason));
    }
    agents::find(&api.database, &path).await
}

async fn change_one(
    api: &Api,
    agent: &agents::Agent,
    name: String,
    wish: &Wish,
    force: bool,
) -> Result<Json<Interface>, Problem> {
    let names = [name];
    known(api, agent, &names, force).await?;
    let mut items = change(api, agent, &names, wish).await?;
    // It was written a moment ago.
    items.pop().map(Json).ok_or(Problem::Internal)
}

/// Each agent's at once; what is done of several agents' stays done if one of them refuses.
async fn change_several(
    api: &Api,
    agent: Option<&str>,
    which: Which,
    wish: &Wish,
    force: bool,
) -> Result<Json<Changed>, Problem> {
    let mut by_agent: BTreeMap<AgentId, (agents::Agent, Vec<String>)> = BTreeMap::new();
    match (which, agent) {
        (Which::Named(names), Some(agent)) => {
            let agent = agents::find(&api.database, agent).await?;
            by_agent.insert(agent.id(), (agent, names));
        }
        (Which::Named(names), None) => {
            for name in names {
                let agent = one_agent(&api.database, &name, None).await?;
                let (_, names) = by_agent.entry(agent.id()).or_insert((agent, Vec::new()));
                names.push(name);
            }
        }
        (Which::All, agent) => {
            for agent in all_agents(api, agent).await? {
                let names = watched(api, &agent).await?;
                if !names.is_empty() {
                    by_agent.insert(agent.id(), (agent, names));
                }
            }
        }
    }
    for (agent, names) in by_agent.values() {
        known(api, agent, names, force).await?;
    }
    let mut items = Vec::new();
    for (agent, names) in by_agent.values() {
        items.extend(change(api, agent, names, wish).await?);
    }
    Ok(Json(Changed { items }))
}

async fn all_agents(api: &Api, named: Option<&str>) -> Result<Vec<agents::Agent>, Problem> {
    if let Some(agent) = named {
        return Ok(vec![agents::find(&api.database, agent).await?]);
    }
    let ids: Vec<i64> = sqlx::query_scalar("SELECT agent_id FROM agents ORDER BY 1 LIMIT $1")
        .bind(MAX_AGENTS as i64 + 1)
        .fetch_all(&api.database)
        .await?;
    if ids.len() > MAX_AGENTS {
        let reason = format!("name one: there are more than {MAX_AGENTS}");
        return Err(Problem::parameter("agent", reason));
    }
    let mut agents = Vec::new();
    for id in ids {
        let id = AgentId::from_bigint(id).to_string();
        agents.push(agents::find(&api.database, &id).await?);
    }
    Ok(agents)
}

/// Interfaces on which the agent measures, and those that were wished for before.
async fn watched(api: &Api, agent: &agents::Agent) -> Result<Vec<String>, Problem> {
    let names = sqlx::query_scalar(
        "SELECT name FROM interfaces WHERE agent_id = $1 AND monitored
         UNION SELECT interface FROM ntp_wishes WHERE agent_id = $1 ORDER BY 1",
    )
    .bind(agent.id().to_bigint())
    .fetch_all(&api.database)
    .await?;
    Ok(names)
}

/// Refuses names that nobody has, and without `force` those that the agent does not have.
async fn known(
    api: &Api,
    agent: &agents::Agent,
    names: &[String],
    force: bool,
) -> Result<(), Problem> {
    if let Some(name) = names.iter().find(|name| !is_interface_name(name)) {
        let reason = format!("{name:?} is not the name of an interface");
        return Err(Problem::parameter("interface", reason));
    }
    if force {
        return Ok(());
    }
    let stored: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM interfaces WHERE agent_id = $1 AND name = ANY ($2)
         UNION SELECT interface FROM ntp_wishes WHERE agent_id = $1 AND interface = ANY ($2)",
    )
    .bind(agent.id().to_bigint())
    .bind(names)
    .fetch_all(&api.database)
    .await?;
    let mut known: HashSet<String> = stored.into_iter().collect();
    // One that has only just appeared.
    let newest = api.live.newest(agent.id());
    let live = newest.iter().flat_map(|snapshot| &snapshot.live.interfaces);
    known.extend(live.map(|interface| interface.name.clone()));
    match names.iter().find(|name| !known.contains(*name)) {
        Some(name) => Err(Problem::InterfaceToCome(name.clone())),
        None => Ok(()),
    }
}

async fn change(
    api: &Api,
    agent: &agents::Agent,
    names: &[String],
    wish: &Wish,
) -> Result<Vec<Interface>, Problem> {
    let reported = reported_ports(&api.live, agent.id());
    store::wish(&api.changes, agent.id(), names, wish, &reported).await?;
    api.prompt.look();
    let (agent_id, monitored) = (agent.id(), wish.monitored);
    tracing::info!(%agent_id, interfaces = ?names, monitored, "NTP monitoring was wished over the API");
    several(api, agent, names).await
}

/// What the agent looks for on each interface now.
fn reported_ports(live: &LiveBoard, agent: AgentId) -> HashMap<String, Vec<u16>> {
    let Some(newest) = live.newest(agent) else {
        return HashMap::new();
    };
    let interfaces = newest.live.interfaces.iter();
    let reported = interfaces.filter_map(|interface| {
        let ports = interface.ntp.as_ref()?.ports.iter();
        let ports = ports.filter_map(|port| u16::try_from(*port).ok()).collect();
        Some((interface.name.clone(), ports))
    });
    reported.collect()
}

impl From<WishError> for Problem {
    fn from(error: WishError) -> Self {
        match error {
            WishError::TooMany => Self::TooManyWishes,
            WishError::TooManyPorts(ports) => Self::TooManyPorts(ports),
            WishError::Database(error) => error.into(),
        }
    }
}
