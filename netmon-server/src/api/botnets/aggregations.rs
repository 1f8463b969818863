//! Runs of the full rebuild of statistics: what there were, and one now.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use time::OffsetDateTime;
use tokio::{sync::Semaphore, time::timeout};
use utoipa::{IntoParams, ToSchema};

use super::family::{self, FamilySegment, Found};
use crate::{
    api::{
        Api,
        cursor::Scope,
        extract::{Parameters, Posted, Segments},
        listing::{Listing, Page},
        problem::Problem,
    },
    botnets::{
        Subject,
        aggregate::{self, Round, Trigger},
    },
    store::botnets::FamilyId,
};

/// How long an answer waits for a run.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs that were asked for, at once.
static RUNNING: Semaphore = Semaphore::const_new(1);

/// A run of one family.
#[derive(Serialize, ToSchema, FromRow)]
#[schema(as = BotnetAggregation)]
pub struct Aggregation {
    family: String,
    /// Rises with every run, with gaps.
    #[sqlx(rename = "run_id")]
    run: i64,
    /// `command`, `daemon`, `job`, `api`, `relocation` or `self_test`.
    trigger: String,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    finished_at: OffsetDateTime,
    /// Nodes that were counted.
    nodes: i64,
    /// Their communications.
    communications: i64,
    /// Places with nodes: rows of statistics.
    places: i64,
    /// Places whose statistics were not as counted. Always 0: whatever else is a fault.
    drift_places: i64,
    /// Sum of the absolute differences of nodes.
    drift_nodes: i64,
    /// Sum of the absolute differences of communications.
    drift_communications: i64,
    /// The end of the windows of active nodes.
    #[serde(with = "time::serde::rfc3339::option")]
    active_as_of: Option<OffsetDateTime>,
    /// Why it failed; null: it succeeded.
    error: Option<String>,
}

/// What a run that was asked for came to.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetAggregationAnswer)]
pub struct Answer {
    /// Whether it is done; a long one goes on behind the answer, and is in the list when it is.
    finished: bool,
    /// What it came to; null: not finished.
    run: Option<Round>,
}

/// Which families a run is for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BotnetAggregationOrder)]
pub struct Order {
    /// Names or aliases; all families by default.
    families: Option<Vec<String>>,
}

/// Nothing more is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BotnetNothing)]
pub struct Nothing {}

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

/// Runs of all families, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/aggregations",
    tag = "botnets",
    operation_id = "list_botnets_aggregations",
    params(ListParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Aggregation>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Listing<Aggregation>>, Problem> {
    parameters.answer(&api, None).await
}

/// Runs of a family, newest first; the last thousand are kept.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/aggregations",
    tag = "botnets",
    operation_id = "list_botnet_aggregations",
    params(FamilySegment, ListParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Aggregation>))
)]
pub async fn list_of_family(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Listing<Aggregation>>, Problem> {
    let family = family::find(&api.database, &family).await?;
    parameters.answer(&api, Some(family.id)).await
}

/// Counts statistics afresh now: of the families that are named, or of all.
#[utoipa::path(
    post,
    path = "/api/v1/botnets/aggregations",
    tag = "botnets",
    operation_id = "run_botnets_aggregation",
    request_body = Order,
    responses(
        (status = 200, description = "What it came to", body = Answer),
        (status = 202, description = "It is under way", body = Answer),
    )
)]
pub async fn run(
    State(api): State<Api>,
    Posted(Order { families }): Posted<Order>,
) -> Result<Response, Problem> {
    let named = families.map(|families| families.join(","));
    let families = family::several(&api.database, named.as_deref()).await?;
    run_now(&api, families).await
}

/// Counts a family's statistics afresh now.
#[utoipa::path(
    post,
    path = "/api/v1/botnets/{family}/aggregations",
    tag = "botnets",
    operation_id = "run_botnet_aggregation",
    params(FamilySegment),
    request_body = Nothing,
    responses(
        (status = 200, description = "What it came to", body = Answer),
        (status = 202, description = "It is under way", body = Answer),
    )
)]
pub async fn run_of_family(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let family = family::find(&api.database, &family).await?;
    run_now(&api, vec![family]).await
}

/// Runs in a task of its own: a caller who goes away does not stop it.
async fn run_now(api: &Api, families: Vec<Found>) -> Result<Response, Problem> {
    let Ok(running) = RUNNING.try_acquire() else {
        return Err(Problem::AggregationRunning);
    };
    let (botnets, metrics) = (Arc::clone(&api.botnets), Arc::clone(&api.metrics));
    let subjects: Vec<_> = families.into_iter().map(Subject::from).collect();
    let run = tokio::spawn(async move {
        let round = aggregate::run(botnets.pool(), &subjects, Trigger::Api).await;
        metrics.aggregation.rebuilt(&round);
        drop(running);
        round
    });
    let run = match timeout(PATIENCE, run).await {
        Ok(Ok(round)) => Some(round),
        Ok(Err(_)) => return Err(Problem::Internal),
        Err(_) => None,
    };
    let finished = run.is_some();
    let status = match finished {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    Ok((status, Json(Answer { finished, run })).into_response())
}

impl From<Found> for Subject {
    fn from(family: Found) -> Self {
        Self {
            id: FamilyId::from(family.id),
            name: family.name,
        }
    }
}

impl ListParameters {
    /// Newest first, by the time of their beginning, the family, and the run.
    async fn answer(
        &self,
        api: &Api,
        family: Option<i64>,
    ) -> Result<Json<Listing<Aggregation>>, Problem> {
        let of = family.map(|family| family.to_string());
        let scope = Scope::new("botnet_aggregations", &[of.as_deref()]);
        let page: Page<(i64, i64, i64)> =
            Page::parse(scope, self.limit.as_deref(), self.cursor.as_deref())?;
        #[derive(FromRow)]
        struct Row {
            family_id: i64,
            started_us: i64,
            #[sqlx(flatten)]
            aggregation: Aggregation,
        }
        let (started, after_family, after_run) =
            page.after.unwrap_or((i64::MAX, i64::MAX, i64::MAX));
        // A family keeps a thousand runs.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT * FROM (
                 SELECT run.*, family.name AS family,
                        (extract(epoch FROM run.started_at) * 1000000)::bigint AS started_us
                 FROM botnet_aggregations run JOIN botnet_families family USING (family_id)
                 WHERE $1::bigint IS NULL OR run.family_id = $1
             ) runs
             WHERE (started_us, family_id, run_id) < ($2, $3, $4)
             ORDER BY started_us DESC, family_id DESC, run_id DESC LIMIT $5",
        )
        .bind(family)
        .bind(started)
        .bind(after_family)
        .bind(after_run)
        .bind(page.fetch())
        .fetch_all(&api.database)
        .await?;
        let page = page.close(rows, |row| {
            (row.started_us, row.family_id, row.aggregation.run)
        });
        Ok(Json(Listing {
            items: page.items.into_iter().map(|row| row.aggregation).collect(),
            next_cursor: page.next_cursor,
        }))
    }
}
