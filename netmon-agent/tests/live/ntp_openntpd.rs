//! OpenNTPD, which asks and answers: every exchange is stored once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use netmon_lab::{chrony, ntplib, openntpd, wait_until};
use serde_json::{Value, json};

use crate::ntp_cable::{Cable, HERE, THERE, address, each_once, has};

const PATIENCE: Duration = Duration::from_secs(30);
/// It asks every five to nine seconds at first.
const ANSWERS: usize = 2;

#[test]
fn every_exchange_of_openntpd_is_stored_once_and_its_answers_say_that_it_has_no_time() -> Result<()>
{
    let mut cable = Cable::lay()?;
    let server = chrony::Server::start(cable.here(), &cable.site.path("server-c"), 123, 3)?;
    let servers = HERE.map(|here| format!("server {here}\n")).concat();
    let settings = format!("listen on {THERE}\n{servers}");
    let ntpd = openntpd::Ntpd::start(&cable.there, &cable.site.path("openntpd"), &settings)?;
    // It is not synchronised before it has measured for long, and says so.
    let answers = ntplib::ask(cable.here(), address(THERE), &[4, 3], 2.0)?;
    let replies = || {
        let all = HERE.map(|here| ntpd.replies(address(here)));
        all.into_iter().collect::<Result<Vec<_>>>()
    };
    wait_until(PATIENCE, "replies from all servers", || {
        let replies = replies().ok()?;
        replies.iter().all(|count| *count >= ANSWERS).then_some(())
    })
    .with_context(|| format!("{:?}", replies()))?;
    let replies_before = replies()?;
    let served = server.daemon().served()?.received;
    drop(ntpd);
    let served_after = server.daemon().served()?.received;
    cable.cut()?;

    let asked = cable.exchanges(&format!("client={THERE}"))?;
    ensure!(
        (served..=served_after).contains(&(asked.len() as u64)),
        "{} rows of {served} requests",
        asked.len()
    );
    each_once(&asked)?;
    for (here, replies) in HERE.into_iter().zip(replies_before) {
        let rows = cable.exchanges(&format!("client={THERE}&server={here}&match=basic"))?;
        ensure!(
            (replies..=replies + 1).contains(&rows.len()),
            "{} rows of {replies} replies of {here}",
            rows.len()
        );
        for row in &rows {
            has(
                row,
                &[
                    ("request_version", json!(4)),
                    ("version", json!(4)),
                    ("mode", json!(4)),
                    ("leap", json!(0)),
                    ("stratum", json!(3)),
                    ("vantage", json!("server")),
                    ("nts", json!(false)),
                ],
            )?;
            ensure!(row["offset_ns"].is_i64(), "{row}");
        }
    }

    let answered = cable.exchanges(&format!("server={THERE}"))?;
    assert_eq!(answered.len(), answers.len());
    for (row, answer) in answered.iter().zip(&answers) {
        let answer = answer.context("OpenNTPD does not answer")?;
        has(
            row,
            &[
                ("match", json!("basic")),
                ("version", json!(answer.version)),
                ("mode", json!(4)),
                ("leap", json!(3)),
                ("stratum", json!(answer.stratum)),
                ("kiss_code", Value::Null),
                ("null_reason", json!("server_unsynchronised")),
                ("offset_ns", Value::Null),
                ("server_processing_ns", Value::Null),
                ("vantage", json!("client")),
            ],
        )?;
        assert_eq!(answer.leap, 3);
    }
    Ok(())
}
