//! The result of the last audit.

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};

use super::{Api, problem::Problem};
use crate::audit::{Report, job::JOB};

/// What the last audit of the recent past found.
///
/// Made every `audit.interval` by one of the servers; `netmon-server audit` makes one at once, of as
/// much time as one likes. 404 `no_audit` before the first one.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "audit",
    operation_id = "show_audit",
    responses((status = 200, description = "The last result", body = Report)),
)]
pub async fn show(State(api): State<Api>) -> Result<Response, Problem> {
    let result: Option<String> =
        sqlx::query_scalar("SELECT result::text FROM job_results WHERE job = $1")
            .bind(JOB)
            .fetch_optional(&api.database)
            .await?;
    let json = result.ok_or(Problem::NoAudit)?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
