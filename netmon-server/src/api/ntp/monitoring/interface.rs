//! An interface: what is wished of it, what its agent says, and what follows from both.

use netmon_common::wire::NtpState;
use serde::Serialize;
use sqlx::{PgPool, QueryBuilder};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    agent_id::AgentId,
    api::columns::{Agent, UnixNanoseconds},
    live::LiveBoard,
};

/// How NTP monitoring stands on an interface of an agent.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpMonitoring)]
pub struct Interface {
    #[schema(inline)]
    agent: Agent,
    agent_alias: String,
    interface: String,
    state: Standing,
    /// Null: nothing was ever wished; it is as the agent's configuration says.
    wish: Option<Wished>,
    /// What the agent does; null where it does not say.
    reported: Option<Reported>,
}

/// How the wish and what the agent does fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NtpMonitoringState)]
pub enum Standing {
    /// NTP is looked at.
    Running,
    /// NTP is not looked at.
    Stopped,
    /// A start, or other terms, are wished; the agent has not heard of it yet.
    Starting,
    /// A stop is wished; the agent has not heard of it yet.
    Stopping,
    /// The agent does not watch the interface: it is down, gone, yet to come, or left out by the
    /// agent's configuration. A wish holds from the moment at which it is watched.
    NotWatched,
    /// The agent is not connected to this server. A wish reaches it when it returns.
    Offline,
    /// The agent is older than wishes, or has only just connected.
    Unknown,
}

/// What is wished.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpMonitoringWish)]
pub struct Wished {
    monitored: bool,
    /// Null: as the agent's configuration says.
    ports: Option<Vec<i32>>,
    /// Null: as the agent's configuration says.
    timeout_seconds: Option<f64>,
    #[serde(with = "time::serde::rfc3339")]
    changed_at: OffsetDateTime,
    #[serde(skip)]
    revision: u64,
}

/// What an agent does.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpMonitoringReport)]
pub struct Reported {
    monitored: bool,
    /// Those on which servers are looked for.
    ports: Vec<u32>,
    timeout_seconds: f64,
    /// Since when, by the agent's clock.
    #[schema(inline)]
    since: UnixNanoseconds,
}

/// What the database knows.
#[derive(sqlx::FromRow)]
pub struct Row {
    #[sqlx(rename = "agent_id")]
    agent: Agent,
    agent_alias: String,
    interface: String,
    monitored: Option<bool>,
    ports: Option<Vec<i32>>,
    timeout_ms: Option<i32>,
    revision: Option<i64>,
    changed_at: Option<OffsetDateTime>,
}

/// Orders the list: agent and interface.
pub type Key = (i64, String);

/// The interfaces that are meant.
pub struct Selection<'a> {
    pub agent: Option<AgentId>,
    pub names: Option<&'a [String]>,
    pub after: Option<&'a Key>,
}

/// Interfaces that an agent has reported and those that somebody wished for, in their order.
pub async fn fetch(
    database: &PgPool,
    selection: &Selection<'_>,
    limit: i64,
) -> sqlx::Result<Vec<Row>> {
    let mut query = QueryBuilder::new(
        "SELECT k.agent_id, a.alias AS agent_alias, k.name AS interface, w.monitored, w.ports,
                w.timeout_ms, w.revision, w.changed_at
         FROM (SELECT agent_id, name FROM interfaces
               UNION SELECT agent_id, interface FROM ntp_wishes) k
         JOIN agents a ON a.agent_id = k.agent_id
         LEFT JOIN ntp_wishes w ON w.agent_id = k.agent_id AND w.interface = k.name WHERE true",
    );
    if let Some(agent) = selection.agent {
        query.push(" AND k.agent_id = ");
        query.push_bind(agent.to_bigint());
    }
    if let Some(names) = selection.names {
        query.push(" AND k.name = ANY (");
        query.push_bind(names).push(")");
    }
    if let Some((agent, name)) = selection.after {
        query.push(" AND (k.agent_id, k.name) > (");
        query.push_bind(*agent).push(", ");
        query.push_bind(name).push(")");
    }
    query.push(" ORDER BY k.agent_id, k.name LIMIT ");
    query.push_bind(limit);
    query.build_query_as().fetch_all(database).await
}

impl Row {
    /// Where it stands in the list.
    pub fn key(&self) -> Key {
        (self.agent.0, self.interface.clone())
    }

    /// With what the agent says.
    pub fn seen_by(self, live: &LiveBoard) -> Interface {
        let agent = self.agent.id();
        let newest = live.newest(agent).filter(|_| live.is_connected(agent));
        let seen = newest.as_ref().map(|snapshot| {
            let mut interfaces = snapshot.live.interfaces.iter();
            let found = interfaces.find(|live| live.name == self.interface);
            found.map(|live| live.ntp.as_ref())
        });
        let wish = wished(&self);
        let state = match (live.is_connected(agent), seen) {
            (false, _) => Standing::Offline,
            (true, None) => wish.as_ref().map_or(Standing::Unknown, Wished::pending),
            (true, Some(None)) => Standing::NotWatched,
            (true, Some(Some(None))) => Standing::Unknown,
            (true, Some(Some(Some(ntp)))) => of(wish.as_ref(), ntp),
        };
        Interface {
            agent: self.agent,
            agent_alias: self.agent_alias,
            interface: self.interface,
            state,
            wish,
            reported: seen.flatten().flatten().map(Reported::from),
        }
    }
}

fn wished(row: &Row) -> Option<Wished> {
    Some(Wished {
        monitored: row.monitored?,
        ports: row.ports.clone(),
        timeout_seconds: row.timeout_ms.map(|ms| f64::from(ms) / 1e3),
        changed_at: row.changed_at?,
        revision: row.revision?.unsigned_abs(),
    })
}

/// How it stands where the agent says what it does.
fn of(wish: Option<&Wished>, ntp: &NtpState) -> Standing {
    match wish {
        Some(wish) if ntp.revision < wish.revision => wish.pending(),
        _ if ntp.monitored => Standing::Running,
        _ => Standing::Stopped,
    }
}

impl Wished {
    fn pending(&self) -> Standing {
        match self.monitored {
            true => Standing::Starting,
            false => Standing::Stopping,
        }
    }
}

impl From<&NtpState> for Reported {
    fn from(state: &NtpState) -> Self {
        Self {
            monitored: state.monitored,
            ports: state.ports.clone(),
            timeout_seconds: f64::from(state.timeout_ms) / 1e3,
            since: UnixNanoseconds(state.since_unix_ns),
        }
    }
}
