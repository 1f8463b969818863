//! What the host is busy with, read by an agent without any privilege but to load its programs.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use netmon_lab::wait_until;
use serde_json::Value;

use crate::site::{METRICS, Site};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_unprivileged_agent_reads_its_host() -> Result<()> {
    let mut site = Site::with_server()?;
    let configuration = site.path("agent.toml");
    fs::write(&configuration, "[system]\ninterval = \"1s\"\n")?;
    let configuration = configuration.display().to_string();
    site.start_agent(&["--config", &configuration])?;

    let latest = format!("/api/v1/agents/{}/system/latest", site.agent_id);
    let latest: Value = wait_until(PATIENCE, "a second reading", || {
        let latest = site.rest(&latest).ok()?;
        (latest["interval_ms"].as_i64()? > 0).then_some(latest)
    })?;
    let reading = &latest["reading"];
    let total = kib("/proc/meminfo", "MemTotal:")? * 1024;
    ensure!(reading["memory"]["total_bytes"] == total, "{latest}");
    let cores = fs::read_to_string("/proc/stat")?
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    ensure!(
        latest["cores_by_use"].as_array().map(Vec::len) == Some(cores),
        "{latest}"
    );
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    ensure!(latest["kernel_release"] == release.trim(), "{latest}");
    for known in [
        &reading["cpu"]["busy_ratio"],
        &reading["load"]["load_1"],
        &reading["tasks"]["context_switches_per_second"],
        &reading["memory"]["available_bytes"],
        &reading["swap"]["in_bytes_per_second"],
        &reading["tcp"]["segments_sent_per_second"],
        &reading["tcp_states"]["listen"],
        &reading["uptime_seconds"],
        &latest["booted_at"],
    ] {
        ensure!(!known.is_null(), "{latest}");
    }
    // The server's and the agent's ports, and nothing of the host outside of the namespace.
    let listening = reading["tcp_states"]["listen"].as_u64().unwrap_or(0);
    ensure!((2..=4).contains(&listening), "{latest}");

    for source in [
        "stat",
        "meminfo",
        "diskstats",
        "net_dev",
        "net_tcp",
        "mountinfo",
        "temperatures",
    ] {
        let missing = format!("netmon_agent_system_missing_total{{source=\"{source}\"}}");
        ensure!(site.metric(METRICS, &missing)? == 0.0, "{source}");
    }
    ensure!(site.metric(METRICS, "netmon_agent_system_memory_total_bytes")? == total as f64);
    let on_server = format!(
        "netmon_host_memory_total_bytes{{agent=\"{}\"}}",
        site.agent_id
    );
    wait_until(PATIENCE, "the host in the server's metrics", || {
        (site.metric(crate::site::HTTP, &on_server).ok()? == total as f64).then_some(())
    })?;
    site.stop_agent()
}

/// A figure of a file like `/proc/meminfo`.
fn kib(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line
        .unwrap_or_default()
        .trim()
        .trim_end_matches(" kB")
        .parse()?)
}
