//! ntplib in all versions that it has: what it read from the answers is what is stored.

use anyhow::{Context as _, Result, ensure};
use netmon_lab::{chrony, ntplib};
use serde_json::{Value, json};

use crate::ntp_cable::{Cable, HERE, HERE_6, THERE, THERE_6, address, each_once, has};

const VERSIONS: [u8; 4] = [1, 2, 3, 4];
/// What a time as a floating-point number of seconds since 1900 may be wrong by.
const RESOLUTION_S: f64 = 1e-6;

#[test]
fn ntplib_is_stored_in_each_version_as_it_read_the_answers_itself() -> Result<()> {
    let mut cable = Cable::lay()?;
    let _server = chrony::Server::start(cable.here(), &cable.site.path("server-c"), 123, 3)?;
    let mut answers = Vec::new();
    for (client, server) in [(THERE, HERE[0]), (THERE_6, HERE_6[0])] {
        let got = ntplib::ask(&cable.there, address(server), &VERSIONS, 2.0)?;
        answers.push((client, server, got));
    }
    cable.cut()?;

    let all = cable.exchanges("")?;
    assert_eq!(all.len(), 2 * VERSIONS.len());
    each_once(&all)?;
    for (client, server, answers) in answers {
        for (version, answer) in VERSIONS.into_iter().zip(answers) {
            let answer = answer.with_context(|| format!("no answer in version {version}"))?;
            let rows = cable.exchanges(&format!("server={server}&version={version}"))?;
            let [row] = &rows[..] else {
                anyhow::bail!("{} rows of version {version}", rows.len());
            };
            assert_eq!(answer.version, version);
            has(
                row,
                &[
                    ("match", json!("basic")),
                    ("client", json!(client)),
                    ("request_version", json!(version)),
                    ("version", json!(version)),
                    ("mode", json!(answer.mode)),
                    ("leap", json!(answer.leap)),
                    ("stratum", json!(answer.stratum)),
                    ("poll", json!(answer.poll)),
                    ("precision", json!(answer.precision)),
                    (
                        "reference_id",
                        json!(format!("{:08x}", answer.reference_id)),
                    ),
                    ("vantage", json!("server")),
                    ("request_length", json!(48)),
                    ("response_length", json!(48)),
                ],
            )?;
            ensure!(row["offset_ns"].is_i64(), "{row}");
            for (field, read) in [
                ("request_transmit_timestamp", answer.origin_s),
                ("origin_timestamp", answer.origin_s),
                ("receive_timestamp", answer.receive_s),
                ("transmit_timestamp", answer.transmit_s),
            ] {
                let stored = seconds(&row[field])?;
                ensure!((stored - read).abs() <= RESOLUTION_S, "{field}: {row}");
            }
            // ntplib sends its clock as it is, and both ends have the same one.
            let way = row["client_to_server_ns"].as_i64();
            let is_likely = way.is_none_or(|way| way.abs() < 100_000_000);
            ensure!(is_likely, "{row}");
        }
    }
    Ok(())
}

/// A raw timestamp as REST shows it, in seconds since 1900.
fn seconds(shown: &Value) -> Result<f64> {
    let digits = shown.as_str().context("no timestamp")?;
    Ok(u64::from_str_radix(digits, 16)? as f64 / 2_f64.powi(32))
}
