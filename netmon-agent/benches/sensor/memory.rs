//! The agent's memory with 100,000 flows, and what packets cost where they really pass.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use netmon_agent::sensor::measure_programs;
use netmon_lab::wait_until;

use crate::{
    agent::Agent,
    frames,
    options::Options,
    process, report,
    site::{self, Site},
};

const FLOWS: u32 = 100_000;
/// Octets.
const LIMIT: u64 = 40_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(site: &mut Site, options: &Options) -> Result<()> {
    let agent = Agent::start(site, true)?;
    report::heading(&format!(
        "the agent's memory, MB: default maps, {} watched addresses",
        crate::costs::WATCHED
    ));
    resident("resident before any flow", &agent, None)?;
    let sent = site.make_flows(FLOWS)?;
    ensure!(sent == u64::from(FLOWS), "{sent} packets were sent");
    let alive = || agent.metric("flows_remembered").ok();
    wait_until(PATIENCE, "100,000 flows to be alive", || {
        (alive()? >= f64::from(FLOWS)).then_some(())
    })
    .with_context(|| format!("{:?} are alive", alive()))?;
    resident(
        &format!("resident with {FLOWS} live flows"),
        &agent,
        Some("<= 40"),
    )?;
    let peak = process::memory(agent.id(), "VmHWM")?;
    report::figure("at most so far", megabytes(peak), None);
    let maps = process::maps(agent.id()).map_or_else(|_| "-".to_owned(), megabytes);
    report::figure("in the kernel: its maps, rings and watch set", maps, None);
    let lost = agent.metric("flow_events_lost_total")?;
    report::figure(
        "new flows that the kernel could not tell of at once",
        lost,
        None,
    );
    in_place(site, &agent, options)?;
    agent.stop()
}

/// What the kernel itself measures of a program while packets of many flows pass.
fn in_place(site: &Site, agent: &Agent, options: &Options) -> Result<()> {
    let read = || -> Result<[f64; 2]> {
        // Once a second the agent asks the kernel.
        site::pause(Duration::from_millis(1500))?;
        let label = "{program=\"netmon_ingress\"}";
        Ok([
            agent.metric(&format!("program_runs_total{label}"))?,
            agent.metric(&format!("program_run_seconds_total{label}"))?,
        ])
    };
    let statistics = measure_programs()?;
    let before = read()?;
    let frames = frames::flows(options.flows);
    site.flood
        .send_for(&frames, Duration::from_secs(2), site::sending_cpu())?;
    let after = read()?;
    drop(statistics);
    let [runs, seconds] = [after[0] - before[0], after[1] - before[1]];
    report::heading(&format!(
        "the program in its place, {} flows in turn at the highest rate",
        options.flows
    ));
    report::figure(
        &format!("{runs:.0} runs, ns each with the kernel's own measuring"),
        format!("{:.0}", seconds / runs.max(1.0) * 1e9),
        None,
    );
    Ok(())
}

fn resident(name: &str, agent: &Agent, limit: Option<&str>) -> Result<()> {
    let octets = process::memory(agent.id(), "VmRSS")?;
    let verdict = if limit.is_some() && octets > LIMIT {
        " ABOVE"
    } else {
        ""
    };
    report::figure(name, format!("{}{verdict}", megabytes(octets)), limit);
    Ok(())
}

fn megabytes(octets: u64) -> String {
    format!("{:.1}", octets as f64 / 1e6)
}
