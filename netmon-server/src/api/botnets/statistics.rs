//! Statistics by country, province and city, of one family or over several.

mod by_place;
pub mod summary;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

pub use self::by_place::{Counts, Level, Order, PlaceCounts, Row, by_place};
use super::{family, names::Language, place::PlaceFilter};
use crate::api::{
    Api,
    extract::{Parameters, Segments},
    file::{self, Format},
    problem::Problem,
};

/// Most places of an answer, and how many there are unless more are asked for.
const MAX_PLACES: i64 = 10_000;
const DEFAULT_PLACES: i64 = 1000;

/// The provinces and cities of which country are shown unless another is named.
const DEFAULT_COUNTRY: &str = "CN";

/// Statistics by place at this moment.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetStatistics)]
pub struct Statistics {
    /// Whose they are.
    families: Vec<String>,
    #[schema(inline)]
    by: Level,
    /// The end of the windows of `active_day`, `active_week` and `active_month`, which are closed
    /// hours: the earliest where families differ; null: not determined yet.
    #[serde(with = "time::serde::rfc3339::option")]
    active_as_of: Option<OffsetDateTime>,
    /// Sums over all places that fit, listed or not.
    #[serde(flatten)]
    total: Counts,
    /// The largest first. The place whose codes are null is where nobody knows.
    items: Vec<PlaceCounts>,
    /// Places that fit and are not listed.
    omitted: u64,
    /// Always null: there is one page.
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct FamilyLevel {
    /// Name or alias.
    #[param(example = "mozi")]
    family: String,
    #[param(value_type = Level, inline)]
    by: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct LevelSegment {
    #[param(value_type = Level, inline)]
    by: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatisticsParameters {
    /// Of this country (ISO 3166-1), or `unknown`; for provinces and cities CN by default.
    country: Option<String>,
    /// Of this province (ISO 3166-2), or `unknown`.
    province: Option<String>,
    /// `nodes` (default), `communications`, `active_day`, `active_week` or `active_month`.
    sort: Option<String>,
    /// Most items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000, default = 1000)]
    limit: Option<String>,
    /// Language of names: `en` or `zh`.
    lang: Option<String>,
    /// `json`, `csv` or `ndjson`: the items only.
    format: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SeveralParameters {
    /// Names or aliases, separated by commas; all families by default.
    families: Option<String>,
    /// Of this country (ISO 3166-1), or `unknown`; for provinces and cities CN by default.
    country: Option<String>,
    /// Of this province (ISO 3166-2), or `unknown`.
    province: Option<String>,
    /// `nodes` (default), `communications`, `active_day`, `active_week` or `active_month`.
    sort: Option<String>,
    /// Most items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000, default = 1000)]
    limit: Option<String>,
    /// Language of names: `en` or `zh`.
    lang: Option<String>,
    /// `json`, `csv` or `ndjson`: the items only.
    format: Option<String>,
}

/// A family's nodes and communications by country, province or city, exact at this moment.
///
/// Read from counters that are kept with every change, never by counting nodes.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/statistics/{by}",
    tag = "botnets",
    operation_id = "show_botnet_statistics",
    params(FamilyLevel, StatisticsParameters),
    responses((status = 200, description = "The statistics", body = Statistics))
)]
pub async fn of_family(
    State(api): State<Api>,
    Segments(FamilyLevel { family, by }): Segments<FamilyLevel>,
    Parameters(parameters): Parameters<StatisticsParameters>,
) -> Result<Response, Problem> {
    let wanted = parameters.parse(&by)?;
    let family = family::find(&api.database, &family).await?;
    wanted.answer(&api.database, &[family]).await
}

/// Nodes and communications of several families together, by country, province or city.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/statistics/{by}",
    tag = "botnets",
    operation_id = "show_botnets_statistics",
    params(LevelSegment, SeveralParameters),
    responses((status = 200, description = "The statistics", body = Statistics))
)]
pub async fn of_several(
    State(api): State<Api>,
    Segments(LevelSegment { by }): Segments<LevelSegment>,
    Parameters(parameters): Parameters<SeveralParameters>,
) -> Result<Response, Problem> {
    let names = parameters.families;
    let parameters = StatisticsParameters {
        country: parameters.country,
        province: parameters.province,
        sort: parameters.sort,
        limit: parameters.limit,
        lang: parameters.lang,
        format: parameters.format,
    };
    let wanted = parameters.parse(&by)?;
    let families = family::several(&api.database, names.as_deref()).await?;
    wanted.answer(&api.database, &families).await
}

/// What is asked for.
struct Wanted {
    level: Level,
    filter: PlaceFilter,
    order: Order,
    limit: i64,
    language: Language,
    format: Format,
}

impl StatisticsParameters {
    fn parse(&self, by: &str) -> Result<Wanted, Problem> {
        let level = Level::parse(by)?;
        let mut filter =
            PlaceFilter::parse(self.country.as_deref(), self.province.as_deref(), None)?;
        if filter.is_any() && level != Level::Countries {
            filter.country = Some(DEFAULT_COUNTRY.to_owned());
        }
        let limit = match &self.limit {
            None => DEFAULT_PLACES,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_PLACES).contains(limit))
                .ok_or_else(|| Problem::parameter("limit", "it must be 1 to 10000"))?,
        };
        Ok(Wanted {
            level,
            filter,
            order: Order::parse("sort", self.sort.as_deref())?,
            limit,
            language: Language::parse(self.lang.as_deref(), Language::English)?,
            format: Format::parse(self.format.as_deref())?,
        })
    }
}

impl Wanted {
    async fn answer(
        self,
        database: &PgPool,
        families: &[family::Found],
    ) -> Result<Response, Problem> {
        let ids: Vec<i64> = families.iter().map(|family| family.id).collect();
        let found = by_place(database, &ids, self.level, &self.filter, self.order).await?;
        let total = found.total();
        let omitted = found.rows.len().saturating_sub(self.limit as usize) as u64;
        let rows = found.rows.iter().take(self.limit as usize);
        let items: Vec<_> = rows.map(|row| row.named(self.language)).collect();
        if self.format != Format::Json {
            let name = match families {
                [family] => format!("botnet-{}-{}", family.name, self.level.name()),
                _ => format!("botnets-{}", self.level.name()),
            };
            let head = &PlaceCounts::HEAD;
            return Ok(file::respond(&name, self.format, head, None, items));
        }
        let statistics = Statistics {
            families: families.iter().map(|family| family.name.clone()).collect(),
            by: self.level,
            active_as_of: found.as_of,
            total,
            items,
            omitted,
            next_cursor: None,
        };
        Ok(Json(statistics).into_response())
    }
}
