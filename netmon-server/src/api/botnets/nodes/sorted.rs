//! Nodes sorted by what no index holds, as long as they are not too many.

use std::net::IpAddr;

use sqlx::{PgPool, Postgres, QueryBuilder};

use super::{
    row::NodeRow,
    selection::{Selection, host},
};
use crate::api::{problem::Problem, range};

/// Nodes that are sorted, at most.
const MAX_SORTED: i64 = 200_000;

/// What decides the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Address,
    /// The latest first.
    LastSeen,
    /// The most first.
    Communications,
}

/// The last row of a part.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Communications, or when it was last seen in microseconds since 1970.
    pub value: i64,
    pub address: IpAddr,
}

impl Order {
    /// Parses the parameter `sort`.
    pub fn parse(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("address") => Ok(Self::Address),
            Some("last_seen") => Ok(Self::LastSeen),
            Some("communications") => Ok(Self::Communications),
            Some(_) => Err(Problem::parameter(
                "sort",
                "it must be address, last_seen or communications",
            )),
        }
    }

    fn column(self) -> &'static str {
        match self {
            Self::Address => "ip",
            Self::LastSeen => "last_seen",
            Self::Communications => "communications",
        }
    }

    fn mark(self, row: &NodeRow) -> Mark {
        Mark {
            value: match self {
                Self::LastSeen => range::unix_us(row.last_seen),
                Self::Address | Self::Communications => row.communications,
            },
            address: row.ip.ip(),
        }
    }
}

/// Whether the nodes that would be sorted are few enough.
///
/// # Errors
/// [`Problem::TooManyNodes`].
pub async fn check(database: &PgPool, selection: &Selection) -> Result<(), Problem> {
    let nodes = match (&selection.places, selection.network) {
        (Some(places), _) if places.nodes <= MAX_SORTED => return Ok(()),
        (_, Some(_)) => {
            // No further than decides it.
            let mut query = QueryBuilder::new(
                "SELECT count(*) FROM (SELECT FROM botnet_nodes WHERE family_id = ",
            );
            query.push_bind(selection.family);
            selection.push_network(&mut query, "ip");
            query.push(" LIMIT ").push_bind(MAX_SORTED + 1);
            query.push(") counted");
            let count = query.build_query_scalar().persistent(false);
            count.fetch_one(database).await?
        }
        (Some(places), None) => places.nodes,
        (None, None) => sqlx::query_scalar(
            "SELECT coalesce(sum(nodes), 0)::bigint FROM botnet_statistics WHERE family_id = $1",
        )
        .bind(selection.family)
        .fetch_one(database)
        .await?,
    };
    match nodes <= MAX_SORTED {
        true => Ok(()),
        false => Err(Problem::TooManyNodes(nodes, MAX_SORTED)),
    }
}

/// The nodes that fit behind a row, at most `limit`, and the last of them if there are more.
pub async fn rows(
    database: &PgPool,
    selection: &Selection,
    order: Order,
    after: Option<Mark>,
    limit: usize,
) -> Result<(Vec<NodeRow>, Option<Mark>), Problem> {
    check(database, selection).await?;
    let column = order.column();
    let mut query = QueryBuilder::new(format!(
        "SELECT {} FROM botnet_nodes n WHERE n.family_id = ",
        NodeRow::COLUMNS
    ));
    query.push_bind(selection.family);
    selection.push(&mut query);
    if let Some(mark) = after {
        push_after(&mut query, order, mark)?;
    }
    query.push(format_args!(" ORDER BY n.{column} DESC, n.ip DESC LIMIT "));
    query.push_bind(limit as i64 + 1);
    let rows = query.build_query_as().persistent(false);
    let mut rows: Vec<NodeRow> = rows.fetch_all(database).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| order.mark(row));
    Ok((rows, next))
}

fn push_after(
    query: &mut QueryBuilder<'_, Postgres>,
    order: Order,
    mark: Mark,
) -> Result<(), Problem> {
    query.push(format_args!(" AND (n.{}, n.ip) < (", order.column()));
    match order {
        Order::LastSeen => {
            let at = range::time_of_unix_us(mark.value).ok_or(Problem::InvalidCursor)?;
            query.push_bind(at);
        }
        Order::Address | Order::Communications => {
            query.push_bind(mark.value);
        }
    }
    query.push(", ").push_bind(host(mark.address)).push(")");
    Ok(())
}
