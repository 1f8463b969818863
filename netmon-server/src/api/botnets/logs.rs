//! Logs in: a body of any size, streamed, stored chunk by chunk.

mod body;
mod key;
mod origin;

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, header},
};
use netmon_feeds::{Special, parse_zone};
use serde::Deserialize;
use tokio::{sync::Semaphore, time::timeout};
use utoipa::{IntoParams, ToSchema};

use super::family::FamilySegment;
use crate::{
    api::{
        Api,
        extract::{Parameters, Segments},
        problem::Problem,
    },
    feeds::{Encoding, LogOptions, ReceiveError, Report, receive, watch},
};

/// Logs that are received at once. Each holds two chunks, what a decoder needs, and a thread that
/// reads.
const MAX_UPLOADS: usize = 16;

static UPLOADS: Semaphore = Semaphore::const_new(MAX_UPLOADS);

/// How long a request waits for another one to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A body of which nothing came for so long is given up.
const IDLE: Duration = Duration::from_secs(60);

/// Characters of a source's name.
const MAX_SOURCE: usize = 64;

/// Who sends it, if nobody says.
const UNNAMED: &str = "unnamed";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogParameters {
    /// The format of all lines; `auto`: each line's is recognised by itself.
    #[param(value_type = Option<LogFormat>, inline)]
    format: Option<String>,
    /// The zone of times that do not say theirs: `Z` (the default) or an offset such as `+08:00` (with
    /// `+` written `%2B`).
    #[param(example = "+08:00")]
    zone: Option<String>,
    /// Who saw what the log says, 1 to 64 characters; `unnamed` by default.
    #[param(example = "sinkhole-1")]
    pub(super) source: Option<String>,
    /// What becomes of private, multicast and other addresses that no node on the Internet can have:
    /// `refuse` (the default) or `accept`.
    #[param(value_type = Option<SpecialAddresses>, inline)]
    special: Option<String>,
}

/// Formats of logs.
#[derive(ToSchema)]
#[schema(as = BotnetLogFormat, rename_all = "snake_case")]
#[expect(dead_code, reason = "only described: netmon_feeds parses it")]
enum LogFormat {
    Auto,
    Ip,
    IpPort,
    TimeIp,
    Csv,
    Ndjson,
    Shadowserver,
    AbuseCh,
    Dataplane,
    Maltrail,
    Cef,
}

/// What becomes of special addresses.
#[derive(ToSchema)]
#[schema(as = BotnetSpecialAddresses, rename_all = "lowercase")]
#[expect(dead_code, reason = "only described")]
enum SpecialAddresses {
    Refuse,
    Accept,
}

/// Stores a log: every line is accepted, a duplicate, rejected or skipped, and one that cannot be read
/// hinders no other. The body may be of any size, and compressed with gzip or zstd.
///
/// With an `Idempotency-Key` (1 to 128 visible characters of ASCII) the same body can be sent again,
/// after whatever happened, and no line is stored twice.
#[utoipa::path(
    post,
    path = "/api/v1/botnets/{family}/logs",
    tag = "botnets",
    operation_id = "upload_botnet_log",
    params(
        FamilySegment,
        LogParameters,
        ("Idempotency-Key" = Option<String>, Header, description = "Names the upload"),
        ("Content-Encoding" = Option<String>, Header, description = "`gzip`, `zstd` or none"),
    ),
    request_body(content = String, description = "The lines", content_type = "text/plain"),
    responses((status = 200, description = "What became of the lines", body = Report))
)]
pub async fn upload(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Parameters(parameters): Parameters<LogParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Report>, Problem> {
    origin::check(&headers)?;
    let (options, source) = parameters.parse()?;
    let key = key::of(&headers)?;
    let encoding = encoding(&headers)?;
    let found = api.botnets.family(&family).await?;
    let family = found.ok_or(Problem::UnknownFamily(family))?;
    let place = timeout(PATIENCE, UPLOADS.acquire()).await;
    let _place = place.map_err(|_| Problem::TooManyUploads(MAX_UPLOADS))?;

    let upload = api
        .botnets
        .begin_upload(&family, key.as_deref(), &source, &options.to_text())
        .await?;
    let mut report = Report::new(&upload.key, &family.name);
    let body = body::blocking(body, IDLE);
    let geo = api.geo.current();
    let received = receive(
        &api.botnets,
        geo,
        &family,
        &upload,
        options,
        (body, encoding),
        report.collect(),
    )
    .await;
    if let Err(error) = received {
        return Err(problem(error, &report));
    }
    if !upload.finished {
        let feeds = &api.metrics.feeds;
        let noted = watch::finished(api.botnets.pool(), feeds, &upload, report.accepted).await;
        if let Err(error) = noted {
            // The lines are stored, and that is what was asked for.
            tracing::warn!(%error, "the end of an upload is not noted for the watching of feeds");
        }
    }
    Ok(Json(report))
}

impl LogParameters {
    fn parse(self) -> Result<(LogOptions, String), Problem> {
        let mut options = LogOptions::default();
        if let Some(format) = self.format {
            let parsed = format.parse();
            options.format = parsed.map_err(|error: netmon_feeds::UnknownFormat| {
                Problem::parameter("format", error.to_string())
            })?;
        }
        if let Some(zone) = self.zone {
            // In a query + stands for a space.
            let zone = zone.replace(' ', "+");
            options.zone = parse_zone(&zone).map_err(|error| Problem::parameter("zone", error))?;
        }
        options.special = match self.special.as_deref() {
            None | Some("refuse") => Special::Refuse,
            Some("accept") => Special::Accept,
            Some(_) => return Err(Problem::parameter("special", "it must be refuse or accept")),
        };
        let source = self.source.unwrap_or_else(|| UNNAMED.to_owned());
        let fits = (1..=MAX_SOURCE).contains(&source.len());
        if !fits || source.chars().any(char::is_control) || source.trim() != source {
            let reason = "it must be 1 to 64 octets of text, without spaces around it";
            return Err(Problem::parameter("source", reason));
        }
        Ok((options, source))
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut stated = headers.get_all(header::CONTENT_ENCODING).iter();
    let (Some(name), None) = (stated.next(), stated.next()) else {
        return match headers.contains_key(header::CONTENT_ENCODING) {
            true => Err(Problem::UnknownEncoding("more than one".to_owned())),
            false => Ok(Encoding::AsItBegins),
        };
    };
    let name = String::from_utf8_lossy(name.as_bytes());
    name.parse()
        .map_err(|_| Problem::UnknownEncoding(name.chars().take(64).collect()))
}

/// What the sender is told when not everything was received: how far it came, and how to go on.
fn problem(error: ReceiveError, report: &Report) -> Problem {
    let (stored, key) = (report.lines, report.upload.clone());
    match error {
        ReceiveError::Source(error) if body::is_idle(&error) => Problem::UploadTimeout {
            seconds: IDLE.as_secs(),
            stored,
            key,
        },
        ReceiveError::Source(error) => {
            // Texts of the decoders and of hyper: short, about the sender's octets.
            let reason = error.to_string();
            Problem::BrokenUpload {
                reason,
                stored,
                key,
            }
        }
        error if error.is_transient() => {
            tracing::warn!(%error, "an upload is interrupted");
            Problem::UploadInterrupted { stored, key }
        }
        ReceiveError::Store(error) => error.into(),
        error @ ReceiveError::OtherOptions(_) => Problem::KeyUsed(error.to_string()),
        ReceiveError::Reader(error) => {
            tracing::error!(%error, "the reading of a log failed");
            Problem::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use netmon_feeds::Format;
    use time::macros::offset;

    use super::*;

    fn parse(query: &str) -> Result<(LogOptions, String), Problem> {
        let uri = format!("http://x/?{query}").parse().unwrap();
        let axum::extract::Query(parameters) =
            axum::extract::Query::<LogParameters>::try_from_uri(&uri).unwrap();
        parameters.parse()
    }

    #[test]
    fn parameters_say_how_a_log_is_read() {
        let (options, source) = parse("").unwrap();
        assert_eq!(
            (options, source.as_str()),
            (LogOptions::default(), "unnamed")
        );
        for zone in ["%2B08:00", "+08:00"] {
            let query = format!("format=csv&zone={zone}&source=Sinkhole%201&special=accept");
            let (options, source) = parse(&query).unwrap();
            assert_eq!(options.format, Format::Csv);
            assert_eq!(options.zone, offset!(+8));
            assert_eq!(options.special, Special::Accept);
            assert_eq!(source, "Sinkhole 1");
        }
        for wrong in [
            "format=xml",
            "zone=CST",
            "special=maybe",
            "source=",
            "source=%20x",
            "source=a%0Ab",
            &format!("source={}", "x".repeat(65)),
        ] {
            assert!(
                matches!(parse(wrong), Err(Problem::InvalidParameter { .. })),
                "{wrong}"
            );
        }
    }

    #[test]
    fn every_format_is_described() {
        let described: Vec<_> = [
            "auto",
            "ip",
            "ip_port",
            "time_ip",
            "csv",
            "ndjson",
            "shadowserver",
        ]
        .into_iter()
        .chain(["abuse_ch", "dataplane", "maltrail", "cef"])
        .collect();
        assert_eq!(Format::ALL.map(Format::name).to_vec(), described);
    }

    #[test]
    fn encodings_that_are_not_known_are_refused() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            encoding(&headers).ok()
        };
        assert_eq!(of(&[]), Some(Encoding::AsItBegins));
        assert_eq!(of(&["gzip"]), Some(Encoding::Gzip));
        assert_eq!(of(&["br"]), None);
        assert_eq!(of(&["gzip", "zstd"]), None);
    }
}
