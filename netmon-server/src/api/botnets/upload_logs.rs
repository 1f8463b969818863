//! Logs at the path that earlier senders call: lines in JSON.

use std::{borrow::Cow, net::IpAddr};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, header},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    amounts::overview::local,
    family::FamilySegment,
    logs::{self, LogParameters},
};
use crate::{
    api::{
        Api,
        extract::{Parameters, Posted, Segments},
        problem::Problem,
    },
    feeds::Report,
};

/// Longest body, octets.
const MAX_BODY: usize = 4 << 20;

/// Lines of a family.
#[derive(Deserialize, ToSchema)]
#[schema(as = BotnetLogLines)]
pub struct Sent {
    /// The family, by name or alias.
    #[schema(example = "mozi")]
    botnet_type: String,
    /// A line each: `time,ip,event,…`, or whatever else logs may hold.
    logs: Vec<String>,
    /// Who saw it, unless `source` says so.
    source_ip: Option<String>,
}

/// What became of them.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetLogLinesReceived)]
pub struct Received {
    /// Always `success`: lines that were not accepted are in the report.
    status: &'static str,
    message: String,
    /// Lines that came.
    received_count: usize,
    /// The name of the upload.
    saved_to: String,
    /// When it was received (UTC).
    #[schema(example = "2026-11-20 08:00:00")]
    timestamp: String,
    report: Report,
}

/// Stores lines that come in JSON, at most 4 MiB of it. The parameters are those of
/// `/api/v1/botnets/{family}/logs`, which takes any number of lines as they are.
#[utoipa::path(
    post,
    path = "/api/upload-logs",
    tag = "botnet amounts",
    operation_id = "upload_log_lines",
    params(LogParameters),
    request_body = Sent,
    responses((status = 200, description = "What became of the lines", body = Received))
)]
pub async fn upload(
    api: State<Api>,
    Parameters(mut parameters): Parameters<LogParameters>,
    mut headers: HeaderMap,
    Posted(sent): Posted<Sent, MAX_BODY>,
) -> Result<Json<Received>, Problem> {
    parameters.source = parameters.source.or(sent.source_ip);
    // Said of the JSON, not of the lines.
    headers.remove(header::CONTENT_ENCODING);
    let lines: String = sent
        .logs
        .iter()
        .map(|line| text_of(line).into_owned() + "\n")
        .collect();
    let family = Segments(FamilySegment {
        family: sent.botnet_type,
    });
    let body = Body::from(lines);
    let Json(report) = logs::upload(api, family, Parameters(parameters), headers, body).await?;
    Ok(Json(Received {
        status: "success",
        message: format!("{} of {} lines accepted", report.accepted, report.lines),
        received_count: sent.logs.len(),
        saved_to: report.upload.clone(),
        timestamp: local(OffsetDateTime::now_utc()),
        report,
    }))
}

/// A line without its end. An event stands where other logs have a port: it is moved behind the columns
/// that mean something.
fn text_of(line: &str) -> Cow<'_, str> {
    let line = line.trim_end_matches(['\r', '\n']);
    let mut columns = line.splitn(3, ',');
    let (Some(time), Some(address), Some(rest)) = (columns.next(), columns.next(), columns.next())
    else {
        return line.into();
    };
    let third = rest.split(',').next().unwrap_or_default().trim();
    let is_port = third.is_empty() || third.parse::<u32>().is_ok();
    let begins_with_time = time.trim().parse::<IpAddr>().is_err();
    match begins_with_time && !is_port && address.trim().parse::<IpAddr>().is_ok() {
        true => format!("{time},{address},,,{rest}").into(),
        false => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_moved_behind_the_columns_that_mean_something() {
        for (line, expected) in [
            (
                "2025-10-30 12:00:00,1.2.3.4,infection,bot_v1.0",
                "2025-10-30 12:00:00,1.2.3.4,,,infection,bot_v1.0",
            ),
            (
                "2025-10-30 12:01:00,1.2.3.5,beacon\n",
                "2025-10-30 12:01:00,1.2.3.5,,,beacon",
            ),
            (
                "2025-10-30 12:01:00,1.2.3.5,23\r\n",
                "2025-10-30 12:01:00,1.2.3.5,23",
            ),
            (
                "2025-10-30 12:01:00,1.2.3.5,,mozi",
                "2025-10-30 12:01:00,1.2.3.5,,mozi",
            ),
            (
                "1.2.3.5,2025-10-30 12:01:00,x",
                "1.2.3.5,2025-10-30 12:01:00,x",
            ),
            ("1.2.3.5:23", "1.2.3.5:23"),
            ("a,b,c,d", "a,b,c,d"),
            ("", ""),
        ] {
            assert_eq!(text_of(line), expected);
        }
    }
}
