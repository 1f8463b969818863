//! `netmon-agent status` beside a running agent, and what it says when there is none.

use std::{
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result};
use netmon_lab::{InterfaceStatistics, Signal, link::ip_line, traffic, wait_until};
use serde_json::Value;

use crate::{
    bandwidth::{INTERFACE, peer},
    site::{METRICS, Site},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// `netmon-agent status`, as the agent's user.
pub fn status(site: &Site, arguments: &[&str]) -> Result<Output> {
    let mut command = site.agent_command("status", arguments)?;
    command.env("NETMON_AGENT__SPOOL__DIRECTORY", site.spool()?);
    Ok(command.output()?)
}

/// The same as root, who has every capability.
fn status_as_root(site: &Site, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon-agent"));
    command
        .args(["status"])
        .args(arguments)
        .env("NETMON_AGENT__SPOOL__DIRECTORY", site.spool()?);
    Ok(command.output()?)
}

pub fn json(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Status of a healthy agent: exit status 0.
fn healthy(site: &Site) -> Result<Value> {
    let mut last = String::new();
    wait_until(PATIENCE, "the agent to be healthy", || {
        let output = status(site, &["--format", "json"]).ok()?;
        let said = [&output.stdout[..], &output.stderr].concat();
        last = String::from_utf8_lossy(&said).into_owned();
        (output.status.code() == Some(0)).then(|| json(&output))
    })
    .flatten()
    .with_context(|| format!("{last}{}", site.log("agent.log")))
}

#[test]
fn a_healthy_agent_says_what_it_does() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&[])?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    let acknowledged = wait_until(PATIENCE, "an acknowledgement", || {
        let status = healthy(&site).ok()?;
        status["server"]["acknowledged_unix_ns"].as_i64()?;
        Some(status)
    })?;
    assert_eq!(acknowledged["server"]["address"], "127.0.0.1:8082");
    assert_eq!(acknowledged["server"]["connected"], true);
    let status = healthy(&site)?;
    assert_eq!(status["format"], 1);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let agent = site.agent.as_ref().context("an agent runs")?.id();
    assert_eq!(status["process_id"], agent);
    let interface = &status["interfaces"][0];
    assert_eq!(interface["name"], INTERFACE);
    // As /metrics has it: `tcx` where the kernel has that.
    let mode = interface["attach_mode"].as_str().context("a mode")?;
    let series =
        format!("netmon_agent_interface_attach_mode{{interface=\"{INTERFACE}\",mode=\"{mode}\"}}");
    assert_eq!(site.metric(METRICS, &series)?, 1.0);
    let kernel = InterfaceStatistics::read(&site.namespace, INTERFACE)?;
    // What passed before the programs were attached is not counted.
    let packets = interface["ingress"]["packets"]
        .as_u64()
        .context("packets")?;
    assert!((20..=kernel.rx_packets).contains(&packets), "{interface}");
    assert_eq!(status["ring"]["capacity_bytes"], 4 << 20);
    assert!(status["drain"]["turns"].as_u64() > Some(0), "{status:#}");
    assert!(
        status["programs"]
            .as_array()
            .is_some_and(|all| all.len() >= 2)
    );
    let table = self::status(&site, &[])?;
    let table = String::from_utf8(table.stdout)?;
    for part in ["127.0.0.1:8082", INTERFACE, mode, "healthy"] {
        assert!(table.contains(part), "{part} in:\n{table}");
    }
    Ok(())
}

#[test]
fn the_socket_is_the_agents_alone_and_goes_with_it() -> Result<()> {
    let mut site = Site::with_server()?;
    site.start_agent(&[])?;
    let socket = site.spool()?.join("status.sock");
    let mode = socket.metadata()?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    site.agent.take().context("an agent runs")?.kill()?;
    assert!(socket.exists(), "a killed agent leaves it");
    let output = status(&site, &[])?;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr)?;
    assert!(
        said.lines().count() == 1 && said.contains("netmon-agent run"),
        "{said}"
    );
    site.start_agent(&[])?;
    assert!(status(&site, &[])?.status.code() < Some(2));
    site.stop_agent()?;
    assert!(!socket.exists());
    assert_eq!(status(&site, &[])?.status.code(), Some(2));
    Ok(())
}

#[test]
fn problems_are_named_and_the_exit_status_says_so() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.start_agent(&[])?;
    healthy(&site)?;
    drop(site.server.take());
    ip_line(&site.namespace, &["link", "set", INTERFACE, "down"])?;
    let problems = wait_until(Duration::from_secs(60), "both problems", || {
        let output = status(&site, &["--format", "json"]).ok()?;
        let problems = json(&output).ok()?["problems"].as_array()?.clone();
        assert_eq!(output.status.code() == Some(1), !problems.is_empty());
        (problems.len() == 2).then_some(problems)
    })?;
    let text = format!("{problems:?}");
    assert!(text.contains("no server is connected"), "{text}");
    assert!(text.contains("no interface is watched"), "{text}");
    Ok(())
}

#[test]
fn clients_that_take_nothing_harm_nothing() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&[])?;
    healthy(&site)?;
    let socket = site.spool()?.join("status.sock");
    // More than are served at a time, none of which reads, some of which talk.
    let mut idle = Vec::new();
    for number in 0..50 {
        let client = UnixStream::connect(&socket)?;
        if number % 2 == 0 {
            // Whether anybody reads it does not matter.
            let _ = std::io::Write::write_all(&mut &client, b"GET / HTTP/1.1\r\n\r\n");
        }
        idle.push(client);
    }
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    healthy(&site)?;
    drop(idle);
    site.stop_agent()
}

#[test]
fn an_agent_that_ends_says_so_while_it_hands_over() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.agent_environment = vec![("NETMON_AGENT__SHUTDOWN_TIMEOUT", "5s")];
    site.start_agent(&[])?;
    healthy(&site)?;
    // What passes from here on finds nobody who stores it.
    drop(site.server.take());
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    let mut agent = site.agent.take().context("an agent runs")?;
    agent.signal(Signal::SIGTERM)?;
    let report = wait_until(PATIENCE, "the agent to end with something left", || {
        let output = status(&site, &["--format", "json"]).ok()?;
        let report = json(&output).ok()?;
        // What is sealed at the end is there a moment later.
        let left = report["spool"]["batches"].as_u64() > Some(0);
        (report["ending"] == true && left).then_some(report)
    })?;
    assert!(report["notices"].to_string().contains("the agent ends"));
    let problems = report["problems"].to_string();
    assert!(!problems.contains("no interface is watched"), "{problems}");
    agent.wait_for(PATIENCE)?.context("it does not end")?;
    assert_eq!(status(&site, &[])?.status.code(), Some(2));
    Ok(())
}

#[test]
fn programs_are_measured_on_demand_by_whoever_may() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&[])?;
    healthy(&site)?;
    let measuring = ["--format", "json", "--program-time", "1s"];
    if !std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")?.starts_with('1') {
        let refused = status(&site, &measuring)?;
        let said = String::from_utf8(refused.stderr)?;
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("CAP_SYS_ADMIN"), "{said}");
    }
    let measured = std::thread::scope(|scope| {
        let measured = scope.spawn(|| status_as_root(&site, &measuring));
        while !measured.is_finished() {
            traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
        }
        measured.join().expect("asking does not panic")
    })?;
    let report = json(&measured)?;
    let times = report["program_time"].as_array().context("times")?;
    let ran: Vec<&Value> = times
        .iter()
        .filter(|t| t["runs"].as_u64() > Some(0))
        .collect();
    assert!(ran.len() >= 2, "{times:?}");
    assert!(ran.iter().all(|t| t["mean_ns"].as_f64() > Some(0.0)));
    Ok(())
}
