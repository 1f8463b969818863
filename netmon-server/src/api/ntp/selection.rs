//! Clients that fit a wish, a page at a time.

use sqlx::{PgPool, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::{
    client::{Key, NtpClient},
    filter::{Filter, Wish, push_times},
};
use crate::api::{columns::Address, problem::Problem};

/// Clients are counted up to here: a page says how many there are, not one by one what everybody
/// knows to be many.
pub const MAX_COUNT: i64 = 10_000;

/// What a list is ordered by.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = NtpClientSort)]
pub enum Sort {
    /// Agent, interface, client, server: the order that costs nothing, and the only one with cursors.
    #[default]
    Client,
    FirstSeen,
    LastSeen,
    SessionCount,
    Stratum,
    #[serde(alias = "response_time")]
    ResponseTimeNs,
    /// By how far it is from 0.
    #[serde(alias = "offset")]
    OffsetNs,
}

/// In which direction.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[schema(as = NtpSortOrder)]
pub enum Order {
    #[default]
    Asc,
    Desc,
}

/// Clients that are meant, in their order.
pub struct Selection<'a> {
    wish: &'a Wish,
    filter: Filter,
    pub sort: Sort,
    pub order: Order,
}

impl Sort {
    /// `None`: the key alone.
    fn expression(self) -> Option<&'static str> {
        Some(match self {
            Self::Client => return None,
            Self::FirstSeen => "c.first_seen",
            Self::LastSeen => "c.last_seen",
            Self::SessionCount => "c.session_count",
            Self::Stratum => "c.stratum",
            Self::ResponseTimeNs => "c.response_time_ns",
            Self::OffsetNs => "abs(c.offset_ns::float8)",
        })
    }
}

impl<'a> Selection<'a> {
    /// Checks the wish.
    pub async fn new(database: &PgPool, wish: &'a Wish) -> Result<Self, Problem> {
        if !wish.r#match.is_empty() {
            let reason = "clients have none; ask for exchanges";
            return Err(Problem::parameter("match", reason));
        }
        Ok(Self {
            wish,
            filter: wish.filter(database).await?,
            sort: Sort::default(),
            order: Order::default(),
        })
    }

    /// The clients after a key, or after so many.
    pub async fn fetch(
        &self,
        database: &PgPool,
        after: Option<&Key>,
        offset: i64,
        limit: i64,
    ) -> Result<Vec<NtpClient>, Problem> {
        // Cut before the aliases are looked up: the cut must see the index.
        let mut query = QueryBuilder::new("SELECT ");
        query.push(NtpClient::COLUMNS);
        query.push(" FROM (SELECT * FROM ntp_clients c WHERE true");
        self.push_conditions(&mut query)?;
        if let Some((agent, interface, client, server)) = after {
            query.push(match self.order {
                Order::Asc => " AND (c.agent_id, c.interface, c.client, c.server) > (",
                Order::Desc => " AND (c.agent_id, c.interface, c.client, c.server) < (",
            });
            query.push_bind(*agent).push(", ");
            query.push_bind(interface.clone()).push(", ");
            query.push_bind(Address((*client).into())).push(", ");
            query.push_bind(Address((*server).into())).push(")");
        }
        let order = self.order_by();
        query.push(&order).push(" LIMIT ").push_bind(limit);
        query.push(" OFFSET ").push_bind(offset);
        query.push(") c JOIN agents a USING (agent_id)").push(order);
        Ok(query.build_query_as().fetch_all(database).await?)
    }

    /// How many there are, and whether that is all: it counts to [`MAX_COUNT`].
    pub async fn count(&self, database: &PgPool) -> Result<(i64, bool), Problem> {
        let mut query =
            QueryBuilder::new("SELECT count(*) FROM (SELECT FROM ntp_clients c WHERE true");
        self.push_conditions(&mut query)?;
        query.push(" LIMIT ").push_bind(MAX_COUNT + 1).push(") c");
        let count: i64 = query.build_query_scalar().fetch_one(database).await?;
        Ok((count.min(MAX_COUNT), count <= MAX_COUNT))
    }

    fn push_conditions(&self, query: &mut QueryBuilder<'_, Postgres>) -> Result<(), Problem> {
        self.filter.push(query, "c");
        self.filter.push_class(query, "c");
        let (from, to) = (self.wish.from.as_deref(), self.wish.to.as_deref());
        push_times(query, "c.last_seen", from, to)
    }

    fn order_by(&self) -> String {
        let direction = match self.order {
            Order::Asc => "",
            Order::Desc => " DESC",
        };
        let first = self
            .sort
            .expression()
            .map(|of| format!("{of}{direction} NULLS LAST, "));
        let key = ["agent_id", "interface", "client", "server"];
        let key = key
            .map(|column| format!("c.{column}{direction}"))
            .join(", ");
        format!(" ORDER BY {}{key}", first.unwrap_or_default())
    }
}
