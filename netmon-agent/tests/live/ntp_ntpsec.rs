//! NTPsec's ntpd as client and as a server that limits rates, and ntpq, which asks in mode 6.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use netmon_lab::{chrony, ntplib, ntpsec, wait_until};
use serde_json::{Value, json};

use crate::ntp_cable::{Cable, HERE, HERE_6, THERE, THERE_6, address, count_by, each_once, has};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOPBACK: &str = "127.0.0.1";
/// An orphan (ntp.conf(5)) serves its own clock at this stratum, at once.
const SERVER: &str = "disable ntp\ntos orphan 5 orphanwait 1\nrestrict 127.0.0.1\n";

#[test]
fn every_exchange_of_ntpsec_is_stored_once() -> Result<()> {
    let mut cable = Cable::lay()?;
    let server = chrony::Server::start(cable.here(), &cable.site.path("server-c"), 123, 3)?;
    let servers = [HERE[0], HERE_6[0]];
    let mut settings = "disable ntp\nrestrict 127.0.0.1\n".to_owned();
    for server in servers {
        settings += &format!("server {server} minpoll 0 maxpoll 0\n");
    }
    let ntpd = ntpsec::Ntpd::start(&cable.there, &cable.site.path("client-n"), &settings)?;
    // Both ports are 123, and an association's number is its place in the configuration.
    let counted = |name: &str| -> Result<[u64; 2]> {
        let mut counts = [0; 2];
        for (count, number) in counts.iter_mut().zip(1..) {
            let question = format!("rv &{number} {name}");
            // The loopback is not watched.
            let questions = ["as", question.as_str()];
            let said = ntpsec::ntpq(&cable.there, address(LOOPBACK), &questions)?;
            *count = ntpsec::number(&said, name)?;
        }
        Ok(counts)
    };
    wait_until(PATIENCE, "answers from both servers", || {
        let received = counted("received").ok()?;
        (received.iter().min()? >= &5).then_some(())
    })?;
    let sent_before = counted("sent")?;
    drop(ntpd);
    let served = server.daemon().served()?.received;
    cable.cut()?;

    let rows = cable.exchanges("")?;
    assert_eq!(rows.len() as u64, served, "as many as the server answered");
    each_once(&rows)?;
    for (server, sent) in servers.into_iter().zip(sent_before) {
        let rows = cable.exchanges(&format!("server={server}"))?;
        // One more may have left since it was asked.
        let fits = (sent..=sent + 2).contains(&(rows.len() as u64));
        ensure!(fits, "{} rows, {sent} sent", rows.len());
    }
    for row in &rows {
        has(
            row,
            &[
                ("match", json!("basic")),
                ("client_port", json!(123)),
                ("server_port", json!(123)),
                ("request_version", json!(4)),
                ("version", json!(4)),
                ("mode", json!(4)),
                ("leap", json!(0)),
                ("stratum", json!(3)),
                ("reference_id", json!("7f7f0101")),
                ("vantage", json!("server")),
                ("nts", json!(false)),
                ("request_mac_length", json!(0)),
            ],
        )?;
        ensure!(row["offset_ns"].is_i64(), "{row}");
    }
    Ok(())
}

#[test]
fn answers_of_a_server_that_limits_rates_are_kisses_without_times() -> Result<()> {
    let mut cable = Cable::lay()?;
    let limits = "limit average 1 burst 4 kod 1\nrestrict default nomodify limited kod\n";
    let server = start_server(&cable, limits)?;
    let here = address(HERE[0]);
    let answers = ntplib::ask(&cable.there, here, &[4; 12], 0.3)?;
    let said = ntpsec::ntpq(cable.here(), address(LOOPBACK), &["sysstats"])?;
    let [limited, kissed] =
        ["rate limited", "KoD responses"].map(|name| ntpsec::number(&said, name));
    let (limited, kissed) = (limited?, kissed?);
    ensure!(kissed > 0 && limited > kissed, "{said}");
    drop(server);
    // The client gives a request up before the agent does.
    let unanswered = answers.iter().filter(|answer| answer.is_none()).count();
    wait_until(PATIENCE, "the time-out of requests", || {
        let rows = cable.exchanges("match=unanswered").ok()?;
        (rows.len() >= unanswered).then_some(())
    })?;
    cable.cut()?;

    let rows = cable.exchanges("")?;
    assert_eq!(rows.len(), answers.len());
    each_once(&rows)?;
    let expected = [
        ("basic".to_owned(), answers.len() - unanswered),
        ("unanswered".to_owned(), unanswered),
    ];
    assert_eq!(count_by(&rows, "match"), BTreeMap::from(expected));
    assert_eq!(unanswered as u64, limited - kissed);
    let kisses = rows.iter().filter(|row| row["kiss_code"] == "RATE");
    assert_eq!(kisses.clone().count() as u64, kissed);
    for kiss in kisses {
        has(
            kiss,
            &[("stratum", json!(0)), ("null_reason", json!("kod"))],
        )?;
        for time in [
            "offset_ns",
            "server_processing_ns",
            "network_delay_ns",
            "client_to_server_ns",
            "offset_error_ns",
            "client_offset_ns",
            "client_delay_ns",
            "server_to_sensor_ns",
        ] {
            has(kiss, &[(time, Value::Null)])?;
        }
        ensure!(kiss["response_time_ns"].as_i64() > Some(0), "{kiss}");
    }
    for (row, answer) in rows.iter().zip(&answers) {
        let of_client = answer.map(|answer| answer.reference_id);
        let of_sensor = row["reference_id"].as_str();
        let same = of_client.map(|id| format!("{id:08x}"));
        ensure!(of_sensor == same.as_deref(), "{row} {answer:?}");
        if row["match"] == "basic" && row["kiss_code"].is_null() {
            has(row, &[("stratum", json!(5)), ("leap", json!(0))])?;
            ensure!(row["offset_ns"].is_i64(), "{row}");
        }
    }
    let clients = cable.listed("/api/v1/ntp/clients?limit=1000")?;
    has(
        clients.first().context("no client")?,
        &[
            ("client", json!(THERE)),
            ("session_count", json!(answers.len())),
            ("answered_count", json!(answers.len() - unanswered)),
            ("kiss_count", json!(kissed)),
            ("last_kiss", json!("RATE")),
        ],
    )
}

#[test]
fn questions_of_ntpq_are_stored_with_their_whole_answers() -> Result<()> {
    let mut cable = Cable::lay()?;
    let allowed = format!("restrict default nomodify\nrestrict {THERE_6}\n");
    let server = start_server(&cable, &allowed)?;
    let here = address(HERE_6[0]);
    let asked = |questions: &[&str]| ntpsec::ntpq(&cable.there, here, questions);
    let before = ntpsec::number(&asked(&["sysstats"])?, "control requests")?;
    let variables = asked(&["rv"])?;
    ensure!(variables.contains("stratum=5"), "{variables}");
    asked(&["mrulist"])?;
    asked(&["rv 0 no_such_variable"])?;
    let after = ntpsec::number(&asked(&["sysstats"])?, "control requests")?;
    drop(server);
    cable.cut()?;

    let rows = cable.controls()?;
    ensure!(after > before + 4, "{before} {after}");
    // Statistics are two requests, of which the first asks for this number, itself included.
    assert_eq!(rows.len() as u64, after - before + 2, "{rows:?}");
    let mut errors = Vec::new();
    for row in &rows {
        has(
            row,
            &[
                ("mode", json!(6)),
                ("version", json!(2)),
                ("client", json!(THERE_6)),
                ("server", json!(HERE_6[0])),
                ("request_packets", json!(1)),
                ("complete", json!(true)),
            ],
        )?;
        ensure!(row["response_octets"].as_i64() > Some(0), "{row}");
        errors.extend(row["error"].as_i64());
    }
    // RFC 9327, section 3.2: unknown variable name.
    assert_eq!(errors, [5], "{rows:?}");
    // Read variables, read the list of recent clients, ask for a nonce for that.
    let opcodes = count_by(&rows, "opcode");
    for opcode in ["2", "10", "12"] {
        ensure!(opcodes.contains_key(opcode), "{opcodes:?}");
    }
    let octets = |row: &Value, field: &str| row[field].as_i64().unwrap_or(0);
    let several = rows.iter().any(|row| octets(row, "response_packets") > 1);
    ensure!(several, "an answer in several packets: {rows:?}");
    let amplified = rows
        .iter()
        .any(|row| octets(row, "response_octets") > 10 * octets(row, "request_octets"));
    ensure!(amplified, "an answer of ten times its question: {rows:?}");
    assert_eq!(cable.exchanges("")?.len(), 0);
    Ok(())
}

/// A server that has a time to give.
fn start_server(cable: &Cable, settings: &str) -> Result<ntpsec::Ntpd> {
    let directory = cable.site.path("server-n");
    let server = ntpsec::Ntpd::start(cable.here(), &directory, &format!("{SERVER}{settings}"))?;
    wait_until(PATIENCE, "ntpd to serve its own clock", || {
        // The loopback is not watched.
        let said = ntpsec::ntpq(cable.here(), address(LOOPBACK), &["rv 0 stratum"]).ok()?;
        (ntpsec::number(&said, "stratum").ok()? == 5).then_some(())
    })?;
    Ok(server)
}
