//! Which nodes are asked for.

use std::net::IpAddr;

use sqlx::{PgPool, Postgres, QueryBuilder, types::ipnetwork::IpNetwork};
use time::{Duration, OffsetDateTime};

use super::{super::place::PlaceFilter, NodeParameters};
use crate::api::{problem::Problem, range};

/// What the parameters say.
#[derive(Debug, Default)]
pub struct Wish {
    network: Option<IpNetwork>,
    place: PlaceFilter,
    seen_from: Option<OffsetDateTime>,
    seen_to: Option<OffsetDateTime>,
    first_seen_from: Option<OffsetDateTime>,
    first_seen_to: Option<OffsetDateTime>,
    min_communications: Option<i64>,
}

/// Nodes of a family that fit.
#[derive(Debug)]
pub struct Selection {
    pub family: i64,
    pub network: Option<IpNetwork>,
    pub places: Option<Places>,
    seen_from: Option<OffsetDateTime>,
    seen_to: Option<OffsetDateTime>,
    first_seen_from: Option<OffsetDateTime>,
    first_seen_to: Option<OffsetDateTime>,
    min_communications: Option<i64>,
}

/// The places that fit.
#[derive(Debug)]
pub struct Places {
    pub ids: Vec<i32>,
    /// Nodes they have, by counters that may lack the last seconds.
    pub nodes: i64,
}

impl Wish {
    pub fn parse(parameters: &NodeParameters, now: OffsetDateTime) -> Result<Self, Problem> {
        let time = |name, text: &Option<String>| match text {
            Some(text) => range::time(name, text).map(Some),
            None => Ok(None),
        };
        let network = parameters.cidr.as_deref().map(|text| {
            let reason = "it must be an IP address or a network, like 192.0.2.0/24";
            let network: Result<IpNetwork, _> = text.parse();
            network.map_err(|_| Problem::parameter("cidr", reason))
        });
        let min = parameters.min_communications.as_deref().map(|text| {
            let number = text.parse().ok().filter(|number: &i64| *number >= 0);
            let reason = "it must be a whole number from 0 on";
            number.ok_or_else(|| Problem::parameter("min_communications", reason))
        });
        let wish = Self {
            network: network.transpose()?,
            place: PlaceFilter::parse(
                parameters.country.as_deref(),
                parameters.province.as_deref(),
                parameters.city.as_deref(),
            )?,
            seen_from: time("seen_from", &parameters.seen_from)?,
            seen_to: time("seen_to", &parameters.seen_to)?,
            first_seen_from: time("first_seen_from", &parameters.first_seen_from)?,
            first_seen_to: time("first_seen_to", &parameters.first_seen_to)?,
            min_communications: min.transpose()?,
        };
        let backwards = |from: Option<_>, to: Option<_>| from.zip(to).is_some_and(|(f, t)| f >= t);
        if backwards(wish.seen_from, wish.seen_to) {
            return Err(Problem::parameter(
                "seen_from",
                "it must lie before seen_to",
            ));
        }
        if backwards(wish.first_seen_from, wish.first_seen_to) {
            let reason = "it must lie before first_seen_to";
            return Err(Problem::parameter("first_seen_from", reason));
        }
        let window = match parameters.active.as_deref() {
            None => return Ok(wish),
            Some("day") => Duration::DAY,
            Some("week") => Duration::WEEK,
            Some("month") => Duration::days(30),
            Some(_) => {
                return Err(Problem::parameter(
                    "active",
                    "it must be day, week or month",
                ));
            }
        };
        Ok(Self {
            seen_from: wish.seen_from.max(Some(now - window)),
            ..wish
        })
    }
}

impl Selection {
    /// Looks up the places that fit.
    pub async fn new(database: &PgPool, family: i64, wish: Wish) -> Result<Self, Problem> {
        let places = match wish.place.is_any() {
            true => None,
            false => Some(Places::read(database, family, &wish.place).await?),
        };
        Ok(Self {
            family,
            network: wish.network,
            places,
            seen_from: wish.seen_from,
            seen_to: wish.seen_to,
            first_seen_from: wish.first_seen_from,
            first_seen_to: wish.first_seen_to,
            min_communications: wish.min_communications,
        })
    }

    /// Every node that fits was seen at this time or later.
    pub fn seen_since(&self) -> Option<OffsetDateTime> {
        self.seen_from.max(self.first_seen_from)
    }

    /// Every node that fits was seen between [`seen_since`](Self::seen_since) and this time.
    pub fn seen_before(&self) -> Option<OffsetDateTime> {
        match (self.seen_to, self.first_seen_to) {
            // A node first seen before a time may have been seen since at any time.
            (Some(seen), _) if self.seen_from >= self.first_seen_from => Some(seen),
            (_, first) if self.first_seen_from >= self.seen_from => first,
            _ => None,
        }
    }

    /// Appends ` AND …` for everything of the node `n` but the family.
    pub fn push(&self, query: &mut QueryBuilder<'_, Postgres>) {
        self.push_network(query, "n.ip");
        if let Some(places) = &self.places {
            query.push(" AND n.place_id = ANY (");
            query.push_bind(places.ids.clone()).push(")");
        }
        if let Some(from) = self.first_seen_from {
            query.push(" AND n.first_seen >= ").push_bind(from);
        }
        if let Some(to) = self.first_seen_to {
            query.push(" AND n.first_seen < ").push_bind(to);
        }
        if let Some(count) = self.min_communications {
            query.push(" AND n.communications >= ").push_bind(count);
        }
        if let Some(from) = self.seen_from {
            query.push(" AND n.last_seen >= ").push_bind(from);
        }
        if let Some(to) = self.seen_to {
            query.push(" AND n.first_seen < ").push_bind(to);
        }
        if let Some((from, to)) = self.seen_from.zip(self.seen_to) {
            self.push_between(query, from, to);
        }
    }

    /// The first or the last sighting lies between the two, or one of an hour that does.
    fn push_between(
        &self,
        query: &mut QueryBuilder<'_, Postgres>,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) {
        query.push(" AND (n.last_seen < ").push_bind(to);
        query.push(" OR n.first_seen >= ").push_bind(from);
        query.push(" OR EXISTS (SELECT FROM botnet_communications c WHERE c.family_id = ");
        query.push_bind(self.family);
        query.push(" AND c.ip = n.ip AND c.bucket > ");
        query.push_bind(from - Duration::HOUR);
        query.push(" AND c.bucket < ").push_bind(to);
        query.push(" AND c.last_seen >= ").push_bind(from);
        query.push(" AND c.first_seen < ").push_bind(to);
        query.push("))");
    }

    /// Appends ` AND …` for the addresses of the network.
    pub fn push_network(&self, query: &mut QueryBuilder<'_, Postgres>, column: &str) {
        if let Some(network) = self.network {
            let (first, last) = (host(network.network()), host(network.broadcast()));
            query
                .push(format_args!(" AND {column} >= "))
                .push_bind(first);
            query
                .push(format_args!(" AND {column} <= "))
                .push_bind(last);
        }
    }
}

impl Places {
    async fn read(database: &PgPool, family: i64, filter: &PlaceFilter) -> Result<Self, Problem> {
        let rows: Vec<(i32, i64)> = sqlx::query_as(
            "SELECT place.place_id, coalesce(counted.nodes, 0)
             FROM botnet_places place
             LEFT JOIN botnet_statistics counted
               ON counted.family_id = $1 AND counted.place_id = place.place_id
             WHERE ($2::text IS NULL OR place.country = $2)
               AND ($3::text IS NULL OR place.province = $3)
               AND ($4::text IS NULL OR place.city = $4)",
        )
        .bind(family)
        .bind(&filter.country)
        .bind(&filter.province)
        .bind(&filter.city)
        .fetch_all(database)
        .await?;
        Ok(Self {
            nodes: rows.iter().map(|(_, nodes)| nodes).sum(),
            ids: rows.into_iter().map(|(id, _)| id).collect(),
        })
    }
}

/// An address as the column has it.
pub fn host(address: IpAddr) -> IpNetwork {
    IpNetwork::from(address)
}
