//! What agents are to watch: a family's list, and what an agent does with all of it.

use axum::{Json, body::Bytes, extract::State};
use netmon_common::watch::Digest;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    Api,
    agents::{self, AgentSegment},
    botnets::{FamilySegment, find},
    columns::UnixNanoseconds,
    extract::Segments,
    problem::Problem,
};
use crate::{
    live::FRESH,
    store::{ListError, Listed, botnets::FamilyId},
    watch_text,
};

/// Octets of a list: half a million of the longest prefixes.
pub const MAX_BYTES: usize = 24 << 20;

/// The list of a family: addresses and prefixes that agents watch besides the nodes of watched
/// families.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetWatchList)]
pub struct List {
    /// The family's name.
    #[schema(example = "mozi")]
    family: String,
    /// How often the list has been replaced; 0: never.
    revision: i64,
    /// Addresses and prefixes in it.
    entries: i64,
    /// When it was replaced last.
    #[serde(with = "time::serde::rfc3339::option")]
    changed_at: Option<OffsetDateTime>,
}

/// What an agent watches.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentWatch)]
pub struct AgentWatch {
    /// Whether the agent takes a list from the server: older ones do not, and those without flows, or
    /// with `watch.server = false`.
    takes_list: bool,
    /// Whether it watches what it is to watch; null while the server does not know that itself.
    up_to_date: Option<bool>,
    /// When the list that the agent watches was put together; null: none was ever told.
    version: Option<UnixNanoseconds>,
    /// Entries of that list.
    entries: u64,
    /// Of these, those that the agent's kernel has no room for.
    left_out: u64,
    /// Entries of the agent's own file.
    own_entries: u64,
    /// When the list that it is to watch was put together.
    newest_version: Option<UnixNanoseconds>,
    /// Entries of that list.
    newest_entries: Option<u64>,
    /// When the agent said so, by its clock.
    #[schema(inline)]
    at: UnixNanoseconds,
}

/// The list of a family.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/watch",
    tag = "botnets",
    operation_id = "show_botnet_watch_list",
    params(FamilySegment),
    responses((status = 200, description = "The list", body = List))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
) -> Result<Json<List>, Problem> {
    let family = find(&api.database, &family).await?;
    let listed: Option<Listed> = sqlx::query_as(
        "SELECT revision, entries, changed_at FROM botnet_watch_lists WHERE family_id = $1",
    )
    .bind(family.id)
    .fetch_optional(&api.database)
    .await?;
    Ok(Json(List::new(family.name, listed)))
}

/// Replaces the list of a family.
///
/// The body is text: an address or a prefix a line, `#` begins a comment. Agents watch the new list some
/// seconds later; what they see becomes communications of the family, and addresses that were not
/// known become its nodes. One line that is none of these, and nothing changes.
#[utoipa::path(
    put,
    path = "/api/v1/botnets/{family}/watch",
    tag = "botnets",
    operation_id = "set_botnet_watch_list",
    params(FamilySegment),
    request_body(content = String, content_type = "text/plain", example = "192.0.2.1\n198.51.100.0/24\n"),
    responses((status = 200, description = "The list as it is now", body = List))
)]
pub async fn set(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    body: Bytes,
) -> Result<Json<List>, Problem> {
    let list = watch_text::parse(&body).map_err(|error| Problem::InvalidBody(error.to_string()))?;
    replace(&api, &family, &list).await
}

/// Empties the list of a family.
#[utoipa::path(
    delete,
    path = "/api/v1/botnets/{family}/watch",
    tag = "botnets",
    operation_id = "delete_botnet_watch_list",
    params(FamilySegment),
    responses((status = 200, description = "The list as it is now", body = List))
)]
pub async fn delete(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
) -> Result<Json<List>, Problem> {
    replace(&api, &family, &netmon_common::watch::List::default()).await
}

/// What an agent watches of what it is to watch.
///
/// 404 `no_live_data` when nothing came from it for 15 s.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}/watch",
    tag = "agents",
    operation_id = "show_agent_watch",
    params(AgentSegment),
    responses((status = 200, description = "What it watches", body = AgentWatch))
)]
pub async fn of_agent(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
) -> Result<Json<AgentWatch>, Problem> {
    let agent = agents::find(&api.database, &agent).await?.id();
    let Some(snapshot) = api.live.newest(agent) else {
        return Err(Problem::NoLiveData(FRESH.as_secs()));
    };
    let newest = api.watch_list.newest();
    let state = snapshot.live.watch.as_ref();
    let held = state.and_then(|state| Digest::parse(&state.digest));
    let state = state.cloned();
    Ok(Json(AgentWatch {
        takes_list: state.is_some(),
        up_to_date: newest.map(|newest| held == Some(newest.digest)),
        version: state.as_ref().and_then(|state| at(state.version)),
        entries: state.as_ref().map_or(0, |state| state.entries),
        left_out: state.as_ref().map_or(0, |state| state.left_out),
        own_entries: state.as_ref().map_or(0, |state| state.own_entries),
        newest_version: newest.and_then(|newest| at(newest.version)),
        newest_entries: newest.map(|newest| newest.entries as u64),
        at: UnixNanoseconds(snapshot.live.at_unix_ns),
    }))
}

async fn replace(
    api: &Api,
    family: &str,
    list: &netmon_common::watch::List,
) -> Result<Json<List>, Problem> {
    let family = find(&api.database, family).await?;
    let listed = api
        .botnets
        .set_watch_list(FamilyId::from(family.id), list)
        .await;
    match listed {
        Ok(listed) => Ok(Json(List::new(family.name, Some(listed)))),
        Err(error @ ListError::TooMany(_)) => Err(Problem::FamilyConflict(error.to_string())),
        Err(ListError::Botnets(error)) => Err(error.into()),
    }
}

/// A version as a time; none: there is no list.
fn at(version: u64) -> Option<UnixNanoseconds> {
    let ms = i64::try_from(version).ok().filter(|ms| *ms > 0)?;
    Some(UnixNanoseconds(ms.saturating_mul(1_000_000)))
}

impl List {
    fn new(family: String, listed: Option<Listed>) -> Self {
        Self {
            family,
            revision: listed.map_or(0, |listed| listed.revision),
            entries: listed.map_or(0, |listed| listed.entries),
            changed_at: listed.map(|listed| listed.changed_at),
        }
    }
}
