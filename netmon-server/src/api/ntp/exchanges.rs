//! NTP exchanges, newest first.

use axum::{Json, extract::State};
use serde::Deserialize;
use sqlx::{Postgres, QueryBuilder, types::ipnetwork::IpNetwork};
use time::OffsetDateTime;
use utoipa::IntoParams;

use super::{exchange::NtpExchange, kind};
use crate::{
    agent_id::AgentId,
    api::{
        Api, agents,
        cursor::Scope,
        extract::Parameters,
        listing::{Listing, Page},
        parameter::address,
        problem::Problem,
        range::{self, Range},
    },
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExchangeParameters {
    /// Seen by this agent: id or alias.
    agent: Option<String>,
    /// Seen on this interface.
    interface: Option<String>,
    /// The client's IP address.
    #[param(example = "192.0.2.1")]
    client: Option<String>,
    /// The server's IP address.
    server: Option<String>,
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
type RowKey = (i64, i64, i64, i64, i32);

/// NTP exchanges, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/exchanges",
    tag = "ntp",
    operation_id = "list_ntp_exchanges",
    params(ExchangeParameters),
    responses((status = 200, description = "A page of the list", body = Listing<NtpExchange>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ExchangeParameters>,
) -> Result<Json<Listing<NtpExchange>>, Problem> {
    let page = parameters.page()?;
    let range = parameters.range(&page)?;
    let filters = parameters.filters()?;
    let agent = match &parameters.agent {
        Some(name) => Some(agents::find(&api.database, name).await?.id()),
        None => None,
    };
    let mut query = select(agent, &filters, range, &page)?;
    let rows: Vec<NtpExchange> = query.build_query_as().fetch_all(&api.database).await?;
    let (from_us, to_us) = range.unix_us();
    Ok(Json(page.close(rows, |exchange| Key {
        from_us,
        to_us,
        row: exchange.key(),
    })))
}

/// Filters on rows of one agent.
struct Filters<'a> {
    interface: Option<&'a str>,
    client: Option<IpNetwork>,
    server: Option<IpNetwork>,
    kind: Option<&'a str>,
}

impl ExchangeParameters {
    fn page(&self) -> Result<Page<Key>, Problem> {
        let filters = [
            &self.agent,
            &self.interface,
            &self.client,
            &self.server,
            &self.r#match,
            &self.from,
            &self.to,
        ];
        let scope = Scope::new("ntp_exchanges", &filters.map(Option::as_deref));
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

    fn filters(&self) -> Result<Filters<'_>, Problem> {
        Ok(Filters {
            interface: self.interface.as_deref(),
            client: address("client", self.client.as_deref())?,
            server: address("server", self.server.as_deref())?,
            kind: kind::parse(self.r#match.as_deref())?,
        })
    }
}

/// Takes the newest rows of each agent by the primary key (agent_id, at, …), then the newest of
/// those: no agent's rows are read further than a page.
fn select<'a>(
    agent: Option<AgentId>,
    filters: &Filters<'a>,
    range: Range,
    page: &Page<Key>,
) -> Result<QueryBuilder<'a, Postgres>, Problem> {
    let mut query = QueryBuilder::new(
        "SELECT a.alias AS agent_alias, e.* FROM agents a CROSS JOIN LATERAL (SELECT ",
    );
    query
        .push(NtpExchange::COLUMNS)
        .push(" FROM ntp_exchanges e WHERE e.agent_id = a.agent_id AND e.at >= ")
        .push_bind(range.from)
        .push(" AND e.at < ")
        .push_bind(range.to);
    filters.push(&mut query);
    if let Some(Key { row, .. }) = &page.after {
        push_after(&mut query, *row)?;
    }
    query
        .push(" ORDER BY e.at DESC, e.epoch DESC, e.sequence DESC, e.ordinal DESC LIMIT ")
        .push_bind(page.fetch())
        .push(") e");
    if let Some(agent) = agent {
        query
            .push(" WHERE a.agent_id = ")
            .push_bind(agent.to_bigint());
    }
    query
        .push(
            " ORDER BY e.at DESC, e.agent_id DESC, e.epoch DESC, e.sequence DESC, e.ordinal DESC \
             LIMIT ",
        )
        .push_bind(page.fetch());
    Ok(query)
}

impl<'a> Filters<'a> {
    fn push(&self, query: &mut QueryBuilder<'a, Postgres>) {
        if let Some(interface) = self.interface {
            query.push(" AND e.interface = ").push_bind(interface);
        }
        if let Some(client) = self.client {
            query.push(" AND e.client = ").push_bind(client);
        }
        if let Some(server) = self.server {
            query.push(" AND e.server = ").push_bind(server);
        }
        if let Some(kind) = self.kind {
            query.push(" AND e.match = ").push_bind(kind);
        }
    }
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
