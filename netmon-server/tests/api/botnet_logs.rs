//! Logs in: every line is accounted for, whatever it is and however it comes.

use std::{io::Write as _, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339, macros::offset};
use tokio::sync::mpsc;

use crate::{
    cluster::Cluster,
    server::{Answer, Server, migrated},
};

pub const LOGS: &str = "/api/v1/botnets/mozi/logs";

/// Lines of a chunk.
const CHUNK: u64 = 16_384;

impl Server {
    pub async fn upload(
        &self,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.body(body.into()).unwrap()).await
    }

    /// The report of a log that is received to its end.
    pub async fn report(
        &self,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Value {
        let answer = self.upload(uri, headers, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}: {}", answer.text());
        let report = answer.json();
        let sum =
            ["accepted", "duplicate", "rejected", "skipped"].map(|figure| number(&report, figure));
        assert_eq!(
            sum.iter().sum::<u64>(),
            number(&report, "lines"),
            "{report}"
        );
        report
    }

    async fn count(&self, sql: &str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.database)
            .await
            .unwrap()
    }

    /// Nodes, sightings by nodes, sightings by communications, sightings by statistics.
    async fn books(&self) -> [i64; 4] {
        let mut books = [0; 4];
        for (sum, sql) in books.iter_mut().zip([
            "SELECT count(*) FROM botnet_nodes",
            "SELECT coalesce(sum(communications), 0)::bigint FROM botnet_nodes",
            "SELECT coalesce(sum(count), 0)::bigint FROM botnet_communications",
            "SELECT coalesce(sum(c), 0)::bigint FROM (
                 SELECT communications AS c FROM botnet_statistics
                 UNION ALL SELECT unnest(communications) FROM botnet_deltas) AS counters",
        ]) {
            *sum = self.count(sql).await;
        }
        books
    }
}

fn number(report: &Value, figure: &str) -> u64 {
    report[figure]
        .as_u64()
        .unwrap_or_else(|| panic!("{figure} in {report}"))
}

fn code(answer: &Answer, status: StatusCode) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    answer.json()["code"].as_str().unwrap().to_owned()
}

/// A whole second an hour ago.
fn hour_ago() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc() - time::Duration::HOUR;
    now.replace_nanosecond(0).unwrap()
}

/// `2026-11-20 10:00:00`.
fn plain(at: OffsetDateTime) -> String {
    let text = at.format(&Rfc3339).unwrap();
    text[..19].replace('T', " ")
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// As many lines with addresses of their own.
pub fn lines(count: u32) -> Vec<u8> {
    let at = hour_ago().format(&Rfc3339).unwrap();
    let mut log = Vec::new();
    for n in 0..count {
        let address = std::net::Ipv4Addr::from(0x2405_0000 + n);
        writeln!(log, "{at},{address},{}", n % 60_000 + 1).unwrap();
    }
    log
}

#[tokio::test]
async fn a_log_of_every_format_is_stored() {
    let server = Server::start().await;
    let at = hour_ago();
    let (iso, text, seconds) = (at.format(&Rfc3339).unwrap(), plain(at), at.unix_timestamp());
    let logs = [
        ("ip", "36.5.0.1".to_owned()),
        ("ip_port", "36.5.0.2:4000".to_owned()),
        ("time_ip", format!("{text} 36.5.0.3")),
        ("csv", format!("{iso},36.5.0.4,4000,mozi")),
        (
            "ndjson",
            format!(
                r#"{{"source.ip": "36.5.0.5", "time.source": "{iso}", "malware.name": "Mozi"}}"#
            ),
        ),
        (
            "ndjson",
            format!(
                r#"{{"eventid": "cowrie.session.connect", "src_ip": "36.5.0.6", "src_port": 5, "timestamp": "{iso}"}}"#
            ),
        ),
        (
            "shadowserver",
            format!(
                "\"timestamp\",\"src_ip\",\"src_port\",\"infection\"\n\"{text}\",\"36.5.0.7\",\"80\",\"mozi\""
            ),
        ),
        (
            "abuse_ch",
            format!(
                "# \"first_seen_utc\",\"ioc_id\",\"ioc_value\",\"malware_printable\"\n\"{text}\", \"1\", \"36.5.0.8:80\", \"Mozi\""
            ),
        ),
        (
            "dataplane",
            format!("4134  |  CHINANET  |  36.5.0.9  |  {text}  |  sshclient"),
        ),
        (
            "maltrail",
            format!(
                "\"{text}.000000\" sensor 36.5.0.10 1 10.0.0.1 23 TCP IP 36.5.0.10 \"mozi (malware)\" (static)"
            ),
        ),
        (
            "cef",
            format!("CEF:0|a|b|1|7|c|5|src=36.5.0.11 spt=5 end={seconds}000"),
        ),
    ];
    for (format, log) in &logs {
        for format in [format, "auto"] {
            let uri = format!("{LOGS}?format={format}");
            let report = server.report(&uri, &[], log.clone()).await;
            assert_eq!(number(&report, "accepted"), 1, "{log}: {report}");
        }
    }
    let expected = logs.len() as i64;
    assert_eq!(
        server.books().await,
        [expected, 2 * expected, 2 * expected, 2 * expected]
    );
    let timed = "SELECT count(*) FROM botnet_nodes WHERE last_seen < now() - interval '50 minutes'";
    assert_eq!(
        server.count(timed).await,
        expected - 2,
        "all but two say when"
    );
}

#[tokio::test]
async fn the_report_accounts_for_every_line() {
    let server = Server::start().await;
    let at = hour_ago().format(&Rfc3339).unwrap();
    let log = format!(
        "# a comment\n{at},36.5.0.1,80\n{at},36.5.0.1,80\r\n\n{at},239.255.255.250,1900\n{at},36.5.0.1,81\n\
         {at},36.5.0.2,80,mirai\nnonsense\n2001-01-01T00:00:00Z,36.5.0.3,80\n36.5.0.4\n36.5.0.4\n\
         {{\"src_ip\": \"36.5.0.5\"}}\n\x00\n{at},36.5.0.6,80"
    );
    let headers = [("idempotency-key", "the-report")];
    let report = server
        .report(&format!("{LOGS}?source=test"), &headers, log)
        .await;
    let expected = json!({
        "upload": "the-report",
        "family": "mozi",
        "lines": 14,
        "accepted": 5,
        "duplicate": 2,
        "rejected": 5,
        "skipped": 2,
        "already_stored": 0,
        "reasons": {"multicast": 1, "other_family": 1, "bad_address": 1, "too_old": 1, "nul": 1},
        "rejections": [
            {"line": 5, "code": "multicast", "reason": "an address of a group"},
            {"line": 7, "code": "other_family", "reason": "the line names another family"},
            {"line": 8, "code": "bad_address", "reason": "not an IPv4 or IPv6 address"},
            {
                "line": 9,
                "code": "too_old",
                "reason": "the time lies before those of which communications are kept",
            },
            {
                "line": 13,
                "code": "nul",
                "reason": "the line holds NUL octets: a damaged file, or UTF-16 where UTF-8 is needed",
            },
        ],
        "rejections_omitted": 0,
    });
    assert_eq!(report, expected);
    assert_eq!(server.books().await, [4, 5, 5, 5]);
    let metrics = server.get("/metrics").await;
    for line in [
        "netmon_server_botnet_lines_total{result=\"accepted\"} 5",
        "netmon_server_botnet_lines_total{result=\"rejected\"} 5",
        "netmon_server_botnet_lines_rejected_total{cause=\"special_address\"} 1",
    ] {
        assert!(metrics.text().lines().any(|l| l == line), "{line}");
    }
}

#[tokio::test]
async fn a_log_sent_again_with_its_key_is_not_stored_twice() {
    let server = Server::start().await;
    let log = lines(40_000);
    let key = [("idempotency-key", "again")];
    let first = server.report(LOGS, &key, log.clone()).await;
    let books = server.books().await;
    assert_eq!(books, [40_000; 4]);
    let mut again = server.report(LOGS, &key, log.clone()).await;
    assert_eq!(number(&again, "already_stored"), 40_000);
    again["already_stored"] = json!(0);
    assert_eq!(again, first);
    assert_eq!(server.books().await, books);

    // The server's own key does as well.
    let unnamed = server.report(LOGS, &[], "36.9.0.1").await;
    let key = unnamed["upload"].as_str().unwrap();
    let again = server
        .report(LOGS, &[("idempotency-key", key)], "36.9.0.1")
        .await;
    assert_eq!(number(&again, "already_stored"), 1);

    // A part of the log is another log, also where it ends with a chunk.
    let part = server
        .upload(LOGS, &[("idempotency-key", "again")], lines(CHUNK as u32))
        .await;
    assert_eq!(code(&part, StatusCode::CONFLICT), "key_used");

    // Another family's keys are its own.
    let other = "/api/v1/botnets/moobot/logs";
    let report = server
        .report(other, &[("idempotency-key", "again")], "36.9.0.1")
        .await;
    assert_eq!(number(&report, "already_stored"), 0);
}

#[tokio::test]
async fn a_key_is_for_one_log_read_in_one_way() {
    let server = Server::start().await;
    let key = [("idempotency-key", "once")];
    server.report(LOGS, &key, "36.5.0.1\n").await;
    let other = server.upload(LOGS, &key, "36.5.0.2\n").await;
    assert_eq!(code(&other, StatusCode::CONFLICT), "key_used");
    let otherwise = server
        .upload(&format!("{LOGS}?zone=%2B08:00"), &key, "36.5.0.1\n")
        .await;
    assert_eq!(code(&otherwise, StatusCode::CONFLICT), "key_used");
    // Nor does a longer one take the place of what was stored.
    let longer = server.upload(LOGS, &key, "36.5.0.1\n36.5.0.2\n").await;
    assert_eq!(code(&longer, StatusCode::CONFLICT), "key_used");
    assert_eq!(server.books().await, [1; 4]);
}

#[tokio::test]
async fn compressed_logs_are_read() {
    let server = Server::start().await;
    let log = lines(20_000);
    let zstd = zstd::encode_all(&log[..], 1).unwrap();
    for (octets, stated) in [
        (gzip(&log), Some("gzip")),
        (gzip(&log), None),
        (zstd.clone(), Some("zstd")),
        (zstd, None),
    ] {
        let headers: Vec<_> = stated
            .map(|name| ("content-encoding", name))
            .into_iter()
            .collect();
        let report = server.report(LOGS, &headers, octets).await;
        assert_eq!(number(&report, "accepted"), 20_000);
    }
    assert_eq!(server.books().await, [20_000, 80_000, 80_000, 80_000]);
    let unknown = server
        .upload(LOGS, &[("content-encoding", "br")], "x")
        .await;
    assert_eq!(
        code(&unknown, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        "unknown_encoding"
    );
}

#[tokio::test]
async fn a_log_that_breaks_off_says_what_is_stored_and_can_be_sent_again() {
    let server = Server::start().await;
    let log = lines(40_000);
    let octets = gzip(&log);
    let broken = octets[..octets.len() - 1000].to_vec();
    let headers = [("content-encoding", "gzip")];
    let answer = server.upload(LOGS, &headers, broken).await;
    assert_eq!(code(&answer, StatusCode::BAD_REQUEST), "broken_upload");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    let stored = 2 * CHUNK;
    assert!(
        detail.contains(&format!("first {stored} lines are stored")),
        "{detail}"
    );
    assert_eq!(server.books().await, [stored as i64; 4]);
    let key = detail.split("Idempotency-Key: ").nth(1).unwrap();
    let key = key.split(' ').next().unwrap();
    let headers = [("content-encoding", "gzip"), ("idempotency-key", key)];
    let report = server.report(LOGS, &headers, octets).await;
    assert_eq!(number(&report, "already_stored"), stored);
    assert_eq!(server.books().await, [40_000; 4]);

    let pieces = [
        Ok(Bytes::from(lines(10))),
        Err(std::io::Error::other("the connection is gone")),
    ];
    let answer = server
        .upload(LOGS, &[], Body::from_stream(stream::iter(pieces)))
        .await;
    assert_eq!(code(&answer, StatusCode::BAD_REQUEST), "broken_upload");
    assert_eq!(server.books().await, [40_000; 4]);
}

#[tokio::test]
async fn lines_are_of_the_family_by_its_name_or_an_alias() {
    let server = Server::start().await;
    let log = "time,ip,family\n,36.5.0.1,andromeda\n,36.5.0.2,Gamarue\n,36.5.0.3,wauchos\n,36.5.0.4,mozi\n,36.5.0.5,\n";
    for name in ["andromeda", "gamarue", "WAUCHOS"] {
        let report = server
            .report(&format!("/api/v1/botnets/{name}/logs"), &[], log)
            .await;
        assert_eq!(report["family"], "andromeda");
        assert_eq!(
            (number(&report, "accepted"), number(&report, "skipped")),
            (4, 1)
        );
        assert_eq!(report["reasons"], json!({"other_family": 1}));
    }
}

#[tokio::test]
async fn zone_and_special_addresses_are_as_stated() {
    let server = Server::start().await;
    let at = hour_ago();
    let local = at.to_offset(offset!(+8));
    let log = format!(
        "{},36.5.0.1,80\n{},10.0.0.1,80\n",
        plain(local),
        plain(local)
    );
    let uri = format!("{LOGS}?zone=%2B08:00&special=accept&source=sinkhole%201");
    let report = server.report(&uri, &[], log).await;
    assert_eq!(number(&report, "accepted"), 2);
    let seen: Vec<OffsetDateTime> = sqlx::query_scalar("SELECT last_seen FROM botnet_nodes")
        .fetch_all(&server.database)
        .await
        .unwrap();
    assert!(
        seen.iter().all(|seen| seen.to_offset(UtcOffset::UTC) == at),
        "{seen:?}"
    );
    let named = "SELECT count(*) FROM botnet_sources WHERE kind = 'log' AND name = 'sinkhole 1'";
    assert_eq!(server.count(named).await, 1);
}

#[tokio::test]
async fn what_cannot_be_an_upload_is_said_before_anything_is_stored() {
    let server = Server::start().await;
    for (uri, headers, status, expected) in [
        (
            "/api/v1/botnets/nobody/logs",
            &[][..],
            StatusCode::NOT_FOUND,
            "unknown_family",
        ),
        (
            &*format!("{LOGS}?format=xml"),
            &[],
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
        ),
        (
            &format!("{LOGS}?zone=CST"),
            &[],
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
        ),
        (
            &format!("{LOGS}?special=1"),
            &[],
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
        ),
        (
            &format!("{LOGS}?source="),
            &[],
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
        ),
        (
            &format!("{LOGS}?fromat=ip"),
            &[],
            StatusCode::BAD_REQUEST,
            "invalid_query",
        ),
        (
            LOGS,
            &[("idempotency-key", "a b")],
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
        ),
        (
            LOGS,
            &[
                ("host", "127.0.0.1:8080"),
                ("origin", "https://elsewhere.example"),
            ],
            StatusCode::FORBIDDEN,
            "foreign_origin",
        ),
    ] {
        let answer = server.upload(uri, headers, "36.5.0.1").await;
        assert_eq!(code(&answer, status), expected, "{uri}");
    }
    assert_eq!(server.books().await, [0; 4]);
    assert_eq!(server.count("SELECT count(*) FROM botnet_uploads").await, 0);
}

#[tokio::test]
async fn an_empty_log_is_a_log() {
    let server = Server::start().await;
    for headers in [
        &[][..],
        &[("content-encoding", "gzip")],
        &[("content-encoding", "zstd")],
    ] {
        let report = server.report(LOGS, headers, "").await;
        assert_eq!(number(&report, "lines"), 0);
    }
}

/// Each source has a small log an hour, as far as the database knows.
#[tokio::test]
async fn a_feed_that_yields_nothing_is_warned_of_once() {
    let server = Server::start().await;
    let uri = format!("{LOGS}?source=sinkhole-1");
    for n in 0..5 {
        server.report(&uri, &[], format!("36.5.0.{n}\n")).await;
        server
            .sql("UPDATE botnet_feeds SET last_upload_at = last_upload_at - interval '1 hour'")
            .await;
    }
    let sources = "/api/v1/botnets/mozi/sources";
    let feed = server.json(sources).await["items"][0].clone();
    assert_eq!(
        (&feed["state"], &feed["uploads"]),
        (&json!("regular"), &json!(5))
    );
    assert_eq!(feed["source"], "sinkhole-1");
    let median = feed["median_interval_seconds"].as_i64().unwrap();
    assert!((3600..3700).contains(&median), "{feed}");

    let warnings = "netmon_server_botnet_feed_warnings_total{cause=\"empty\"} 1";
    for _ in 0..2 {
        server
            .report(&uri, &[], "# nothing today\n10.0.0.1\n")
            .await;
        assert_eq!(server.json(sources).await["items"][0]["state"], "empty");
        let metrics = server.get("/metrics").await;
        assert!(metrics.text().lines().any(|line| line == warnings));
    }
    server.report(&uri, &[], "36.5.0.9").await;
    assert_eq!(server.json(sources).await["items"][0]["state"], "regular");
    // Sent again, it is no other log.
    let key = [("idempotency-key", "k")];
    for _ in 0..2 {
        server.report(&uri, &key, "36.5.0.9").await;
        assert_eq!(server.json(sources).await["items"][0]["uploads"], 9);
    }

    // And one that stays away.
    let look = async |hours| {
        let now = OffsetDateTime::now_utc() + time::Duration::hours(hours);
        let feeds = &server.metrics.feeds;
        netmon_server::feeds::watch::look(&server.database, feeds, now)
            .await
            .unwrap();
        server.json(sources).await["items"][0]["state"].clone()
    };
    assert_eq!(look(1).await, "regular");
    assert_eq!(look(5).await, "late");
    assert_eq!(look(6).await, "late");
    let metrics = server.get("/metrics").await;
    for line in [
        "netmon_server_botnet_feed_warnings_total{cause=\"late\"} 1",
        "netmon_server_botnet_feeds{state=\"late\"} 1",
        "netmon_server_botnet_feeds{state=\"regular\"} 0",
    ] {
        assert!(metrics.text().lines().any(|l| l == line), "{line}");
    }
    server.report(&uri, &[], "36.5.0.9").await;
    assert_eq!(server.json(sources).await["items"][0]["state"], "regular");
}

#[tokio::test]
async fn a_log_is_stored_while_it_comes_and_goes_on_after_the_database_was_away() {
    let mut cluster = Cluster::start().await;
    migrated(&cluster, "logs").await;
    let server = Server::over(&cluster, "logs");
    let log = lines(3 * CHUNK as u32);
    let half = log.len() / 2;
    let (sender, pieces) = mpsc::channel::<Bytes>(1);
    let pieces = stream::unfold(pieces, async |mut pieces| {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    let body = Body::from_stream(pieces.map(Ok::<_, std::io::Error>));
    let headers = [("idempotency-key", "through")];
    let sending = async {
        sender
            .send(Bytes::copy_from_slice(&log[..half]))
            .await
            .unwrap();
        // Its first chunk is stored before the last octets are sent.
        while server.books().await[0] < CHUNK as i64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cluster.kill();
        sender
            .send(Bytes::copy_from_slice(&log[half..]))
            .await
            .unwrap();
        drop(sender);
    };
    let (answer, ()) = tokio::join!(server.upload(LOGS, &headers, body), sending);
    assert_eq!(
        code(&answer, StatusCode::SERVICE_UNAVAILABLE),
        "upload_interrupted"
    );
    assert!(!answer.header("retry-after").is_empty());
    cluster.restart().await;
    let report = server.report(LOGS, &headers, log).await;
    assert_eq!(number(&report, "already_stored"), CHUNK);
    assert_eq!(server.books().await, [3 * CHUNK as i64; 4]);
}
