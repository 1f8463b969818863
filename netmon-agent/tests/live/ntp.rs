//! Real chrony, seen from its own network card, against what chrony wrote down itself.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use netmon_lab::{
    DemoNet, Signal,
    demo::{DemoOptions, SERVER_SIDE},
    wait_until,
};
use nix::{sys::signal::kill, unistd::Pid};

use crate::site::{Site, open_folder};

#[test]
fn every_exchange_of_chrony_appears_once_and_agrees_with_its_own_log() -> Result<()> {
    let mut site = Site::with_server()?;
    site.start_agent(&["--exclude", SERVER_SIDE, "--exclude", "lo"])?;
    let folder = site.path("demo");
    open_folder(&folder)?;
    let options = DemoOptions {
        client_options: "minpoll -1 maxpoll -1 iburst".to_owned(),
        ..DemoOptions::default()
    };
    let demo = DemoNet::start(&site.namespace, &folder, &options)?;
    demo.client().wait_for(20, Duration::from_secs(60))?;
    // Frozen, so that log and database end with the same exchange.
    let measurements = stop_and_read(&demo)?;
    thread::sleep(Duration::from_secs(1));
    site.stop_agent()?;

    let exchanges = exchanges(&site)?;
    let doubled = site.sql_numbers(
        "select count(*) - count(distinct (client, client_port, request_transmit_timestamp)) \
         from ntp_exchanges",
    )?;
    assert_eq!(doubled, [0], "each exchange appears once");
    assert_eq!(
        exchanges.len(),
        measurements.len(),
        "{exchanges:?}\n{measurements:?}"
    );
    let mut offsets = differences(&exchanges, &measurements, |e| e.offset_s, |m| m.0);
    let mut delays = differences(&exchanges, &measurements, |e| e.delay_s, |m| m.1);
    let (offset, delay) = (median(&mut offsets), median(&mut delays));
    println!(
        "{} exchanges; median difference to chrony's log: offset {:.1} us, delay {:.1} us",
        exchanges.len(),
        offset * 1e6,
        delay * 1e6
    );
    assert!(offset <= 50e-6, "median difference of offsets: {offset} s");
    assert!(delay <= 150e-6, "median difference of delays: {delay} s");

    let clients = site.rest("/api/v1/ntp/clients")?;
    let client = &clients["items"][0];
    assert_eq!(client["client"], "198.18.0.2");
    assert_eq!(client["server"], "198.18.0.1");
    assert_eq!(client["session_count"], exchanges.len());
    let items = site.rest("/api/v1/ntp/exchanges?limit=1000&match=basic")?;
    assert_eq!(
        items["items"].as_array().context("a list")?.len(),
        exchanges.len()
    );
    Ok(())
}

#[derive(Debug)]
struct Exchange {
    offset_s: f64,
    delay_s: f64,
}

/// Offsets and delays in the order of the requests.
fn exchanges(site: &Site) -> Result<Vec<Exchange>> {
    let rows = site.sql(
        "select offset_ns, network_delay_ns from ntp_exchanges \
         where match = 'basic' order by requested_at_ns",
    )?;
    rows.lines()
        .map(|row| {
            let (offset, delay) = row.split_once('|').context("two columns")?;
            Ok(Exchange {
                offset_s: offset.parse::<f64>().with_context(|| row.to_owned())? / 1e9,
                delay_s: delay.parse::<f64>()? / 1e9,
            })
        })
        .collect()
}

/// Ends the client first, then reads its log: offset and delay of each exchange.
pub fn stop_and_read(demo: &DemoNet) -> Result<Vec<(f64, f64)>> {
    let client = Pid::from_raw(demo.client().id().try_into()?);
    kill(client, Signal::SIGTERM)?;
    wait_until(Duration::from_secs(10), "chrony to end", || {
        let stat = std::fs::read_to_string(format!("/proc/{client}/stat")).unwrap_or_default();
        // A zombie has written its last line.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })?;
    Ok(demo
        .client()
        .measurements()?
        .iter()
        .map(|m| (m.offset, m.delay))
        .collect())
}

fn differences(
    exchanges: &[Exchange],
    measurements: &[(f64, f64)],
    ours: impl Fn(&Exchange) -> f64,
    theirs: impl Fn(&(f64, f64)) -> f64,
) -> Vec<f64> {
    let pairs = exchanges.iter().zip(measurements);
    pairs.map(|(e, m)| (ours(e) - theirs(m)).abs()).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
