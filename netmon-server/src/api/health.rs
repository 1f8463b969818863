//! `/livez` and `/readyz`: whether to restart the server, and whether to send it requests.

use std::{sync::atomic::Ordering, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{Api, problem::Problem};

/// How long the database may take to answer before the server counts as not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state of the server.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `live` or `ready`.
    #[schema(example = "ready")]
    status: &'static str,
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/livez", tag = "meta", operation_id = "show_livez", responses((status = 200, description = "It is", body = Health)))]
pub async fn live() -> Json<Health> {
    Json(Health { status: "live" })
}

/// Whether the database answers and its tables are up to date.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "meta",
    operation_id = "show_readyz",
    responses(
        (status = 200, description = "It is", body = Health),
        (
            status = 503,
            description = "`not_ready` or `database_unavailable`",
            body = super::problem::Body,
            content_type = super::problem::MEDIA_TYPE,
        ),
    )
)]
pub async fn ready(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    check_started(&api)?;
    match timeout(PATIENCE, sqlx::query("SELECT 1").execute(&api.database)).await {
        Ok(answer) => answer.map_err(Problem::from)?,
        Err(_) => return Err(Problem::DatabaseUnavailable),
    };
    Ok(Json(Health { status: "ready" }))
}

/// Answers requests for stored data with 503 while the server starts: the tables may not exist.
pub async fn require_started(State(api): State<Api>, request: Request, next: Next) -> Response {
    match check_started(&api) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check_started(api: &Api) -> Result<(), Problem> {
    if api.ready.load(Ordering::Acquire) {
        Ok(())
    } else {
        Err(Problem::NotReady)
    }
}
