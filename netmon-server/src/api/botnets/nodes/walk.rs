//! Walking through the nodes that fit, in order of their addresses, a bounded stretch at a time.
//!
//! No index holds what most filters look at, so something else leads to the nodes: their addresses, the
//! places where they are, or the communications of the days in question. Which of these leads through
//! the fewest rows is decided by counters; PostgreSQL, which would guess, is told the way.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, types::ipnetwork::IpNetwork};
use time::{Duration, OffsetDateTime};

use super::{
    row::NodeRow,
    selection::{Selection, host},
};
use crate::api::problem::Problem;

/// Rows a stretch looks at, at most.
const STRETCH: i64 = 50_000;

/// With so many nodes at the places that fit, they are read for every stretch and sorted.
const AT_PLACES: i64 = 50_000;

/// Days whose communications are read side by side.
const DAYS: i64 = 32;

/// A node in so many was seen in the time in question: fewer are found by communications.
const RARE: i64 = 50;

/// What leads to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The primary key.
    Addresses,
    /// The index of places.
    Places,
    /// Communications of these hours.
    Communications(OffsetDateTime, OffsetDateTime),
}

/// Nodes that fit, and where to go on.
#[derive(Debug)]
pub struct Stretch {
    pub rows: Vec<NodeRow>,
    /// Behind this address; `None`: that was all.
    pub next: Option<IpAddr>,
}

impl Way {
    pub async fn choose(
        database: &PgPool,
        selection: &Selection,
        now: OffsetDateTime,
    ) -> Result<Self, Problem> {
        if selection.network.is_some_and(is_small) {
            return Ok(Self::Addresses);
        }
        if let Some(places) = &selection.places
            && places.nodes <= AT_PLACES
        {
            return Ok(Self::Places);
        }
        let Some(since) = selection.seen_since() else {
            return Ok(Self::Addresses);
        };
        let before = selection.seen_before();
        let end = before.unwrap_or(now + Duration::DAY);
        let known = Known::read(database, selection.family).await?;
        let retained = since - Duration::HOUR >= known.since;
        if !retained || end - since > Duration::days(DAYS) {
            return Ok(Self::Addresses);
        }
        let rare = match before {
            // How many these are is not counted.
            Some(_) => true,
            None => known.is_rare(now - since),
        };
        Ok(match rare {
            true => Self::Communications(since - Duration::HOUR, end),
            false => Self::Addresses,
        })
    }
}

/// Whether a network has few nodes, however many there are in all.
fn is_small(network: IpNetwork) -> bool {
    match network {
        IpNetwork::V4(network) => network.prefix() >= 16,
        IpNetwork::V6(network) => network.prefix() >= 32,
    }
}

/// What is known of a family.
#[derive(sqlx::FromRow)]
struct Known {
    /// Communications are whole from here on.
    since: OffsetDateTime,
    nodes: i64,
    /// Nodes seen in the last 24 hours, 7 days, 30 days.
    day: Option<i64>,
    week: Option<i64>,
    month: Option<i64>,
}

impl Known {
    async fn read(database: &PgPool, family: i64) -> Result<Self, Problem> {
        let known = sqlx::query_as(
            "SELECT coalesce((SELECT since FROM retained WHERE table_name = 'botnet_communications'),
                             to_timestamp(0)) AS since,
                    coalesce((SELECT sum(nodes)::bigint FROM botnet_statistics
                              WHERE family_id = $1), 0) AS nodes,
                    sum(day)::bigint AS day, sum(week)::bigint AS week, sum(month)::bigint AS month
             FROM botnet_active WHERE family_id = $1",
        );
        Ok(known.bind(family).fetch_one(database).await?)
    }

    fn is_rare(&self, age: Duration) -> bool {
        let active = match age {
            age if age <= Duration::DAY => self.day,
            age if age <= Duration::WEEK => self.week,
            _ => self.month,
        };
        match active {
            Some(active) => active.saturating_mul(RARE) < self.nodes,
            // As long as nobody counted, what few days lead to is less than what all nodes are.
            None => age <= Duration::DAY * 2,
        }
    }
}

/// The nodes that fit behind an address, at most `limit`.
///
/// Boxed, because rustc cannot tell of the future within that of a file that it is `Send`.
pub fn stretch<'a>(
    database: &'a PgPool,
    selection: &'a Selection,
    way: Way,
    after: Option<IpAddr>,
    limit: usize,
) -> BoxFuture<'a, Result<Stretch, Problem>> {
    Box::pin(walk(database, selection, way, after, limit))
}

async fn walk(
    database: &PgPool,
    selection: &Selection,
    way: Way,
    after: Option<IpAddr>,
    limit: usize,
) -> Result<Stretch, Problem> {
    // What is read and where it ends belong together.
    let mut transaction = database
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await?;
    if way != Way::Places {
        // The order comes from an index; a sort would have to read everything before its first row.
        sqlx::query(
            "SELECT set_config('enable_sort', 'off', true), set_config('enable_hashagg', 'off', true),
                    set_config('enable_seqscan', 'off', true),
                    set_config('enable_bitmapscan', 'off', true)",
        )
        .execute(&mut *transaction)
        .await?;
    }
    let mut rows = read(&mut transaction, selection, &way, after, limit).await?;
    let next = if rows.len() > limit {
        rows.truncate(limit);
        rows.last().map(|row| row.ip.ip())
    } else {
        end(&mut transaction, selection, &way, after).await?
    };
    transaction.commit().await?;
    Ok(Stretch { rows, next })
}

/// The rows, and one more if there is.
async fn read(
    connection: &mut PgConnection,
    selection: &Selection,
    way: &Way,
    after: Option<IpAddr>,
    limit: usize,
) -> Result<Vec<NodeRow>, Problem> {
    let mut query = QueryBuilder::new("");
    match way {
        Way::Addresses => {
            query.push("SELECT * FROM (");
            push_nodes(&mut query, selection);
            push_behind(&mut query, selection, "n.ip", after);
            query.push(" ORDER BY n.ip LIMIT ").push_bind(STRETCH);
            query.push(") n WHERE true");
            selection.push(&mut query);
        }
        Way::Places => {
            // Not by address: the places lead to fewer rows.
            query.push("WITH placed AS MATERIALIZED (");
            push_nodes(&mut query, selection);
            selection.push(&mut query);
            query.push(") SELECT * FROM placed n WHERE true");
            push_behind(&mut query, selection, "n.ip", after);
        }
        Way::Communications(from, to) => {
            query.push(format_args!(
                "SELECT {} FROM (SELECT DISTINCT ip FROM (",
                NodeRow::COLUMNS
            ));
            push_communications(&mut query, selection, (*from, *to), after);
            query.push(" ORDER BY ip LIMIT ").push_bind(STRETCH);
            query.push(") c) seen CROSS JOIN LATERAL (");
            push_nodes(&mut query, selection);
            query.push(" AND n.ip = seen.ip) n WHERE true");
            selection.push(&mut query);
        }
    }
    query.push(" ORDER BY ");
    query.push(match way {
        Way::Communications(..) => "seen.ip",
        Way::Addresses | Way::Places => "n.ip",
    });
    query.push(" LIMIT ").push_bind(limit as i64 + 1);
    // Planned with its parameters, which decide much.
    let rows = query.build_query_as().persistent(false);
    Ok(rows.fetch_all(connection).await?)
}

/// Where a stretch ends in which not enough was found; `None`: at the end of all.
async fn end(
    connection: &mut PgConnection,
    selection: &Selection,
    way: &Way,
    after: Option<IpAddr>,
) -> Result<Option<IpAddr>, Problem> {
    let mut query = QueryBuilder::new("");
    match way {
        Way::Places => return Ok(None),
        Way::Addresses => {
            query.push("SELECT ip FROM botnet_nodes WHERE family_id = ");
            query.push_bind(selection.family);
            push_behind(&mut query, selection, "ip", after);
        }
        Way::Communications(from, to) => {
            push_communications(&mut query, selection, (*from, *to), after);
        }
    }
    query
        .push(" ORDER BY ip LIMIT 1 OFFSET ")
        .push_bind(STRETCH - 1);
    let last: Option<IpNetwork> = query
        .build_query_scalar()
        .persistent(false)
        .fetch_optional(connection)
        .await?;
    Ok(last.map(|address| address.ip()))
}

fn push_nodes(query: &mut QueryBuilder<'_, Postgres>, selection: &Selection) {
    query.push(format_args!(
        "SELECT {} FROM botnet_nodes n WHERE n.family_id = ",
        NodeRow::COLUMNS
    ));
    query.push_bind(selection.family);
}

fn push_communications(
    query: &mut QueryBuilder<'_, Postgres>,
    selection: &Selection,
    (from, to): (OffsetDateTime, OffsetDateTime),
    after: Option<IpAddr>,
) {
    query.push("SELECT ip FROM botnet_communications WHERE family_id = ");
    query.push_bind(selection.family);
    query.push(" AND bucket >= ").push_bind(from);
    query.push(" AND bucket < ").push_bind(to);
    push_behind(query, selection, "ip", after);
}

fn push_behind(
    query: &mut QueryBuilder<'_, Postgres>,
    selection: &Selection,
    column: &str,
    after: Option<IpAddr>,
) {
    selection.push_network(query, column);
    if let Some(after) = after {
        query
            .push(format_args!(" AND {column} > "))
            .push_bind(host(after));
    }
}
