//! NTP exchanges, newest first.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Postgres, QueryBuilder};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    exchange::NtpExchange,
    filter::{Filter, Wish, values},
    kind,
};
use crate::api::{
    Api,
    cursor::Scope,
    extract::Parameters,
    listing::Page,
    problem::Problem,
    range::{self, Range},
};

/// Folds of one agent that are looked at, the newest ones.
const MAX_FOLDS: i64 = 10_000;

/// A page of exchanges.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpExchangeListing)]
pub struct Exchanges {
    items: Vec<NtpExchange>,
    /// Pass it as `cursor`, with all other parameters repeated, for the next page; null after the
    /// last one.
    next_cursor: Option<String>,
    /// So many times agents counted exchanges of a client and a server together instead of sending
    /// each: these are in statistics and in the counts of clients and servers, not here. Those that
    /// fit agent, interface, client, server and vantage, of the newest 10,000 of each agent in the
    /// range; null on later pages.
    folded: Option<i64>,
}

/// Several values of one parameter are separated by commas.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExchangeParameters {
    /// Seen by this agent: id or alias.
    agent: Option<String>,
    /// Seen on this interface.
    interface: Option<String>,
    /// The client's IP address, or a network.
    #[param(example = "192.0.2.0/24")]
    client: Option<String>,
    /// The server's IP address, or a network.
    server: Option<String>,
    /// Stratum of the response.
    #[param(example = "1,2")]
    stratum: Option<String>,
    /// NTP version of the response.
    version: Option<String>,
    /// Leap indicator of the response, 0 to 3.
    leap: Option<String>,
    /// Where the sensor is: `client`, `server`, `transit`.
    vantage: Option<String>,
    /// The offset is further from 0 than so many nanoseconds.
    #[param(value_type = Option<u64>)]
    offset_over_ns: Option<String>,
    /// How request and response fit together.
    #[param(value_type = Option<kind::Match>)]
    r#match: Option<String>,
    /// Seen at this time or later; an hour before `to` by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Seen before this time; the time of the first page by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Where a page begins. The range of the first page travels with it, so that "the last hour" means
/// the same hour on every page.
#[derive(serde::Serialize, Deserialize)]
struct Key {
    from_us: i64,
    to_us: i64,
    row: RowKey,
}

/// Orders the list: time of the exchange (µs since 1970), agent, epoch, sequence, ordinal.
pub type RowKey = (i64, i64, i64, i64, i32);

/// NTP exchanges, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/exchanges",
    tag = "ntp",
    operation_id = "list_ntp_exchanges",
    params(ExchangeParameters),
    responses((status = 200, description = "A page of the list", body = Exchanges))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ExchangeParameters>,
) -> Result<Json<Exchanges>, Problem> {
    let wish = parameters.wish();
    let page = parameters.page(&wish)?;
    let range = parameters.range(&page)?;
    let filter = wish.filter(&api.database).await?;
    let after = page.after.as_ref().map(|key| key.row);
    let rows = fetch(&api.database, &filter, range, after, page.fetch()).await?;
    let folded = match page.after {
        None => Some(folds(&api.database, &filter, range).await?),
        Some(_) => None,
    };
    let (from_us, to_us) = range.unix_us();
    let listing = page.close(rows, |exchange| Key {
        from_us,
        to_us,
        row: exchange.key(),
    });
    Ok(Json(Exchanges {
        items: listing.items,
        next_cursor: listing.next_cursor,
        folded,
    }))
}

/// Folds of a range that fit.
async fn folds(database: &PgPool, filter: &Filter, range: Range) -> Result<i64, Problem> {
    let mut query = QueryBuilder::new(
        "SELECT count(*) FROM agents a CROSS JOIN LATERAL (SELECT f.* FROM ntp_folds f \
         WHERE f.agent_id = a.agent_id AND f.at >= ",
    );
    query.push_bind(range.from).push(" AND f.at < ");
    query.push_bind(range.to);
    query.push(" ORDER BY f.at DESC LIMIT ");
    query.push_bind(MAX_FOLDS).push(") f WHERE true");
    filter.of_folds().push(&mut query, "f");
    Ok(query.build_query_scalar().fetch_one(database).await?)
}

impl ExchangeParameters {
    fn wish(&self) -> Wish {
        Wish {
            agent: values(self.agent.as_deref()),
            interface: values(self.interface.as_deref()),
            client: values(self.client.as_deref()),
            server: values(self.server.as_deref()),
            stratum: values(self.stratum.as_deref()),
            version: values(self.version.as_deref()),
            leap: values(self.leap.as_deref()),
            r#match: values(self.r#match.as_deref()),
            vantage: values(self.vantage.as_deref()),
            from: self.from.clone(),
            to: self.to.clone(),
            offset_over_ns: self.offset_over_ns.clone(),
        }
    }

    fn page(&self, wish: &Wish) -> Result<Page<Key>, Problem> {
        let scope = Scope::new("ntp_exchanges", &[Some(&wish.fingerprint())]);
        Page::parse(scope, self.limit.as_deref(), self.cursor.as_deref())
    }

    fn range(&self, page: &Page<Key>) -> Result<Range, Problem> {
        match &page.after {
            Some(key) => Range::from_unix_us(key.from_us, key.to_us).ok_or(Problem::InvalidCursor),
            None => Range::parse(
                self.from.as_deref(),
                self.to.as_deref(),
                OffsetDateTime::now_utc(),
            ),
        }
    }
}

/// The exchanges of a range that fit, newest first, behind a row. Takes the newest rows of each agent
/// by the primary key (agent_id, at, …), then the newest of those: no agent's rows are read further than
/// a page.
pub async fn fetch(
    database: &PgPool,
    filter: &Filter,
    range: Range,
    after: Option<RowKey>,
    limit: i64,
) -> Result<Vec<NtpExchange>, Problem> {
    let mut query = QueryBuilder::new(
        "SELECT a.alias AS agent_alias, e.* FROM agents a CROSS JOIN LATERAL (SELECT ",
    );
    query
        .push(NtpExchange::COLUMNS)
        .push(" FROM ntp_exchanges e WHERE e.agent_id = a.agent_id AND e.at >= ")
        .push_bind(range.from)
        .push(" AND e.at < ")
        .push_bind(range.to);
    filter.push_but_agents(&mut query, "e");
    if let Some(row) = after {
        push_after(&mut query, row)?;
    }
    query
        .push(" ORDER BY e.at DESC, e.epoch DESC, e.sequence DESC, e.ordinal DESC LIMIT ")
        .push_bind(limit)
        .push(") e");
    if let Some(agents) = filter.agents() {
        query
            .push(" WHERE a.agent_id = ANY (")
            .push_bind(agents.to_vec())
            .push(")");
    }
    query
        .push(
            " ORDER BY e.at DESC, e.agent_id DESC, e.epoch DESC, e.sequence DESC, e.ordinal DESC \
             LIMIT ",
        )
        .push_bind(limit);
    Ok(query.build_query_as().fetch_all(database).await?)
}

/// Continues behind `row`. The bound on `at` alone is what the index can use; the comparison of
/// rows, in which the agent stands second, decides between rows of the same moment.
fn push_after(query: &mut QueryBuilder<'_, Postgres>, row: RowKey) -> Result<(), Problem> {
    let (at_us, agent, epoch, sequence, ordinal) = row;
    let at = range::time_of_unix_us(at_us).ok_or(Problem::InvalidCursor)?;
    query
        .push(" AND e.at <= ")
        .push_bind(at)
        .push(" AND (e.at, e.agent_id, e.epoch, e.sequence, e.ordinal) < (")
        .push_bind(at)
        .push(", ")
        .push_bind(agent)
        .push(", ")
        .push_bind(epoch)
        .push(", ")
        .push_bind(sequence)
        .push(", ")
        .push_bind(ordinal)
        .push(")");
    Ok(())
}
