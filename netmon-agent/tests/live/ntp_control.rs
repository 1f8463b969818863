//! NTP monitoring started and stopped over REST, from a POST to the packets.

use std::{
    env,
    net::UdpSocket,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use netmon_lab::{
    Child, DemoNet, InterfaceStatistics, Namespace, Signal,
    demo::{CLIENT_SIDE, DemoOptions, SERVER_SIDE},
    http, wait_until,
};
use serde_json::{Value, json};

use crate::{
    bandwidth::{INTERFACE, peer},
    ntp_bridge::{EXCHANGES, exchange},
    site::{HOOK, HTTP, METRICS, Site, open_folder},
};

const PATIENCE: Duration = Duration::from_secs(30);
const WATCHED: [&str; 2] = ["--exclude", "lo"];
/// More than any effect may take on a busy machine: figures are printed.
const SOON_S: f64 = 5.0;

fn post(site: &Site, path: &str, body: &Value) -> Result<Value> {
    let (status, answer) = http::post(&site.namespace, HTTP, path, &body.to_string())?;
    ensure!(status == 200, "POST {path}: {status} {answer}");
    Ok(serde_json::from_str(&answer)?)
}

fn state(site: &Site, interface: &str) -> Result<Value> {
    site.rest(&format!("/api/ntp/interfaces/{interface}"))
}

fn becomes(site: &Site, interface: &str, wanted: &str) -> Result<Value> {
    let found = wait_until(PATIENCE, wanted, || {
        let found = state(site, interface).ok()?;
        (found["state"] == wanted).then_some(found)
    });
    found.with_context(|| format!("{:?}\n{}", state(site, interface), site.log("agent.log")))
}

fn unix_s() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is right").as_secs_f64()
}

/// Seconds from a moment until the agent acted, by what it reports.
fn took(site: &Site, state: &Value, since_s: f64) -> Result<f64> {
    let at = state["reported"]["since"].as_str().context("it reports")?;
    let at = site.sql(&format!("select extract(epoch from timestamptz '{at}')"))?;
    Ok(at.trim().parse::<f64>()? - since_s)
}

/// Exchanges of an interface whose first packet passed within a range of seconds since 1970.
fn rows(site: &Site, interface: &str, from_s: f64, to_s: f64) -> Result<u64> {
    let rows = site.sql_numbers(&format!(
        "select count(*) from ntp_exchanges where interface = '{interface}' \
         and at >= to_timestamp({from_s}) and at < to_timestamp({to_s})"
    ))?;
    Ok(rows[0])
}

#[test]
fn a_stop_takes_effect_at_once_and_bandwidth_goes_on() -> Result<()> {
    let mut site = Site::with_server()?;
    let folder = site.path("demo");
    open_folder(&folder)?;
    let options = DemoOptions {
        // Longer than copies of a datagram are apart: each side has exchanges of its own.
        to_server: Duration::from_millis(2),
        to_client: Duration::from_millis(2),
        client_options: "minpoll -3 maxpoll -3 iburst".to_owned(),
        ..DemoOptions::default()
    };
    let _demo = DemoNet::start(&site.namespace, &folder, &options)?;
    site.start_agent(&WATCHED)?;
    wait_until(PATIENCE, "exchanges before the stop", || {
        let before = rows(&site, CLIENT_SIDE, 0.0, f64::from(u32::MAX)).ok()?;
        (before > 10).then_some(())
    })?;
    let started = becomes(&site, CLIENT_SIDE, "running")?;
    assert_eq!(started["wish"], Value::Null);
    assert_eq!(started["reported"]["ports"], json!([123]));

    let asked_s = unix_s();
    post(
        &site,
        &format!("/api/ntp/interfaces/{CLIENT_SIDE}/stop"),
        &json!({}),
    )?;
    let stopped = becomes(&site, CLIENT_SIDE, "stopped")?;
    let effect_s = took(&site, &stopped, asked_s)?;
    println!("stopped {:.1} ms after the POST was sent", effect_s * 1e3);
    assert!(effect_s < SOON_S, "{effect_s} s");
    let stopped_s = asked_s + effect_s;
    let before = InterfaceStatistics::read(&site.namespace, CLIENT_SIDE)?;
    thread::sleep(Duration::from_secs(2));
    let restarting_s = unix_s();
    let after = InterfaceStatistics::read(&site.namespace, CLIENT_SIDE)?;

    let body = json!({"port": 123, "timeout": 2.0});
    post(
        &site,
        &format!("/api/ntp/interfaces/{CLIENT_SIDE}/start"),
        &body,
    )?;
    let running = becomes(&site, CLIENT_SIDE, "running")?;
    assert_eq!(running["reported"]["timeout_seconds"], 2.0);
    let effect_s = took(&site, &running, restarting_s)?;
    println!("started {:.1} ms after the POST was sent", effect_s * 1e3);
    assert!(effect_s < SOON_S, "{effect_s} s");
    let running_s = restarting_s + effect_s;
    wait_until(PATIENCE, "exchanges after the start", || {
        let after = rows(&site, CLIENT_SIDE, running_s, f64::from(u32::MAX)).ok()?;
        (after > 5).then_some(())
    })?;
    // What passed meanwhile was not looked at, and says so.
    let series = "netmon_agent_ntp_unpaired_total{cause=\"not_monitored\"}";
    assert!(site.metric(METRICS, series)? >= 20.0);
    site.stop_agent()?;

    assert!(rows(&site, CLIENT_SIDE, 0.0, asked_s)? > 10);
    assert_eq!(rows(&site, CLIENT_SIDE, stopped_s, restarting_s)?, 0);
    assert!(
        rows(&site, SERVER_SIDE, stopped_s, restarting_s)? > 10,
        "the other one goes on"
    );
    // Nobody is accused of what was not seen.
    let accused = site.sql_numbers(
        "select count(*) from ntp_exchanges \
         where match in ('unanswered', 'unsolicited_response', 'origin_mismatch')",
    )?;
    assert_eq!(accused, [0]);
    let bandwidth = site.sql_numbers(&format!(
        "select sum(ingress_packets) from bandwidth_samples where interface = '{CLIENT_SIDE}' \
         and ended_at > to_timestamp({stopped_s}) and ended_at < to_timestamp({restarting_s})"
    ))?;
    // The samples at both ends are left out.
    let passed = after.rx_packets - before.rx_packets;
    assert!(
        passed > 10 && 2 * bandwidth[0] > passed,
        "{bandwidth:?} of {passed} packets"
    );
    Ok(())
}

#[test]
fn a_request_that_waits_ends_with_the_stop_and_nothing_comes_after() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&WATCHED)?;
    becomes(&site, INTERFACE, "running")?;
    let _silent = site
        .namespace
        .run_inside(|| Ok(UdpSocket::bind("198.18.0.1:123")?))?;
    let asker = peer.run_inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    let mut request = [0; 48];
    request[0] = 0x23;
    request[47] = 7;
    asker.send_to(&request, "198.18.0.1:123")?;
    wait_until(PATIENCE, "the request to be seen", || {
        let seen = site.metric(METRICS, "netmon_agent_ntp_packets_total");
        (seen.ok()? == 1.0).then_some(())
    })?;
    post(
        &site,
        &format!("/api/ntp/interfaces/{INTERFACE}/stop"),
        &json!({}),
    )?;
    becomes(&site, INTERFACE, "stopped")?;
    for _ in 0..3 {
        asker.send_to(&request, "198.18.0.1:123")?;
    }
    // Longer than the time-out that the request would have had.
    thread::sleep(Duration::from_secs(6));
    site.stop_agent()?;
    let rows = site.sql("select match, count(*) from ntp_exchanges group by 1")?;
    assert_eq!(rows, "sensor_stopped|1");
    Ok(())
}

/// An agent whose server does not answer.
fn start_alone(site: &mut Site) -> Result<()> {
    let mut command = site.agent_command("run", &WATCHED)?;
    let hook = env::var(HOOK).ok();
    command
        .env("NETMON_AGENT__SERVER__MAX_RETRY_INTERVAL", "1s")
        .env("NETMON_AGENT__SPOOL__DIRECTORY", site.spool()?)
        .envs(hook.map(|hook| ("NETMON_AGENT__SENSOR__HOOK", hook)));
    site.log_to(&mut command, "agent.log")?;
    site.agent = Some(Child::spawn("netmon-agent", command, Signal::SIGTERM)?);
    wait_until(PATIENCE, "the interface to be watched", || {
        let watched = site.metric(METRICS, "netmon_agent_interfaces_watched");
        (watched.ok()? == 1.0).then_some(())
    })
    .with_context(|| site.log("agent.log"))
}

fn ask_each_other(site: &Site, peer: &Namespace) -> Result<()> {
    exchange(peer, &site.namespace.clone(), "198.18.0.1")
}

#[test]
fn a_wish_outlives_agent_and_server_and_reaches_an_agent_that_was_away() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&WATCHED)?;
    becomes(&site, INTERFACE, "running")?;
    post(
        &site,
        &format!("/api/ntp/interfaces/{INTERFACE}/stop"),
        &json!({}),
    )?;
    becomes(&site, INTERFACE, "stopped")?;
    wait_until(PATIENCE, "the wish to be written down", || {
        let file = site.path("spool").join("ntp-monitoring");
        file.exists().then_some(())
    })?;

    // Neither the agent nor the server of before; at first no server at all.
    site.stop_agent()?;
    site.server.take().context("a server runs")?.kill()?;
    start_alone(&mut site)?;
    assert_eq!(
        site.metric(METRICS, "netmon_agent_ntp_monitoring_revision")?,
        1.0
    );
    assert_eq!(
        site.metric(METRICS, "netmon_agent_ntp_interfaces_monitored")?,
        0.0
    );
    ask_each_other(&site, &peer)?;
    site.start_server()?;
    becomes(&site, INTERFACE, "stopped")?;
    ask_each_other(&site, &peer)?;
    assert_eq!(site.metric(METRICS, "netmon_agent_ntp_packets_total")?, 0.0);
    site.stop_agent()?;
    assert_eq!(site.sql_numbers("select count(*) from ntp_exchanges")?, [0]);

    becomes(&site, INTERFACE, "offline")?;
    let agent = &site.agent_id;
    let path = format!("/api/v1/agents/{agent}/ntp/interfaces/{INTERFACE}/start");
    let wished = post(&site, &path, &json!({"ports": [123, 1123], "timeout": 0.5}))?;
    assert_eq!(wished["state"], "offline");
    site.start_agent(&WATCHED)?;
    let running = becomes(&site, INTERFACE, "running")?;
    assert_eq!(running["reported"]["ports"], json!([123, 1123]));
    assert_eq!(running["reported"]["timeout_seconds"], 0.5);
    ask_each_other(&site, &peer)?;
    // Another port only: the kernel does not look for the first any more.
    let packets = "netmon_agent_ntp_packets_total";
    wait_until(PATIENCE, "all packets to be seen", || {
        (site.metric(METRICS, packets).ok()? == 2.0 * EXCHANGES as f64).then_some(())
    })?;
    post(&site, &path, &json!({"port": 1123}))?;
    let running = becomes(&site, INTERFACE, "running")?;
    assert_eq!(running["reported"]["ports"], json!([1123]));
    assert_eq!(running["reported"]["timeout_seconds"], 5.0, "as configured");
    ask_each_other(&site, &peer)?;
    site.stop_agent()?;
    let rows = site.sql_numbers("select count(*) from ntp_exchanges where match = 'basic'")?;
    assert_eq!(rows, [EXCHANGES as u64]);
    Ok(())
}
