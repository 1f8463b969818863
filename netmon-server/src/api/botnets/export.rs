//! A family's nodes or communications as a file.

use std::net::IpAddr;

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder, types::ipnetwork::IpNetwork};
use time::{Date, Duration, OffsetDateTime, macros::format_description};
use utoipa::IntoParams;

use super::{
    family::{self, FamilySegment, Found},
    nodes::{self, NodeParameters},
    source::{join_source, source_columns},
};
use crate::api::{
    Api,
    columns::Address,
    extract::{Parameters, Segments},
    file::{self, File, Format, Stopped},
    problem::Problem,
    range::{self, Range},
};

/// Rows read in one go; so many are in memory, and those that wait to be sent.
const ROWS: usize = 2000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParameters {
    /// `nodes` (default) or `communications`.
    what: Option<String>,
    /// `csv` (default), `ndjson` or `json`.
    format: Option<String>,
    /// Communications of hours that begin at this time or later; all by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Communications of hours that begin before this time; all by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Most rows.
    #[param(value_type = Option<u64>, minimum = 1)]
    limit: Option<String>,
    /// Language of names: `en` or `zh`.
    lang: Option<String>,
}

/// Sightings of a node by one source within an hour.
#[derive(Serialize, FromRow)]
struct Row {
    #[sqlx(rename = "ip")]
    address: Address,
    #[serde(with = "time::serde::rfc3339")]
    hour: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
    communications: i64,
    source_kind: String,
    source: String,
    agent: Option<String>,
    ports: Option<Vec<i32>>,
    local_ports: Option<Vec<i32>>,
    inbound_packets: Option<i64>,
    inbound_bytes: Option<i64>,
    outbound_packets: Option<i64>,
    outbound_bytes: Option<i64>,
    #[serde(skip)]
    source_id: i32,
}

impl Row {
    const HEAD: [&str; 14] = [
        "address",
        "hour",
        "first_seen",
        "last_seen",
        "communications",
        "source_kind",
        "source",
        "agent",
        "ports",
        "local_ports",
        "inbound_packets",
        "inbound_bytes",
        "outbound_packets",
        "outbound_bytes",
    ];
}

/// All nodes of a family by address, or its communications by day and address, streamed.
///
/// `/api/v1/botnets/{family}/nodes` with `format` exports the nodes that fit its filters. A file that
/// ends before its time ends with the connection, not with its last row.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/export",
    tag = "botnets",
    operation_id = "export_botnet",
    params(FamilySegment, ExportParameters),
    responses((status = 200, description = "The file", content_type = "text/csv", body = String))
)]
pub async fn run(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Parameters(parameters): Parameters<ExportParameters>,
) -> Result<Response, Problem> {
    let format = match parameters.format.as_deref() {
        None => Format::Csv,
        some => Format::parse(some)?,
    };
    match parameters.what.as_deref() {
        None | Some("nodes") => {
            if parameters.from.is_some() || parameters.to.is_some() {
                let reason = "nodes are not exported by time; take what=communications, or \
                              seen_from of /api/v1/botnets/{family}/nodes with format=csv";
                return Err(Problem::parameter("what", reason));
            }
            let all = NodeParameters::all(parameters.limit, parameters.lang);
            nodes::file(&api, &family, all, format).await
        }
        Some("communications") => communications(&api, &family, &parameters, format).await,
        Some(_) => Err(Problem::parameter(
            "what",
            "it must be nodes or communications",
        )),
    }
}

async fn communications(
    api: &Api,
    family: &str,
    parameters: &ExportParameters,
    format: Format,
) -> Result<Response, Problem> {
    let limit = nodes::file_limit(parameters.limit.as_deref())?;
    let range = parameters.range()?;
    let Found { id, name } = family::find(&api.database, family).await?;
    let rows = Rows {
        days: days(&api.database, range).await?,
        database: api.database.clone(),
        family: id,
    };
    let name = format!("botnet-{name}-communications");
    Ok(file::respond(&name, format, &Row::HEAD, limit, rows))
}

impl ExportParameters {
    /// From and to; `None`: no bound.
    fn range(&self) -> Result<(Option<OffsetDateTime>, Option<OffsetDateTime>), Problem> {
        let time = |name, text: &Option<String>| match text {
            Some(text) => range::time(name, text).map(Some),
            None => Ok(None),
        };
        let (from, to) = (time("from", &self.from)?, time("to", &self.to)?);
        match from.zip(to).is_some_and(|(from, to)| from >= to) {
            true => Err(Problem::parameter("from", "it must lie before to")),
            false => Ok((from, to)),
        }
    }
}

/// The days of which communications are kept, as far as they lie in a range.
async fn days(
    database: &PgPool,
    (from, to): (Option<OffsetDateTime>, Option<OffsetDateTime>),
) -> Result<Vec<Range>, Problem> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT child.relname::text FROM pg_inherits
         JOIN pg_class child ON child.oid = inhrelid
         WHERE inhparent = 'botnet_communications'::regclass ORDER BY 1",
    )
    .fetch_all(database)
    .await?;
    let day = |name: &String| {
        let (_, day) = name.rsplit_once('_')?;
        let day = Date::parse(day, format_description!("[year][month][day]")).ok()?;
        let start = day.midnight().assume_utc();
        let day = Range {
            from: from.map_or(start, |from| from.max(start)),
            to: to.map_or(start + Duration::DAY, |to| to.min(start + Duration::DAY)),
        };
        (day.from < day.to).then_some(day)
    };
    Ok(names.iter().filter_map(day).collect())
}

/// All communications of a range.
struct Rows {
    database: PgPool,
    family: i64,
    /// In order of time.
    days: Vec<Range>,
}

/// A row by its key.
#[derive(Clone, Copy)]
struct Mark {
    address: IpAddr,
    hour: OffsetDateTime,
    source: i32,
}

impl file::Source for Rows {
    /// Day by day, as they are stored, and part by part, each behind the key of the last row: no
    /// statement is long, and the connection is given back between them.
    async fn write(self, file: &mut File) -> Result<(), Stopped> {
        for day in &self.days {
            let mut after = None;
            loop {
                let rows = self.part(*day, after).await?;
                let last = rows.last().filter(|_| rows.len() == ROWS);
                after = last.map(|row| Mark {
                    address: row.address.0.ip(),
                    hour: row.hour,
                    source: row.source_id,
                });
                file.rows(&rows).await?;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Rows {
    async fn part(&self, day: Range, after: Option<Mark>) -> Result<Vec<Row>, Problem> {
        let mut query: QueryBuilder<'_, Postgres> = QueryBuilder::new(concat!(
            "SELECT seen.ip, seen.bucket AS hour, seen.first_seen, seen.last_seen,
                    seen.count AS communications, seen.ports, seen.local_ports,
                    seen.inbound_packets, seen.inbound_bytes, seen.outbound_packets,
                    seen.outbound_bytes, seen.source_id, ",
            source_columns!(),
            " FROM (SELECT * FROM botnet_communications WHERE family_id = ",
        ));
        query.push_bind(self.family);
        query.push(" AND bucket >= ").push_bind(day.from);
        query.push(" AND bucket < ").push_bind(day.to);
        if let Some(mark) = after {
            query.push(" AND (ip, bucket, source_id) > (");
            query.push_bind(IpNetwork::from(mark.address)).push(", ");
            query.push_bind(mark.hour).push(", ");
            query.push_bind(mark.source).push(")");
        }
        query.push(" ORDER BY ip, bucket, source_id LIMIT ");
        query.push_bind(ROWS as i64);
        query.push(concat!(
            ") seen ",
            join_source!(),
            "ORDER BY seen.ip, seen.bucket, seen.source_id",
        ));
        // Planned with its days, which decide the partition.
        let rows = query.build_query_as().persistent(false);
        Ok(rows.fetch_all(&self.database).await?)
    }
}
