//! Classic filters, where TCX is not there or not wanted.

use anyhow::{Context as _, Result};
use netmon_lab::{run, traffic, wait_until};

use crate::{
    bandwidth::{INTERFACE, exchange_traffic, of_the_database, of_the_kernel, peer},
    hooks::{HOOK, PATIENCE, mode_is, ours, qdiscs, tc, watched},
    pins,
    site::{METRICS, Site, has_tcx},
};

#[test]
fn classic_filters_count_every_packet() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.agent_environment = vec![(HOOK, "clsact")];
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    assert_eq!(ours(&site)?.len(), 2, "{:?}", ours(&site)?);
    exchange_traffic(&site.namespace, &peer)?;
    mode_is(&site, "clsact")?;
    site.stop_agent()?;
    let kernel = of_the_kernel(&site)?;
    assert!(kernel[0] > 2000 && kernel[3] > 20 << 20, "{kernel:?}");
    assert_eq!(of_the_database(&site)?, kernel);
    assert_eq!(qdiscs(&site)?, 0, "what the agent has made is gone");
    Ok(())
}

#[test]
fn leftover_filters_of_a_killed_agent_are_replaced() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.agent_environment = vec![(HOOK, "clsact")];
    let mut before = Vec::new();
    for round in 0..3 {
        site.start_agent(&["--include", INTERFACE])?;
        watched(&site, METRICS)?;
        let now = ours(&site)?;
        assert_eq!(now.len(), 2, "round {round}: {now:?}");
        assert!(now.iter().all(|name| !before.contains(name)), "{now:?}");
        traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
        site.agent.take().context("an agent runs")?.kill()?;
        assert_eq!(ours(&site)?, now, "filters do not end with their maker");
        before = now;
    }
    // Also where the next one has another hook.
    if !has_tcx("classic filters replaced by TCX")? {
        return Ok(());
    }
    site.agent_environment = vec![(HOOK, "auto")];
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    assert_eq!(ours(&site)?, Vec::<String>::new());
    assert_eq!(qdiscs(&site)?, 0);
    site.stop_agent()
}

#[test]
fn classic_filters_on_pinned_maps_are_not_pinned_and_count_once() -> Result<()> {
    let (mut site, peer) = pins::pinned()?;
    let directory = site.path("bpf/netmon").display().to_string();
    site.agent_environment = vec![
        (HOOK, "clsact"),
        ("NETMON_AGENT__SENSOR__PIN", "true"),
        ("NETMON_AGENT__SENSOR__PIN_DIRECTORY", directory.leak()),
    ];
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    let log = site.log("agent.log");
    assert!(log.contains("sensor.pin holds for TCX links only"), "{log}");
    site.agent.take().context("an agent runs")?.kill()?;
    // What is left counts into the pinned maps: the next agent begins at zero all the same.
    traffic::ping(&peer, "198.18.0.1".parse()?, 50, 56)?;
    let before = of_the_kernel(&site)?;
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 30, 56)?;
    site.stop_agent()?;
    let passed = of_the_kernel(&site)?[0] - before[0];
    let counted = of_the_database(&site)?[0];
    assert!((30..=passed).contains(&counted), "{counted} of {passed}");
    assert_eq!(qdiscs(&site)?, 0);
    Ok(())
}

#[test]
fn a_qdisc_that_was_there_stays() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    tc(
        &site.namespace,
        &["qdisc", "add", "dev", INTERFACE, "clsact"],
    )?;
    site.agent_environment = vec![(HOOK, "clsact")];
    for killed in [true, false] {
        site.start_agent(&["--include", INTERFACE])?;
        watched(&site, METRICS)?;
        if killed {
            site.agent.take().context("an agent runs")?.kill()?;
        } else {
            site.stop_agent()?;
        }
    }
    assert_eq!(ours(&site)?, Vec::<String>::new());
    assert_eq!(qdiscs(&site)?, 1);
    Ok(())
}

#[test]
fn an_ingress_qdisc_is_left_alone() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    tc(
        &site.namespace,
        &["qdisc", "add", "dev", INTERFACE, "ingress"],
    )?;
    site.agent_environment = vec![(HOOK, "clsact")];
    site.start_agent(&["--include", INTERFACE])?;
    let failures = "netmon_agent_attach_failures_total{cause=\"taken\"}";
    wait_until(PATIENCE, "the refusal to be counted", || {
        (site.metric(METRICS, failures).ok()? >= 1.0).then_some(())
    })?;
    site.stop_agent()?;
    let shown = tc(&site.namespace, &["qdisc", "show", "dev", INTERFACE])?;
    assert!(shown.contains("qdisc ingress"), "{shown}");
    Ok(())
}

#[test]
fn filters_that_somebody_removes_are_put_back() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.agent_environment = vec![(HOOK, "clsact")];
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    let before = ours(&site)?;
    tc(
        &site.namespace,
        &["qdisc", "del", "dev", INTERFACE, "clsact"],
    )?;
    assert_eq!(ours(&site)?.len(), 0);
    // The agent compares what there is with what there should be every half minute.
    wait_until(3 * PATIENCE, "the filters to be back", || {
        (ours(&site).ok()? == before).then_some(())
    })?;
    let failures = "netmon_agent_attach_failures_total{cause=\"removed\"}";
    assert_eq!(site.metric(METRICS, failures)?, 1.0);
    site.stop_agent()?;
    assert_eq!(qdiscs(&site)?, 0);
    Ok(())
}

#[test]
fn unpin_removes_what_a_killed_agent_has_left_and_nothing_of_one_that_runs() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.agent_environment = vec![(HOOK, "clsact")];
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    let unpin = |site: &Site| -> Result<String> {
        let mut unpin = site.agent_command("unpin", &[])?;
        unpin.env("NETMON_AGENT__SENSOR__PIN_DIRECTORY", site.path("no-bpf"));
        run(&mut unpin)
    };
    let said = unpin(&site)?;
    assert!(said.contains("removed 0 classic filters"), "{said}");
    assert_eq!(ours(&site)?.len(), 2);

    site.agent.take().context("an agent runs")?.kill()?;
    let said = unpin(&site)?;
    assert!(said.contains("removed 2 classic filters"), "{said}");
    assert_eq!(ours(&site)?, Vec::<String>::new());
    assert_eq!(qdiscs(&site)?, 0);
    Ok(())
}
