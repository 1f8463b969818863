//! The result of the last audit of botnets.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;
use utoipa::ToSchema;

use super::family::{self, FamilySegment};
use crate::{
    api::{Api, extract::Segments, problem::Problem},
    botnets::{
        audit::{FamilyAudit, Report},
        jobs::AUDIT,
    },
};

/// What the last audit found of every family.
///
/// Made every `botnets.audit` by one of the servers; `netmon-server botnet audit` makes one at once.
/// 404 `no_audit` before the first one.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/audit",
    tag = "botnets",
    operation_id = "show_botnets_audit",
    responses((status = 200, description = "The last result", body = Report)),
)]
pub async fn show(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(last(&api.database).await?))
}

/// What the last audit found of one family.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = BotnetFamilyAuditResult)]
pub struct OfFamily {
    /// When it was made.
    #[schema(format = DateTime)]
    started_at: String,
    /// Coverage below this raises an alert, per cent.
    threshold: f64,
    #[schema(value_type = FamilyAudit)]
    result: Value,
}

/// What the last audit found of one family.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/audit",
    tag = "botnets",
    operation_id = "show_botnet_audit",
    params(FamilySegment),
    responses((status = 200, description = "The last result", body = OfFamily)),
)]
pub async fn of_family(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
) -> Result<Json<Value>, Problem> {
    let family = family::find(&api.database, &family).await?;
    let mut report = last(&api.database).await?;
    let families = report["families"].as_array_mut().map(std::mem::take);
    let of_family = |audit: &Value| audit["family"] == family.name.as_str();
    let mut families = families.unwrap_or_default().into_iter();
    // Added since, or renamed.
    let result = families.find(of_family).ok_or(Problem::NoBotnetAudit)?;
    Ok(Json(json!({
        "started_at": report["started_at"],
        "threshold": report["threshold"],
        "result": result,
    })))
}

async fn last(database: &PgPool) -> Result<Value, Problem> {
    let result: Option<String> =
        sqlx::query_scalar("SELECT result::text FROM job_results WHERE job = $1")
            .bind(AUDIT)
            .fetch_optional(database)
            .await?;
    let result = result.ok_or(Problem::NoBotnetAudit)?;
    serde_json::from_str(&result).map_err(|error| {
        tracing::error!(%error, "the stored result of the audit of botnets is no JSON");
        Problem::Internal
    })
}
