//! What there is most of: countries, provinces, cities, nodes, ports.

use std::time::Duration as Wait;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool};
use time::{Duration, OffsetDateTime};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use utoipa::{IntoParams, ToSchema};

use super::{
    family::{self, FamilySegment, Found},
    names::Language,
    nodes::{Node, NodeRow},
    place::PlaceFilter,
    statistics::{Level, Order, PlaceCounts, by_place},
};
use crate::api::{
    Api,
    extract::{Parameters, Segments},
    problem::Problem,
    range::{self, Range},
};

/// Most items of a list, and how many there are unless it is said.
const MAX_ITEMS: usize = 100;
const DEFAULT_ITEMS: usize = 10;

/// The longest time whose communications are added up, and the one unless it is said.
const MAX_RANGE: Duration = Duration::days(31);
const DEFAULT_RANGE: Duration = Duration::DAY;

/// Requests that add up communications at once: the others of the API go on.
static ADDING_UP: Semaphore = Semaphore::const_new(1);

/// How long a request waits for the one before it.
const TURN: Wait = Wait::from_secs(5);

/// What there is most of; lists that were not asked for are null.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetTop)]
pub struct Top {
    family: String,
    /// By the statistics of this moment.
    countries: Option<Vec<PlaceCounts>>,
    /// Of China, unless `country` names another country.
    provinces: Option<Vec<PlaceCounts>>,
    /// Of China, unless `country` names another country.
    cities: Option<Vec<PlaceCounts>>,
    /// The end of the windows of active nodes; null: not determined yet, or no places asked for.
    #[serde(with = "time::serde::rfc3339::option")]
    active_as_of: Option<OffsetDateTime>,
    /// Nodes and ports are those of communications from here on.
    #[serde(with = "time::serde::rfc3339")]
    from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    to: OffsetDateTime,
    /// Seen most often.
    nodes: Option<Vec<TopNode>>,
    /// Ports of most nodes.
    ports: Option<Vec<TopPort>>,
}

/// A node that was seen often.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetTopNode)]
pub struct TopNode {
    /// Sightings in the time asked for.
    communications_in_range: i64,
    #[serde(flatten)]
    node: Node,
}

/// A port that many nodes have.
#[derive(Serialize, ToSchema, FromRow)]
#[schema(as = BotnetTopPort)]
pub struct TopPort {
    port: i32,
    /// Nodes that were seen with it in the time asked for.
    nodes: i64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TopParameters {
    /// Of `countries`, `provinces`, `cities`, `nodes` and `ports`, separated by commas; the first three
    /// by default. Nodes and ports are added up from the communications of the time, which takes the
    /// longer the more there are.
    of: Option<String>,
    /// Places by `nodes` (default), `communications`, `active_day`, `active_week` or `active_month`.
    by: Option<String>,
    /// Provinces and cities of this country (ISO 3166-1); CN by default.
    country: Option<String>,
    /// Nodes and ports seen in hours that begin at this time or later; 24 hours before `to` by
    /// default, 31 days at most.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Before this time; now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Most items of each list.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 10)]
    limit: Option<String>,
    /// Language of names: `en` or `zh`.
    lang: Option<String>,
}

/// Places with most nodes, nodes seen most often, ports of most nodes.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/top",
    tag = "botnets",
    operation_id = "show_botnet_top",
    params(FamilySegment, TopParameters),
    responses((status = 200, description = "The lists", body = Top))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Parameters(parameters): Parameters<TopParameters>,
) -> Result<Json<Top>, Problem> {
    let wanted = parameters.parse(OffsetDateTime::now_utc())?;
    let Found { id, name } = family::find(&api.database, &family).await?;
    let mut top = Top {
        family: name,
        countries: None,
        provinces: None,
        cities: None,
        active_as_of: None,
        from: wanted.range.from,
        to: wanted.range.to,
        nodes: None,
        ports: None,
    };
    for part in &wanted.parts {
        match part {
            Part::Places(level) => {
                let filter = match level {
                    Level::Countries => PlaceFilter::default(),
                    Level::Provinces | Level::Cities => wanted.filter.clone(),
                };
                let found = by_place(&api.database, &[id], *level, &filter, wanted.order).await?;
                let known = found.rows.iter().filter(|row| row.is_known(*level));
                let named = known
                    .take(wanted.limit)
                    .map(|row| row.named(wanted.language));
                let list = Some(named.collect());
                top.active_as_of = top.active_as_of.max(found.as_of);
                match level {
                    Level::Countries => top.countries = list,
                    Level::Provinces => top.provinces = list,
                    Level::Cities => top.cities = list,
                }
            }
            Part::Nodes => top.nodes = Some(nodes(&api, id, &wanted).await?),
            Part::Ports => top.ports = Some(ports(&api.database, id, &wanted).await?),
        }
    }
    Ok(Json(top))
}

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Places(Level),
    Nodes,
    Ports,
}

struct Wanted {
    parts: Vec<Part>,
    order: Order,
    filter: PlaceFilter,
    range: Range,
    limit: usize,
    language: Language,
}

impl TopParameters {
    fn parse(&self, now: OffsetDateTime) -> Result<Wanted, Problem> {
        let of = self.of.as_deref().unwrap_or("countries,provinces,cities");
        let parts = of.split(',').map(|part| Part::parse(part.trim()));
        let country = self.country.as_deref().unwrap_or("CN");
        let limit = self.limit.as_deref().map_or(Some(DEFAULT_ITEMS), |text| {
            let limit = text.parse().ok();
            limit.filter(|limit| (1..=MAX_ITEMS).contains(limit))
        });
        Ok(Wanted {
            parts: parts.collect::<Result<_, _>>()?,
            order: Order::parse("by", self.by.as_deref())?,
            filter: PlaceFilter::parse(Some(country), None, None)?,
            range: self.range(now)?,
            limit: limit.ok_or_else(|| Problem::parameter("limit", "it must be 1 to 100"))?,
            language: Language::parse(self.lang.as_deref(), Language::English)?,
        })
    }

    fn range(&self, now: OffsetDateTime) -> Result<Range, Problem> {
        let to = match &self.to {
            Some(text) => range::time("to", text)?,
            None => now,
        };
        let from = match &self.from {
            Some(text) => range::time("from", text)?,
            None => (to - DEFAULT_RANGE).max(OffsetDateTime::UNIX_EPOCH),
        };
        match to - from {
            length if length <= Duration::ZERO => {
                Err(Problem::parameter("from", "it must lie before to"))
            }
            length if length > MAX_RANGE => Err(Problem::parameter(
                "from",
                "it must be at most 31 days before to",
            )),
            _ => Ok(Range { from, to }),
        }
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "countries" => Ok(Self::Places(Level::Countries)),
            "provinces" => Ok(Self::Places(Level::Provinces)),
            "cities" => Ok(Self::Places(Level::Cities)),
            "nodes" => Ok(Self::Nodes),
            "ports" => Ok(Self::Ports),
            _ => Err(Problem::parameter(
                "of",
                "it must be countries, provinces, cities, nodes or ports, or several of them with \
                 commas between",
            )),
        }
    }
}

/// Waits for whoever adds up communications at the moment.
async fn turn() -> Result<SemaphorePermit<'static>, Problem> {
    match timeout(TURN, ADDING_UP.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Problem::Busy),
    }
}

async fn nodes(api: &Api, family: i64, wanted: &Wanted) -> Result<Vec<TopNode>, Problem> {
    #[derive(FromRow)]
    struct Row {
        in_range: i64,
        #[sqlx(flatten)]
        node: NodeRow,
    }
    let _turn = turn().await?;
    let query = format!(
        "SELECT seen.in_range, {} FROM (
             SELECT ip, sum(count)::bigint AS in_range FROM botnet_communications
             WHERE family_id = $1 AND bucket >= $2 AND bucket < $3
             GROUP BY ip ORDER BY in_range DESC, ip LIMIT $4
         ) seen JOIN botnet_nodes n ON n.family_id = $1 AND n.ip = seen.ip
         ORDER BY seen.in_range DESC, seen.ip",
        NodeRow::COLUMNS
    );
    let rows = sqlx::query_as(&query)
        .bind(family)
        .bind(wanted.range.from)
        .bind(wanted.range.to)
        .bind(wanted.limit as i64)
        .persistent(false);
    let rows: Vec<Row> = rows.fetch_all(&api.database).await?;
    let (counts, nodes): (Vec<_>, Vec<_>) =
        rows.into_iter().map(|row| (row.in_range, row.node)).unzip();
    let nodes = Node::named(&api.database, &api.places, nodes, wanted.language).await?;
    let top = counts.into_iter().zip(nodes).map(|(count, node)| TopNode {
        communications_in_range: count,
        node,
    });
    Ok(top.collect())
}

async fn ports(database: &PgPool, family: i64, wanted: &Wanted) -> Result<Vec<TopPort>, Problem> {
    let _turn = turn().await?;
    let rows = sqlx::query_as(
        "SELECT port, count(*) AS nodes FROM (
             SELECT DISTINCT port, ip
             FROM botnet_communications CROSS JOIN LATERAL unnest(ports) AS port
             WHERE family_id = $1 AND bucket >= $2 AND bucket < $3
         ) seen GROUP BY port ORDER BY nodes DESC, port LIMIT $4",
    )
    .bind(family)
    .bind(wanted.range.from)
    .bind(wanted.range.to)
    .bind(wanted.limit as i64)
    .persistent(false);
    Ok(rows.fetch_all(database).await?)
}
