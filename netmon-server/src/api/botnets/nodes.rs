//! Nodes of a family: page by page, or as a file.

mod row;
mod selection;
mod sorted;
mod walk;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use std::{net::IpAddr, sync::Arc};
use time::OffsetDateTime;
use utoipa::IntoParams;

pub use self::row::{Node, NodeRow};
use self::{
    selection::{Selection, Wish},
    sorted::{Mark, Order},
    walk::Way,
};
use super::{
    family::{self, FamilySegment},
    names::Language,
    place::Places,
};
use crate::api::{
    Api,
    cursor::Scope,
    extract::{Parameters, Segments},
    file::{self, File, Format, Stopped},
    listing::{Listing, Page},
    problem::Problem,
    range,
};

/// Rows read in one go for a file; so many are in memory, and those that wait to be sent.
const FILE_ROWS: usize = 2000;

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NodeParameters {
    /// Within this network; an address is a network of one.
    #[param(example = "192.0.2.0/24")]
    cidr: Option<String>,
    /// In this country (ISO 3166-1), or `unknown`.
    country: Option<String>,
    /// In this province (ISO 3166-2), or `unknown`.
    province: Option<String>,
    /// In this city, by code, or `unknown`.
    city: Option<String>,
    /// Seen at this time or later. Together with `seen_to`: seen between the two, to the hour.
    #[param(value_type = Option<String>, format = DateTime)]
    seen_from: Option<String>,
    /// Seen before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    seen_to: Option<String>,
    /// Seen for the first time at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    first_seen_from: Option<String>,
    /// Seen for the first time before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    first_seen_to: Option<String>,
    /// Seen within the last `day` (24 hours), `week` (7 days) or `month` (30 days).
    active: Option<String>,
    /// Seen so many times at least.
    #[param(value_type = Option<u64>)]
    min_communications: Option<String>,
    /// `address` (default); or `last_seen` or `communications`, the largest first, which is possible
    /// for lists of at most 200,000 nodes.
    sort: Option<String>,
    /// Language of names: `en` or `zh`.
    lang: Option<String>,
    /// `json`, or all that fit as `csv` or `ndjson`.
    format: Option<String>,
    /// Most items of a page; of a file any number, all by default.
    #[param(value_type = Option<u64>, minimum = 1, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Where a page begins. The moment of the first page travels with it, so that "the last day" means the
/// same on every page.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Key {
    now_us: i64,
    /// What the list is sorted by, of the last row.
    value: Option<i64>,
    address: IpAddr,
}

/// Nodes of a family, by address.
///
/// A page looks at a bounded number of nodes. With filters that few of them fit, it may hold fewer items
/// than `limit`, even none: there are more while `next_cursor` is not null. With `format` `csv` or
/// `ndjson` all that fit are streamed.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/nodes",
    tag = "botnets",
    operation_id = "list_botnet_nodes",
    params(FamilySegment, NodeParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Node>))
)]
pub async fn list(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Parameters(parameters): Parameters<NodeParameters>,
) -> Result<Response, Problem> {
    let format = Format::parse(parameters.format.as_deref())?;
    match format {
        Format::Json => page(&api, &family, parameters).await,
        Format::Csv | Format::Ndjson => file(&api, &family, parameters, format).await,
    }
}

async fn page(api: &Api, family: &str, parameters: NodeParameters) -> Result<Response, Problem> {
    let (limit, cursor) = (parameters.limit.as_deref(), parameters.cursor.as_deref());
    let scope = Scope::new("botnet_nodes", &parameters.filters(family));
    let page: Page<Key> = Page::parse(scope, limit, cursor)?;
    let now = match page.after {
        Some(key) => range::time_of_unix_us(key.now_us).ok_or(Problem::InvalidCursor)?,
        None => OffsetDateTime::now_utc(),
    };
    let (wish, order, language) = parameters.parse(now)?;
    let family = family::find(&api.database, family).await?;
    let selection = Selection::new(&api.database, family.id, wish).await?;
    let now_us = range::unix_us(now);
    let (rows, next) = match order {
        Order::Address => {
            let way = Way::choose(&api.database, &selection, now).await?;
            let after = page.after.map(|key| key.address);
            let stretch = walk::stretch(&api.database, &selection, way, after, page.limit());
            let stretch = stretch.await?;
            let next = stretch.next.map(|address| Key {
                now_us,
                value: None,
                address,
            });
            (stretch.rows, next)
        }
        Order::LastSeen | Order::Communications => {
            let after = page.after.map(|key| Mark {
                value: key.value.unwrap_or_default(),
                address: key.address,
            });
            let sorted = sorted::rows(&api.database, &selection, order, after, page.limit());
            let (rows, next) = sorted.await?;
            let next = next.map(|mark| Key {
                now_us,
                value: Some(mark.value),
                address: mark.address,
            });
            (rows, next)
        }
    };
    let nodes = Node::named(&api.database, &api.places, rows, language).await?;
    Ok(Json(page.close_at(nodes, next.as_ref())).into_response())
}

/// All nodes that fit as a file.
pub(super) async fn file(
    api: &Api,
    family: &str,
    parameters: NodeParameters,
    format: Format,
) -> Result<Response, Problem> {
    if parameters.cursor.is_some() {
        let reason = "a file has no pages; leave it out, or take format=json";
        return Err(Problem::parameter("cursor", reason));
    }
    let limit = file_limit(parameters.limit.as_deref())?;
    let now = OffsetDateTime::now_utc();
    let (wish, order, language) = parameters.parse(now)?;
    let family = family::find(&api.database, family).await?;
    let selection = Selection::new(&api.database, family.id, wish).await?;
    if order != Order::Address {
        // Before the file begins.
        sorted::check(&api.database, &selection).await?;
    }
    let rows = Rows {
        way: Way::choose(&api.database, &selection, now).await?,
        database: api.database.clone(),
        places: Arc::clone(&api.places),
        selection,
        order,
        language,
    };
    let name = format!("botnet-{}-nodes", family.name);
    Ok(file::respond(&name, format, &Node::HEAD, limit, rows))
}

/// Most rows of a file; `None`: all.
pub(super) fn file_limit(text: Option<&str>) -> Result<Option<u64>, Problem> {
    let limit = text.map(|text| {
        let limit = text.parse().ok().filter(|limit: &u64| *limit > 0);
        limit.ok_or_else(|| Problem::parameter("limit", "it must be a number from 1 on"))
    });
    limit.transpose()
}

/// All nodes that fit.
struct Rows {
    database: PgPool,
    places: Arc<Places>,
    selection: Selection,
    way: Way,
    order: Order,
    language: Language,
}

impl file::Source for Rows {
    /// Reads part after part, each from the address of the last row on: no statement is long, and the
    /// connection is given back between them.
    async fn write(self, file: &mut File) -> Result<(), Stopped> {
        let Self {
            database,
            selection,
            order,
            ..
        } = &self;
        let mut after = None;
        let mut mark = None;
        loop {
            let (rows, more): (Vec<NodeRow>, bool) = match order {
                Order::Address => {
                    let stretch = walk::stretch(database, selection, self.way, after, FILE_ROWS);
                    let stretch = stretch.await?;
                    after = stretch.next;
                    (stretch.rows, stretch.next.is_some())
                }
                Order::LastSeen | Order::Communications => {
                    let part = sorted::rows(database, selection, *order, mark, FILE_ROWS).await?;
                    mark = part.1;
                    (part.0, part.1.is_some())
                }
            };
            file.rows(&Node::named(database, &self.places, rows, self.language).await?)
                .await?;
            if !more {
                return Ok(());
            }
        }
    }
}

impl NodeParameters {
    /// All nodes.
    pub(super) fn all(limit: Option<String>, lang: Option<String>) -> Self {
        Self {
            limit,
            lang,
            ..Self::default()
        }
    }

    /// What a cursor belongs to.
    fn filters<'a>(&'a self, family: &'a str) -> [Option<&'a str>; 12] {
        [
            Some(family),
            self.cidr.as_deref(),
            self.country.as_deref(),
            self.province.as_deref(),
            self.city.as_deref(),
            self.seen_from.as_deref(),
            self.seen_to.as_deref(),
            self.first_seen_from.as_deref(),
            self.first_seen_to.as_deref(),
            self.active.as_deref(),
            self.min_communications.as_deref(),
            self.sort.as_deref(),
        ]
    }

    fn parse(&self, now: OffsetDateTime) -> Result<(Wish, Order, Language), Problem> {
        let wish = Wish::parse(self, now)?;
        let order = Order::parse(self.sort.as_deref())?;
        let language = Language::parse(self.lang.as_deref(), Language::English)?;
        Ok((wish, order, language))
    }
}
