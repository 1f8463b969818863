//! Who sends logs of a family, and whether they still do.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::family::{self, FamilySegment};
use crate::{
    api::{
        Api,
        cursor::Scope,
        extract::{Parameters, Segments},
        listing::{Listing, Page},
        problem::Problem,
    },
    feeds::watch::{self, State as FeedState},
};

/// A source of logs of a family.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetSource)]
pub struct Source {
    /// As its logs name it.
    #[schema(example = "sinkhole-1")]
    source: String,
    /// Logs that came to their end.
    uploads: i64,
    /// When the first did.
    #[serde(with = "time::serde::rfc3339")]
    first_upload_at: OffsetDateTime,
    /// When the last did.
    #[serde(with = "time::serde::rfc3339")]
    last_upload_at: OffsetDateTime,
    /// When the last did of which lines were accepted; null: there is none.
    #[serde(with = "time::serde::rfc3339::option")]
    last_accepted_at: Option<OffsetDateTime>,
    /// Lines accepted of the last logs, five at most, the newest last.
    accepted: Vec<i64>,
    /// Median of the time between the last 21 logs; null: fewer than four came.
    median_interval_seconds: Option<i64>,
    /// How it stands.
    state: FeedState,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    state_since: OffsetDateTime,
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

/// Who sends logs of a family, by name.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/sources",
    tag = "botnets",
    operation_id = "list_botnet_sources",
    params(FamilySegment, ListParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Source>))
)]
pub async fn list(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Listing<Source>>, Problem> {
    let found = family::find(&api.database, &family).await?;
    let page: Page<String> = Page::parse(
        Scope::new("botnet_sources", &[Some(&found.id.to_string())]),
        parameters.limit.as_deref(),
        parameters.cursor.as_deref(),
    )?;
    let rows = sqlx::query(
        "SELECT s.name, f.uploads, f.first_upload_at, f.last_upload_at, f.last_accepted_at,
                f.accepted, f.intervals_s, f.state, f.state_since
         FROM botnet_feeds f JOIN botnet_sources s USING (source_id)
         WHERE f.family_id = $1 AND s.name > $2 ORDER BY s.name LIMIT $3",
    );
    let rows = rows
        .bind(found.id)
        .bind(page.after.as_deref().unwrap_or_default())
        .bind(page.fetch())
        .fetch_all(&api.database)
        .await?;
    let sources = rows.iter().map(|row| {
        let feed = watch::read(row)?;
        Ok(Source {
            source: row.try_get("name")?,
            uploads: feed.uploads,
            first_upload_at: feed.first_upload_at,
            last_upload_at: feed.last_upload_at,
            last_accepted_at: feed.last_accepted_at,
            median_interval_seconds: feed.median_interval(),
            accepted: feed.accepted,
            state: feed.state,
            state_since: feed.state_since,
        })
    });
    let sources = sources.collect::<sqlx::Result<Vec<_>>>()?;
    Ok(Json(page.close(sources, |source| source.source.clone())))
}
