//! A real Prometheus scrapes agent and server.

use std::{fs, io::Write as _, process::Stdio, time::Duration};

use anyhow::{Context as _, Result};
use netmon_lab::{Child, Signal, programs, wait_until};

use crate::{
    bandwidth::peer,
    site::{HTTP, METRICS, Site},
};

const PROMETHEUS: u16 = 9090;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn prometheus_scrapes_agent_and_server() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.start_agent(&[])?;
    let configuration = site.path("prometheus.yml");
    fs::write(
        &configuration,
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n\
             - {{job_name: agent, static_configs: [{{targets: ['127.0.0.1:{METRICS}']}}]}}\n\
             - {{job_name: server, static_configs: [{{targets: ['127.0.0.1:{HTTP}']}}]}}\n"
        ),
    )?;
    let mut command = site.namespace.command(programs::find("prometheus")?);
    command
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            site.path("prometheus").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{PROMETHEUS}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _prometheus = Child::spawn("prometheus", command, Signal::SIGTERM)?;
    for job in ["agent", "server"] {
        let up = format!("up%7Bjob=%22{job}%22%7D");
        wait_until(PATIENCE, &format!("Prometheus to scrape the {job}"), || {
            (query(&site, &up).ok()? == "1").then_some(())
        })?;
    }
    let scraped = "netmon_agent_interfaces_watched";
    wait_until(PATIENCE, "the agent's metrics", || {
        (query(&site, scraped).ok()? == "1").then_some(())
    })
}

/// The value of an instant query with one result.
fn query(site: &Site, expression: &str) -> Result<String> {
    let (_, body) = site.get(PROMETHEUS, &format!("/api/v1/query?query={expression}"))?;
    let answer: serde_json::Value = serde_json::from_str(&body)?;
    let value = answer["data"]["result"][0]["value"][1]
        .as_str()
        .context("no result yet")?;
    Ok(value.to_owned())
}

#[test]
fn promtool_finds_nothing_to_object() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.start_agent(&[])?;
    for port in [METRICS, HTTP] {
        let (_, text) = site.get(port, "/metrics")?;
        let mut promtool = std::process::Command::new(programs::find("promtool")?)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        promtool
            .stdin
            .take()
            .context("a pipe")?
            .write_all(text.as_bytes())?;
        let output = promtool.wait_with_output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            output.status.success() && said.is_empty(),
            "port {port}:\n{said}"
        );
    }
    Ok(())
}
