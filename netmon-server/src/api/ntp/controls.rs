//! Questions of NTP modes 6 and 7 with their answers, newest first.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Postgres, QueryBuilder};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::filter::{Filter, Wish, values};
use crate::api::{
    Api,
    columns::{Address, Agent, UnixNanoseconds},
    cursor::Scope,
    extract::Parameters,
    listing::{Listing, Page},
    problem::Problem,
    range::{self, Range},
};

/// A question of mode 6 (RFC 9327) or 7 (ntpd's own) and all packets of its answer, or an answer that
/// nobody asked for.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct NtpControl {
    #[sqlx(rename = "agent_id")]
    #[schema(inline)]
    agent: Agent,
    agent_alias: String,
    /// When the sensor first saw a packet of it.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(skip)]
    epoch: i64,
    #[serde(skip)]
    sequence: i64,
    #[serde(skip)]
    ordinal: i32,
    interface: String,
    /// Outer VLAN identifier; 0 = none.
    vlan: i32,
    /// Inner VLAN identifier; 0 = none.
    inner_vlan: i32,
    #[schema(inline)]
    client: Address,
    client_port: i32,
    #[schema(inline)]
    server: Address,
    server_port: i32,
    /// 6 or 7.
    mode: i16,
    version: i16,
    /// Of mode 7: the request code.
    opcode: i16,
    /// Of mode 6: ties answer and question together.
    message_sequence: i32,
    /// Of mode 6: the association, 0 = the system; of mode 7: the implementation.
    subject: i32,
    /// When the sensor saw the question, by its clock; null if it did not.
    #[sqlx(rename = "requested_at_ns")]
    #[schema(inline)]
    requested_at: Option<UnixNanoseconds>,
    /// When it saw the first packet of the answer.
    #[sqlx(rename = "answered_at_ns")]
    #[schema(inline)]
    answered_at: Option<UnixNanoseconds>,
    /// When it saw the last.
    #[sqlx(rename = "ended_at_ns")]
    #[schema(inline)]
    ended_at: Option<UnixNanoseconds>,
    request_packets: i64,
    /// UDP payload, octets.
    request_octets: i64,
    response_packets: i64,
    /// UDP payload, octets.
    response_octets: i64,
    /// How many octets of answer an octet of the question brought about; null without a question.
    octet_ratio: Option<f64>,
    /// Of a refusal; null: it is none.
    error: Option<i32>,
    /// Of mode 6: the status word of the answer.
    status: i32,
    /// Of mode 7: items in all packets of the answer.
    items: i64,
    /// Every packet of the answer was seen.
    complete: bool,
    /// Carries a MAC.
    authenticated: bool,
    response_time_ns: Option<i64>,
    /// Where the sensor is: `client`, `server`, `transit`; null: not known.
    vantage: Option<String>,
}

/// By name: `*` would break on a column that a newer server adds to a shared database.
const COLUMNS: &str = "agent_id, at, epoch, sequence, ordinal, interface, vlan, inner_vlan, client, \
     client_port, server, server_port, mode, version, opcode, message_sequence, subject, \
     requested_at_ns, answered_at_ns, ended_at_ns, request_packets, request_octets, \
     response_packets, response_octets, error, status, items, complete, authenticated, \
     response_time_ns, vantage";

/// Several values of one parameter are separated by commas.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ControlParameters {
    /// Seen by this agent: id or alias.
    agent: Option<String>,
    /// Seen on this interface.
    interface: Option<String>,
    /// The client's IP address, or a network.
    #[param(example = "192.0.2.0/24")]
    client: Option<String>,
    /// The server's IP address, or a network.
    server: Option<String>,
    /// 6 or 7.
    mode: Option<String>,
    /// Mode 6: the opcode; mode 7: the request code.
    opcode: Option<String>,
    /// Where the sensor is: `client`, `server`, `transit`.
    vantage: Option<String>,
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

/// Where a page begins, and the range of the first page.
#[derive(Serialize, Deserialize)]
struct Key {
    from_us: i64,
    to_us: i64,
    row: RowKey,
}

/// Orders the list: time (µs since 1970), agent, epoch, sequence, ordinal.
type RowKey = (i64, i64, i64, i64, i32);

/// What is asked for beyond what all lists of NTP have.
struct Kinds {
    modes: Vec<i16>,
    opcodes: Vec<i16>,
}

/// Questions of NTP modes 6 and 7 with their answers, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/control",
    tag = "ntp",
    operation_id = "list_ntp_control",
    params(ControlParameters),
    responses((status = 200, description = "A page of the list", body = Listing<NtpControl>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ControlParameters>,
) -> Result<Json<Listing<NtpControl>>, Problem> {
    let wish = parameters.wish();
    let page = parameters.page(&wish)?;
    let range = parameters.range(&page)?;
    let kinds = parameters.kinds()?;
    let filter = wish.filter(&api.database).await?;
    let rows = fetch(&api.database, (&filter, &kinds), range, &page).await?;
    let (from_us, to_us) = range.unix_us();
    Ok(Json(page.close(rows, |control| Key {
        from_us,
        to_us,
        row: control.key(),
    })))
}

impl ControlParameters {
    fn wish(&self) -> Wish {
        Wish {
            agent: values(self.agent.as_deref()),
            interface: values(self.interface.as_deref()),
            client: values(self.client.as_deref()),
            server: values(self.server.as_deref()),
            vantage: values(self.vantage.as_deref()),
            from: self.from.clone(),
            to: self.to.clone(),
            ..Wish::default()
        }
    }

    fn page(&self, wish: &Wish) -> Result<Page<Key>, Problem> {
        let filters = [
            Some(wish.fingerprint()),
            self.mode.clone(),
            self.opcode.clone(),
        ];
        let filters = filters.each_ref().map(Option::as_deref);
        let scope = Scope::new("ntp_control", &filters);
        Page::parse(scope, self.limit.as_deref(), self.cursor.as_deref())
    }

    fn range(&self, page: &Page<Key>) -> Result<Range, Problem> {
        match &page.after {
            Some(key) => Range::from_unix_us(key.from_us, key.to_us).ok_or(Problem::InvalidCursor),
            None => {
                let (from, to) = (self.from.as_deref(), self.to.as_deref());
                Range::parse(from, to, OffsetDateTime::now_utc())
            }
        }
    }

    fn kinds(&self) -> Result<Kinds, Problem> {
        Ok(Kinds {
            modes: numbers("mode", self.mode.as_deref(), 6..=7, "it must be 6 or 7")?,
            opcodes: numbers(
                "opcode",
                self.opcode.as_deref(),
                0..=255,
                "it must be a whole number from 0 to 255",
            )?,
        })
    }
}

fn numbers(
    name: &'static str,
    text: Option<&str>,
    range: std::ops::RangeInclusive<i16>,
    rule: &str,
) -> Result<Vec<i16>, Problem> {
    let values = values(text).into_iter();
    let number = |text: String| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| Problem::parameter(name, rule))
    };
    values.map(number).collect()
}

/// The newest of each agent by the primary key, then the newest of those: no agent's rows are read
/// further than a page.
async fn fetch(
    database: &PgPool,
    (filter, kinds): (&Filter, &Kinds),
    range: Range,
    page: &Page<Key>,
) -> Result<Vec<NtpControl>, Problem> {
    let mut query = QueryBuilder::new(
        "SELECT a.alias AS agent_alias, c.*,
                c.response_octets::float8 / nullif(c.request_octets, 0) AS octet_ratio
         FROM agents a CROSS JOIN LATERAL (
             SELECT ",
    );
    query.push(COLUMNS);
    query.push(" FROM ntp_control c WHERE c.agent_id = a.agent_id AND c.at >= ");
    query.push_bind(range.from);
    query.push(" AND c.at < ").push_bind(range.to);
    filter.push_but_agents(&mut query, "c");
    for (column, values) in [("mode", &kinds.modes), ("opcode", &kinds.opcodes)] {
        if !values.is_empty() {
            query.push(format_args!(" AND c.{column} = ANY ("));
            query.push_bind(values.clone()).push(")");
        }
    }
    if let Some(key) = &page.after {
        push_after(&mut query, key.row)?;
    }
    query.push(" ORDER BY c.at DESC, c.epoch DESC, c.sequence DESC, c.ordinal DESC LIMIT ");
    query.push_bind(page.fetch()).push(") c");
    if let Some(agents) = filter.agents() {
        query.push(" WHERE a.agent_id = ANY (");
        query.push_bind(agents.to_vec()).push(")");
    }
    query.push(
        " ORDER BY c.at DESC, c.agent_id DESC, c.epoch DESC, c.sequence DESC, c.ordinal DESC LIMIT ",
    );
    query.push_bind(page.fetch());
    Ok(query.build_query_as().fetch_all(database).await?)
}

/// Continues behind a row: the bound on `at` is what the index can use.
fn push_after(query: &mut QueryBuilder<'_, Postgres>, row: RowKey) -> Result<(), Problem> {
    let (at_us, agent, epoch, sequence, ordinal) = row;
    let at = range::time_of_unix_us(at_us).ok_or(Problem::InvalidCursor)?;
    query.push(" AND c.at <= ").push_bind(at);
    query.push(" AND (c.at, c.agent_id, c.epoch, c.sequence, c.ordinal) < (");
    query.push_bind(at).push(", ");
    query.push_bind(agent).push(", ");
    query.push_bind(epoch).push(", ");
    query.push_bind(sequence).push(", ");
    query.push_bind(ordinal).push(")");
    Ok(())
}

impl NtpControl {
    fn key(&self) -> RowKey {
        let Self {
            epoch,
            sequence,
            ordinal,
            ..
        } = *self;
        let at_us = range::unix_us(self.at);
        (at_us, self.agent.0, epoch, sequence, ordinal)
    }
}
