//! One exchange of real chrony seen at the client, on the way and at the server, by three agents:
//! what each sees is what its place dictates, and together they tell both directions apart.

mod observer;

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use netmon_lab::{
    DemoNet,
    demo::{CLIENT_SIDE, DemoOptions},
};
use serde_json::Value;

use self::observer::{Observer, connect};
use crate::{
    ntp::stop_and_read,
    site::{Site, open_folder},
};

/// Exchanges that all three see.
const EXCHANGES: usize = 30;

/// What the cable takes, milliseconds.
const FORWARD_MS: f64 = 3.0;
const BACKWARD_MS: f64 = 7.0;

/// The exchange with the least delay is right within this, milliseconds.
const NOISE_MS: f64 = 0.2;
/// Medians are, on a machine that is busy with other things: the relay sleeps until a packet is due,
/// and wakes up later. Less than what tells the two directions apart.
const NOISE_OF_MEDIANS_MS: f64 = 1.0;

/// Of a joined exchange.
const ROUND_TRIP: &str = "/whole/round_trip_ns";

const OF_THE_PATH: &str = "client=198.18.0.2&server=198.18.0.1&limit=1000";

#[test]
fn three_agents_on_the_way_of_an_exchange_tell_its_directions_apart() -> Result<()> {
    let site = Site::with_server()?;
    let folder = site.path("demo");
    open_folder(&folder)?;
    let demo = DemoNet::start(&site.namespace, &folder, &DemoOptions::default())?;
    let at_client = connect(&site.namespace, demo.client_namespace(), 1)?;
    let at_server = connect(&site.namespace, demo.server_namespace(), 2)?;
    let observers = [
        Observer::start(&site, "client", demo.client_namespace(), &at_client, "eth0")?,
        Observer::start(&site, "middle", &site.namespace, "127.0.0.1", CLIENT_SIDE)?,
        Observer::start(&site, "server", demo.server_namespace(), &at_server, "eth0")?,
    ];
    for observer in &observers {
        observer.wait_for_exchanges(&site, 1)?;
    }
    let known = demo.client().measurements()?.len();
    demo.client()
        .wait_for(known + EXCHANGES, Duration::from_secs(120))?;
    // Frozen, so that log and database end with the same exchange.
    let log = stop_and_read(&demo)?;
    thread::sleep(Duration::from_secs(1));
    for observer in observers {
        observer.stop(&site)?;
    }

    each_sees_what_its_place_dictates(&site)?;
    the_client_agrees_with_chrony(&site, &log)?;
    each_direction_takes_what_the_cable_takes(&site)
}

fn each_sees_what_its_place_dictates(site: &Site) -> Result<()> {
    let unequal = site.sql_numbers(
        "select count(*), count(*) filter (where least <> greatest) from ( \
             select min(server_processing_ns) as least, max(server_processing_ns) as greatest \
             from ntp_exchanges where match = 'basic' and server_processing_ns is not null \
             group by request_transmit_timestamp having count(distinct agent_id) = 3) as seen",
    )?;
    println!("{} exchanges were seen by all three agents", unequal[0]);
    assert!(unequal[0] >= EXCHANGES as u64, "{unequal:?}");
    assert_eq!(
        unequal[1], 0,
        "the server's processing is the same everywhere"
    );
    for (alias, vantage, expected_ms) in [
        ("client", "client", (FORWARD_MS - BACKWARD_MS) / 2.0),
        ("middle", "transit", (FORWARD_MS - BACKWARD_MS) / 2.0),
        ("server", "server", 0.0),
    ] {
        let offset_ns = of_agent(site, alias, "offset_ns")?;
        let delay_ns = of_agent(site, alias, "network_delay_ns")?;
        let vantages = site.sql(&format!(
            "select distinct vantage from ntp_exchanges join agents using (agent_id) \
             where alias = '{alias}' and match = 'basic'"
        ))?;
        let offset_ms = of_the_least(delay_ns.into_iter().zip(offset_ns))? / 1e6;
        println!("{alias}: {vantage}, offset {offset_ms:.3} ms");
        assert_eq!(vantages.trim(), vantage);
        assert!(
            (offset_ms - expected_ms).abs() < NOISE_MS,
            "{alias}: {offset_ms} ms instead of {expected_ms} ms"
        );
    }
    Ok(())
}

/// Chrony's log has offset and delay of each exchange, the newest last.
fn the_client_agrees_with_chrony(site: &Site, log: &[(f64, f64)]) -> Result<()> {
    let offsets = of_agent(site, "client", "offset_ns")?;
    let delays = of_agent(site, "client", "network_delay_ns")?;
    let differences = |seen: &[f64], logged: fn(&(f64, f64)) -> f64| -> Vec<f64> {
        let newest = seen.iter().rev().zip(log.iter().rev()).take(EXCHANGES);
        newest
            .map(|(ns, line)| (ns - logged(line) * 1e9).abs())
            .collect()
    };
    let offset_us = median(differences(&offsets, |line| line.0)) / 1e3;
    let delay_us = median(differences(&delays, |line| line.1)) / 1e3;
    println!("median difference to chrony's log: offset {offset_us:.1} us, delay {delay_us:.1} us");
    assert!(offset_us <= 50.0, "offsets differ by {offset_us} us");
    assert!(delay_us <= 150.0, "delays differ by {delay_us} us");
    Ok(())
}

fn each_direction_takes_what_the_cable_takes(site: &Site) -> Result<()> {
    let synchronised = site.sql("select distinct clock_synchronised from ntp_exchanges")?;
    let synchronised = synchronised.trim() == "t";
    if !synchronised {
        nothing_is_claimed_of_clocks_that_nobody_keeps(site)?;
    }
    // The three share one clock, whatever the kernel says of it.
    let uri = format!("/api/v1/ntp/joined?{OF_THE_PATH}&clocks=assumed");
    let list = site.rest(&uri)?;
    let joined = list["items"].as_array().context("a list")?;
    let whole: Vec<&Value> = joined
        .iter()
        .filter(|item| item["sightings"].as_array().map(Vec::len) == Some(3))
        .collect();
    assert!(whole.len() >= EXCHANGES, "{} are joined", whole.len());
    for item in &whole {
        let aliases = [0, 1, 2].map(|number| &item["sightings"][number]["agent_alias"]);
        assert_eq!(aliases, ["client", "middle", "server"]);
    }
    let of = |path: &str| {
        let value = |item: &Value, path| item.pointer(path)?.as_f64();
        let values = whole
            .iter()
            .filter_map(|item| Some((value(item, ROUND_TRIP)?, value(item, path)?)));
        of_the_least(values).with_context(|| path.to_owned())
    };
    let expected = [
        ("client to middle", "/legs/0/forward_ns", 0.0),
        ("middle to client", "/legs/0/backward_ns", 0.0),
        ("middle to server", "/legs/1/forward_ns", FORWARD_MS),
        ("server to middle", "/legs/1/backward_ns", BACKWARD_MS),
        ("client to server", "/whole/forward_ns", FORWARD_MS),
        ("server to client", "/whole/backward_ns", BACKWARD_MS),
        ("round trip", ROUND_TRIP, FORWARD_MS + BACKWARD_MS),
        (
            "error of the server's clock",
            "/server_clock/offset_ns",
            0.0,
        ),
        (
            "offset by asymmetry",
            "/sightings/0/offset_from_asymmetry_ns",
            (FORWARD_MS - BACKWARD_MS) / 2.0,
        ),
    ];
    for (what, path, expected_ms) in expected {
        let got_ms = of(path)? / 1e6;
        println!("{what}: {got_ms:.3} ms");
        assert!(
            (got_ms - expected_ms).abs() < NOISE_MS,
            "{what}: {got_ms} ms instead of {expected_ms} ms"
        );
    }
    statistics_say_the_same(site)
}

fn nothing_is_claimed_of_clocks_that_nobody_keeps(site: &Site) -> Result<()> {
    let list = site.rest(&format!("/api/v1/ntp/joined?{OF_THE_PATH}"))?;
    let leg = &list["items"][0]["legs"][0];
    assert_eq!(leg["forward_ns"], Value::Null, "{leg}");
    assert_eq!(leg["null_reason"], "sensor_unsynchronised", "{leg}");
    assert!(leg["round_trip_ns"].is_i64(), "{leg}");
    Ok(())
}

fn statistics_say_the_same(site: &Site) -> Result<()> {
    let uri = "/api/v1/ntp/joined/statistics?client=198.18.0.2&clocks=assumed";
    let statistics = site.rest(uri)?;
    let pairs = statistics["items"].as_array().context("a list")?;
    let pair = pairs.iter().find(|pair| {
        pair["from"]["agent_alias"] == "client" && pair["to"]["agent_alias"] == "server"
    });
    let pair = pair.context("client and server")?;
    for (what, expected_ms) in [("forward", FORWARD_MS), ("backward", BACKWARD_MS)] {
        let median_ms = pair[what]["median_ns"].as_f64().context("a number")? / 1e6;
        let error_ms = (median_ms - expected_ms).abs();
        assert!(error_ms < NOISE_OF_MEDIANS_MS, "{pair}");
    }
    Ok(())
}

/// A column of an agent's answered exchanges, in the order of the requests.
fn of_agent(site: &Site, alias: &str, column: &str) -> Result<Vec<f64>> {
    let rows = site.sql(&format!(
        "select {column} from ntp_exchanges join agents using (agent_id) \
         where alias = '{alias}' and match = 'basic' and {column} is not null \
         order by requested_at_ns"
    ))?;
    rows.lines()
        .map(|row| row.parse().with_context(|| row.to_owned()))
        .collect()
}

/// What belongs to the least delay, as a clock filter takes it (RFC 5905, section 10).
fn of_the_least(delays_and_values: impl Iterator<Item = (f64, f64)>) -> Result<f64> {
    let least = delays_and_values.min_by(|one, other| one.0.total_cmp(&other.0));
    least.map(|(_, value)| value).context("nothing of it")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
