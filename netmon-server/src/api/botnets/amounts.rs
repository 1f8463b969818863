//! Amounts by place at the paths that earlier front ends call, in the shape and with the Chinese names
//! that they expect.
//!
//! The shapes are those of a tracker that kept a table of nodes and two of amounts for each family: an
//! object with a list for each family, places by their short Chinese name, `未知` where nobody knows.

pub mod overview;

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};

use super::{
    family::{self, Found},
    names::{Language, province_code, short_city},
    place::PlaceFilter,
    statistics::{Level, Order, Row, by_place},
};
use crate::api::{
    Api,
    extract::{Parameters, Segments},
    problem::Problem,
};

/// What is shown where nobody knows.
const UNKNOWN: (&str, &str) = ("Unknown", "未知");

const CHINA: &str = "CN";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AmountParameters {
    /// The family, by name or alias; all by default. `type` and `family` are the same.
    #[serde(alias = "type", alias = "family")]
    #[param(example = "mozi")]
    botnet_type: Option<String>,
    /// Language of names: `zh` (default) or `en`.
    lang: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ProvinceSegment {
    /// A Chinese province: its name in Chinese or English, or its code.
    #[param(example = "江苏")]
    province: String,
}

/// Nodes of a province.
#[derive(Serialize, ToSchema)]
#[schema(as = ProvinceAmount)]
pub struct ProvinceAmount {
    #[schema(example = "江苏")]
    province: String,
    amount: i64,
}

/// Nodes of a city.
#[derive(Serialize, ToSchema)]
#[schema(as = CityAmount)]
pub struct CityAmount {
    #[schema(example = "南京")]
    city: String,
    amount: i64,
}

/// Nodes of a city, with its province.
#[derive(Serialize, ToSchema)]
#[schema(as = CityOfProvinceAmount)]
pub struct CityOfProvinceAmount {
    #[schema(example = "江苏")]
    province: String,
    #[schema(example = "南京")]
    city: String,
    amount: i64,
}

/// Nodes of a country.
#[derive(Serialize, ToSchema)]
#[schema(as = CountryAmount)]
pub struct CountryAmount {
    #[schema(example = "中国")]
    country: String,
    amount: i64,
}

/// Cities of a province, by family.
#[derive(Serialize, ToSchema)]
#[schema(as = CityAmounts)]
pub struct CityAmounts {
    /// Always `success`.
    status: &'static str,
    message: String,
    data: BTreeMap<String, Vec<CityAmount>>,
}

/// A map by family's name.
type ByFamily<T> = Json<BTreeMap<String, Vec<T>>>;

/// Nodes by Chinese province, for each family.
///
/// A family lists every province that one of the families in the answer has nodes in, so that lists are
/// of one length.
#[utoipa::path(
    get,
    path = "/api/province-amounts",
    tag = "botnet amounts",
    operation_id = "show_province_amounts",
    params(AmountParameters),
    responses((
        status = 200,
        description = "A list for each family",
        body = BTreeMap<String, Vec<ProvinceAmount>>,
    ))
)]
pub async fn provinces(
    State(api): State<Api>,
    Parameters(parameters): Parameters<AmountParameters>,
) -> Result<ByFamily<ProvinceAmount>, Problem> {
    let language = parameters.language()?;
    let families = parameters.families(&api.database).await?;
    let mut counted = Vec::new();
    // Every province, and none yet: its code, and its nodes in all families.
    let mut everywhere = BTreeMap::<String, i64>::new();
    for family in families {
        let rows = of_china(&api.database, &family, Level::Provinces, None).await?;
        for row in &rows {
            *everywhere.entry(row.province.clone()).or_default() += row.nodes;
        }
        counted.push((family.name, rows));
    }
    let answer = counted.into_iter().map(|(family, rows)| {
        let amounts: BTreeMap<_, _> = rows.iter().map(|row| (&row.province, row.nodes)).collect();
        let mut list: Vec<_> = everywhere
            .keys()
            .map(|code| ProvinceAmount {
                province: province_name(code, language),
                amount: amounts.get(code).copied().unwrap_or_default(),
            })
            .collect();
        list.sort_by_key(|row| std::cmp::Reverse(row.amount));
        (family, list)
    });
    Ok(Json(answer.collect()))
}

/// Nodes by city of a Chinese province, for each family.
#[utoipa::path(
    get,
    path = "/api/city-amounts/{province}",
    tag = "botnet amounts",
    operation_id = "show_city_amounts_of_province",
    params(ProvinceSegment, AmountParameters),
    responses((status = 200, description = "A list for each family", body = CityAmounts))
)]
pub async fn cities_of_province(
    State(api): State<Api>,
    Segments(ProvinceSegment { province }): Segments<ProvinceSegment>,
    Parameters(parameters): Parameters<AmountParameters>,
) -> Result<Json<CityAmounts>, Problem> {
    let language = parameters.language()?;
    let code = match province.as_str() {
        name if name == UNKNOWN.0 || name == UNKNOWN.1 => "",
        name => province_code(name).ok_or_else(|| {
            Problem::InvalidPath(format!(
                "{name:?} is no province of China; name it like 江苏, Jiangsu or CN-JS"
            ))
        })?,
    };
    let mut data = BTreeMap::new();
    for family in parameters.families(&api.database).await? {
        let rows = of_china(&api.database, &family, Level::Cities, Some(code)).await?;
        let list = rows.iter().map(|row| CityAmount {
            city: city_name(&row.city, language),
            amount: row.nodes,
        });
        data.insert(family.name, list.collect());
    }
    Ok(Json(CityAmounts {
        status: "success",
        message: province_name(code, language),
        data,
    }))
}

/// Nodes by Chinese city, for each family.
#[utoipa::path(
    get,
    path = "/api/city-amounts",
    tag = "botnet amounts",
    operation_id = "show_city_amounts",
    params(AmountParameters),
    responses((
        status = 200,
        description = "A list for each family",
        body = BTreeMap<String, Vec<CityOfProvinceAmount>>,
    ))
)]
pub async fn cities(
    State(api): State<Api>,
    Parameters(parameters): Parameters<AmountParameters>,
) -> Result<ByFamily<CityOfProvinceAmount>, Problem> {
    let language = parameters.language()?;
    let mut answer = BTreeMap::new();
    for family in parameters.families(&api.database).await? {
        let rows = of_china(&api.database, &family, Level::Cities, None).await?;
        let list = rows.iter().map(|row| CityOfProvinceAmount {
            province: province_name(&row.province, language),
            city: city_name(&row.city, language),
            amount: row.nodes,
        });
        answer.insert(family.name, list.collect());
    }
    Ok(Json(answer))
}

/// Nodes by country, for each family.
#[utoipa::path(
    get,
    path = "/api/world-amounts",
    tag = "botnet amounts",
    operation_id = "show_world_amounts",
    params(AmountParameters),
    responses((
        status = 200,
        description = "A list for each family",
        body = BTreeMap<String, Vec<CountryAmount>>,
    ))
)]
pub async fn countries(
    State(api): State<Api>,
    Parameters(parameters): Parameters<AmountParameters>,
) -> Result<ByFamily<CountryAmount>, Problem> {
    let language = parameters.language()?;
    let mut answer = BTreeMap::new();
    for family in parameters.families(&api.database).await? {
        let list = of_world(&api.database, &family).await?;
        let list = list.iter().map(|row| CountryAmount {
            country: country_name(&row.country, language),
            amount: row.nodes,
        });
        answer.insert(family.name, list.collect());
    }
    Ok(Json(answer))
}

/// The same as `/api/world-amounts`.
#[utoipa::path(
    get,
    path = "/api/country-amounts",
    tag = "botnet amounts",
    operation_id = "show_country_amounts",
    params(AmountParameters),
    responses((
        status = 200,
        description = "A list for each family",
        body = BTreeMap<String, Vec<CountryAmount>>,
    ))
)]
pub async fn countries_too(
    api: State<Api>,
    parameters: Parameters<AmountParameters>,
) -> Result<ByFamily<CountryAmount>, Problem> {
    countries(api, parameters).await
}

impl AmountParameters {
    fn language(&self) -> Result<Language, Problem> {
        Language::parse(self.lang.as_deref(), Language::Chinese)
    }

    async fn families(&self, database: &PgPool) -> Result<Vec<Found>, Problem> {
        // Front ends leave it empty for all.
        let name = self.botnet_type.as_deref().filter(|name| !name.is_empty());
        match name {
            None => family::several(database, None).await,
            Some(name) => Ok(vec![family::find(database, name).await?]),
        }
    }
}

async fn of_china(
    database: &PgPool,
    family: &Found,
    level: Level,
    province: Option<&str>,
) -> Result<Vec<Row>, Problem> {
    let filter = PlaceFilter {
        country: Some(CHINA.to_owned()),
        province: province.map(str::to_owned),
        city: None,
    };
    let counted = by_place(database, &[family.id], level, &filter, Order::Nodes).await?;
    Ok(counted.rows)
}

async fn of_world(database: &PgPool, family: &Found) -> Result<Vec<Row>, Problem> {
    let anywhere = PlaceFilter::default();
    let families = [family.id];
    let counted = by_place(
        database,
        &families,
        Level::Countries,
        &anywhere,
        Order::Nodes,
    )
    .await?;
    Ok(counted.rows)
}

fn country_name(code: &str, language: Language) -> String {
    named(code, language.country(code), language)
}

fn province_name(code: &str, language: Language) -> String {
    named(code, language.province(code), language)
}

fn city_name(code: &str, language: Language) -> String {
    let name = match language {
        Language::English => language.city(code),
        Language::Chinese => netmon_geo::names::city(code).map(|names| short_city(names.zh_full)),
    };
    named(code, name, language)
}

/// A name; for a code without one the code, and for no code that nobody knows.
fn named(code: &str, name: Option<&str>, language: Language) -> String {
    let unknown = match language {
        Language::English => UNKNOWN.0,
        Language::Chinese => UNKNOWN.1,
    };
    match code {
        "" => unknown.to_owned(),
        code => name.unwrap_or(code).to_owned(),
    }
}
