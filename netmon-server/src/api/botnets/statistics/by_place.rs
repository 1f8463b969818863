//! Counters of families by country, province and city, at one moment.

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::super::{
    counters::COUNTERS,
    names::Language,
    place::{Place, PlaceFilter},
};
use crate::api::problem::Problem;

/// Statistics of a place.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = BotnetPlaceStatistics)]
pub struct PlaceCounts {
    #[serde(flatten)]
    pub place: Place,
    #[serde(flatten)]
    pub counts: Counts,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BotnetCounts)]
pub struct Counts {
    /// Addresses that were seen, by family: one that is a node of two families counts in both.
    pub nodes: i64,
    /// Sightings.
    pub communications: i64,
    /// Nodes seen within 24 hours before `active_as_of`; null: not determined yet.
    pub active_day: Option<i64>,
    /// Within 7 days.
    pub active_week: Option<i64>,
    /// Within 30 days.
    pub active_month: Option<i64>,
}

impl PlaceCounts {
    pub const HEAD: [&str; 11] = [
        "country",
        "country_name",
        "province",
        "province_name",
        "city",
        "city_name",
        "nodes",
        "communications",
        "active_day",
        "active_week",
        "active_month",
    ];
}

/// By what statistics are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BotnetPlaceLevel)]
pub enum Level {
    Countries,
    Provinces,
    Cities,
}

/// What decides the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Nodes,
    Communications,
    Day,
    Week,
    Month,
}

impl Level {
    /// Parses the last segment of a path.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "countries" => Ok(Self::Countries),
            "provinces" => Ok(Self::Provinces),
            "cities" => Ok(Self::Cities),
            _ => Err(Problem::UnknownPath),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Countries => "countries",
            Self::Provinces => "provinces",
            Self::Cities => "cities",
        }
    }
}

impl Order {
    /// Parses a parameter.
    pub fn parse(name: &'static str, text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("nodes") => Ok(Self::Nodes),
            Some("communications") => Ok(Self::Communications),
            Some("active_day") => Ok(Self::Day),
            Some("active_week") => Ok(Self::Week),
            Some("active_month") => Ok(Self::Month),
            Some(_) => Err(Problem::parameter(
                name,
                "it must be nodes, communications, active_day, active_week or active_month",
            )),
        }
    }

    fn column(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Communications => "communications",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// Counters by place, the largest first.
pub struct ByPlace {
    pub rows: Vec<Row>,
    pub as_of: Option<OffsetDateTime>,
}

/// Counters of a place by codes.
#[derive(sqlx::FromRow)]
pub struct Row {
    pub country: String,
    pub province: String,
    pub city: String,
    pub nodes: i64,
    pub communications: i64,
    day: i64,
    week: i64,
    month: i64,
    /// Of all places; null: active nodes are not known.
    as_of: Option<OffsetDateTime>,
}

impl Row {
    pub fn counts(&self) -> Counts {
        let known = |count| self.as_of.map(|_| count);
        Counts {
            nodes: self.nodes,
            communications: self.communications,
            active_day: known(self.day),
            active_week: known(self.week),
            active_month: known(self.month),
        }
    }

    /// Whether what is asked for is known of the place.
    pub fn is_known(&self, level: Level) -> bool {
        let code = match level {
            Level::Countries => &self.country,
            Level::Provinces => &self.province,
            Level::Cities => &self.city,
        };
        !code.is_empty()
    }

    pub fn named(&self, language: Language) -> PlaceCounts {
        PlaceCounts {
            place: Place::new(&self.country, &self.province, &self.city, language),
            counts: self.counts(),
        }
    }
}

impl ByPlace {
    /// Sums over all places.
    pub fn total(&self) -> Counts {
        let sum = |of: fn(&Row) -> i64| self.rows.iter().map(of).sum::<i64>();
        let known = |of: fn(&Row) -> i64| self.as_of.map(|_| sum(of));
        Counts {
            nodes: sum(|row| row.nodes),
            communications: sum(|row| row.communications),
            active_day: known(|row| row.day),
            active_week: known(|row| row.week),
            active_month: known(|row| row.month),
        }
    }
}

/// Counters of the families together by the places that fit, at one moment.
pub async fn by_place(
    database: &PgPool,
    families: &[i64],
    level: Level,
    filter: &PlaceFilter,
    order: Order,
) -> Result<ByPlace, Problem> {
    let (province, city) = match level {
        Level::Countries => ("''", "''"),
        Level::Provinces => ("province", "''"),
        Level::Cities => ("province", "city"),
    };
    let order = order.column();
    // The counters are summed up by place before places are looked up. Without a node that is active
    // there is no row of active ones, and only the book of runs says that they were counted.
    let query = format!(
        "SELECT country, {province} AS province, {city} AS city,
                sum(nodes)::bigint AS nodes, sum(communications)::bigint AS communications,
                sum(day)::bigint AS day, sum(week)::bigint AS week, sum(month)::bigint AS month,
                coalesce(
                    (SELECT min(as_of) FROM botnet_active WHERE family_id = ANY ($1)),
                    (SELECT max(active_as_of) FROM botnet_aggregations WHERE family_id = ANY ($1))
                ) AS as_of
         FROM (
             SELECT place_id, sum(nodes) AS nodes, sum(communications) AS communications,
                    sum(day) AS day, sum(week) AS week, sum(month) AS month
             FROM ({COUNTERS}) counters GROUP BY place_id
         ) counted JOIN botnet_places USING (place_id)
         WHERE ($2::text IS NULL OR country = $2) AND ($3::text IS NULL OR province = $3)
         GROUP BY 1, 2, 3
         HAVING sum(nodes) <> 0 OR sum(communications) <> 0
         ORDER BY {order} DESC, 1, 2, 3"
    );
    let rows: Vec<Row> = sqlx::query_as(&query)
        .bind(families)
        .bind(&filter.country)
        .bind(&filter.province)
        .fetch_all(database)
        .await?;
    let as_of = rows.first().and_then(|row| row.as_of);
    Ok(ByPlace { rows, as_of })
}
