//! Forgetting clients and servers that were not seen for long.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

use crate::{
    api::{Api, extract::Posted, problem::Problem, range},
    store::{self, IDLE},
};

/// What is to be forgotten: one of `before` and `older_than_days`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NtpCleanup)]
pub struct Cleanup {
    /// Clients and servers last seen before this time.
    #[schema(format = DateTime)]
    before: Option<String>,
    /// Last seen so many days ago.
    #[serde(alias = "days")]
    #[schema(minimum = 0, maximum = 36600)]
    older_than_days: Option<u32>,
    /// Only say how many they are.
    #[serde(default)]
    dry_run: bool,
}

/// What was forgotten, or would be.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpCleanedUp)]
pub struct CleanedUp {
    dry_run: bool,
    #[serde(with = "time::serde::rfc3339")]
    before: OffsetDateTime,
    /// Rows of clients.
    clients: u64,
    /// Rows of servers.
    servers: u64,
}

/// Forgets clients and servers that were not seen since a time. Exchanges and roll-ups are not touched:
/// they go with their retention.
#[utoipa::path(
    post,
    path = "/api/v1/ntp/cleanup",
    tag = "ntp",
    operation_id = "clean_up_ntp",
    request_body = Cleanup,
    responses((status = 200, description = "What was, or would be, forgotten", body = CleanedUp))
)]
pub async fn run(
    State(api): State<Api>,
    Posted(cleanup): Posted<Cleanup>,
) -> Result<Json<CleanedUp>, Problem> {
    let before = cleanup.before()?;
    let mut rows = [0; 2];
    for (rows, table) in rows.iter_mut().zip(IDLE) {
        *rows = match cleanup.dry_run {
            true => count(&api, table.0, before).await?,
            false => delete(&api, table, before).await?,
        };
    }
    let [clients, servers] = rows;
    let dry_run = cleanup.dry_run;
    if !dry_run {
        tracing::info!(%before, clients, servers, "NTP clients and servers forgotten over the API");
    }
    Ok(Json(CleanedUp {
        dry_run,
        before,
        clients,
        servers,
    }))
}

/// The same, at the path that earlier programs call.
#[utoipa::path(
    post,
    path = "/api/ntp/history/cleanup",
    tag = "ntp",
    operation_id = "clean_up_ntp_history",
    request_body = Cleanup,
    responses((status = 200, description = "What was, or would be, forgotten", body = CleanedUp))
)]
pub async fn history(
    api: State<Api>,
    cleanup: Posted<Cleanup>,
) -> Result<Json<CleanedUp>, Problem> {
    run(api, cleanup).await
}

impl Cleanup {
    fn before(&self) -> Result<OffsetDateTime, Problem> {
        match (&self.before, self.older_than_days) {
            (Some(before), None) => range::time("before", before),
            (None, Some(days)) => {
                let now = OffsetDateTime::now_utc();
                let before = now.checked_sub(Duration::days(days.into()));
                let before = before.filter(|before| *before > OffsetDateTime::UNIX_EPOCH);
                before.ok_or_else(|| Problem::parameter("older_than_days", "it is before 1970"))
            }
            _ => {
                let reason = "name either this or older_than_days";
                Err(Problem::parameter("before", reason))
            }
        }
    }
}

async fn count(api: &Api, table: &str, before: OffsetDateTime) -> Result<u64, Problem> {
    let count: i64 = sqlx::query_scalar(&format!(
        "SELECT count(*) FROM {table} WHERE last_seen < $1"
    ))
    .bind(before)
    .fetch_one(&api.database)
    .await?;
    Ok(count.unsigned_abs())
}

/// Agent by agent: each statement is short, and what is done stays done.
async fn delete(api: &Api, table: (&str, &str), before: OffsetDateTime) -> Result<u64, Problem> {
    let agents: Vec<i64> = sqlx::query_scalar("SELECT agent_id FROM agents ORDER BY agent_id")
        .fetch_all(&api.database)
        .await?;
    let mut deleted = 0;
    for agent in agents {
        deleted += store::forget(&api.changes, table, agent, before).await?;
    }
    Ok(deleted)
}
