//! The other hooks: every packet is counted there as well, and nobody else's is touched.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    programs::{LinkOrder, SchedClassifier, TcAttachType, tc::TcAttachOptions},
    sys::{Stats, enable_stats},
};
use netmon_agent::sensor::PROGRAMS;
use netmon_lab::{Child, Namespace, Signal, http, link::ip_line, run, traffic, wait_until};

use crate::{
    bandwidth::{INTERFACE, exchange_traffic, of_the_database, of_the_kernel, peer},
    pins,
    site::{METRICS, Site},
};

pub const HOOK: &str = "NETMON_AGENT__SENSOR__HOOK";
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Another agent's metrics.
const OTHER_METRICS: u16 = 9643;

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
fn other_peoples_programs_run_on_beside_tcx() -> Result<()> {
    others_run_on("tcx")
}

#[test]
fn other_peoples_programs_run_on_beside_classic_filters() -> Result<()> {
    others_run_on("clsact")
}

/// Start, stop and SIGKILL of an agent change nothing for others at the same interface.
fn others_run_on(hook: &'static str) -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    let others = Others::new(&site.namespace)?;
    site.agent_environment = vec![(HOOK, hook)];
    for ends in ["stopped", "killed", "stopped"] {
        site.start_agent(&["--include", INTERFACE])?;
        watched(&site, METRICS)?;
        others.must_see(&site, &peer, "with an agent")?;
        if ends == "killed" {
            site.agent.take().context("an agent runs")?.kill()?;
        } else {
            site.stop_agent()?;
        }
        others.must_see(&site, &peer, ends)?;
    }
    assert_eq!(ours(&site)?, Vec::<String>::new());
    assert_eq!(qdiscs(&site)?, 1, "others use it");
    Ok(())
}

/// Programs of somebody else, in ingress: a TCX program, a classic filter with the priority and the
/// handle that most programs choose, and one with the priority that tc(8) chooses.
struct Others {
    namespace: Namespace,
    ebpf: Ebpf,
    listed: Vec<String>,
    _stats: OwnedFd,
}

impl Others {
    fn new(place: &Namespace) -> Result<Self> {
        ip_line(place, &["link", "add", "nm-ifb", "type", "ifb"])?;
        ip_line(place, &["link", "set", "nm-ifb", "up"])?;
        tc(place, &["qdisc", "add", "dev", INTERFACE, "clsact"])?;
        let mirror = ["action", "mirred", "egress", "mirror", "dev", "nm-ifb"];
        let add = ["filter", "add", "dev", INTERFACE, "ingress"];
        let every = ["protocol", "ip", "u32", "match", "u32", "0", "0"];
        tc(place, &[&add[..], &every, &mirror, &["continue"]].concat())?;
        let first = ["prio", "1", "handle", "1", "protocol", "all", "bpf"];
        // Returns 0: no match, on to the next.
        let program = ["bytecode", "1,6 0 0 0,", "flowid", "1:1"];
        tc(place, &[&add[..], &first, &program].concat())?;
        let ebpf = place.run_inside(|| {
            let mut ebpf = Ebpf::load(PROGRAMS)?;
            let program = ebpf.program_mut("netmon_empty").context("no program")?;
            let program = <&mut SchedClassifier>::try_from(program)?;
            program.load()?;
            let last = TcAttachOptions::TcxOrder(LinkOrder::last());
            program.attach_with_options(INTERFACE, TcAttachType::Ingress, last)?;
            Ok(ebpf)
        })?;
        let mut others = Self {
            namespace: place.clone(),
            ebpf,
            listed: Vec::new(),
            _stats: enable_stats(Stats::RunTime)?,
        };
        others.listed = others.list()?;
        Ok(others)
    }

    /// All filters in ingress that are not an agent's, as tc(8) shows them.
    fn list(&self) -> Result<Vec<String>> {
        let shown = tc(
            &self.namespace,
            &["filter", "show", "dev", INTERFACE, "ingress"],
        )?;
        Ok(shown
            .lines()
            .filter(|line| !line.contains("netmon-ingress-"))
            // The head of a priority that others share stays while one of them is there.
            .map(str::to_owned)
            .collect())
    }

    /// How many packets the TCX program and the last filter have seen.
    fn seen(&self) -> Result<[u64; 2]> {
        let program = self.ebpf.program("netmon_empty").context("no program")?;
        let runs = <&SchedClassifier>::try_from(program)?.info()?.run_count();
        let show = ["-s", "filter", "show", "dev", INTERFACE, "ingress"];
        let shown = tc(&self.namespace, &show)?;
        let mirrored = shown
            .lines()
            .find_map(|line| {
                line.trim()
                    .strip_prefix("Sent ")?
                    .split(' ')
                    .nth(2)?
                    .parse()
                    .ok()
            })
            .with_context(|| format!("no counter in {shown}"))?;
        Ok([runs, mirrored])
    }

    fn must_see(&self, site: &Site, peer: &Namespace, when: &str) -> Result<()> {
        let before = self.seen()?;
        traffic::ping(peer, "198.18.0.1".parse()?, 20, 56)?;
        let after = self.seen()?;
        for (before, after) in before.into_iter().zip(after) {
            if after < before + 20 {
                bail!(
                    "{when}: saw {before}, then {after}\n{}",
                    site.log("agent.log")
                );
            }
        }
        assert_eq!(self.list()?, self.listed, "{when}");
        Ok(())
    }
}

#[test]
fn two_agents_side_by_side_both_count_everything_by_tcx() -> Result<()> {
    side_by_side("tcx", "tcx")
}

#[test]
fn two_agents_side_by_side_both_count_everything_by_classic_filters() -> Result<()> {
    side_by_side("clsact", "clsact")
}

#[test]
fn two_agents_side_by_side_both_count_everything_by_either() -> Result<()> {
    side_by_side("tcx", "clsact")
}

fn side_by_side(one: &'static str, another: &'static str) -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.agent_environment = vec![(HOOK, one)];
    site.start_agent(&["--include", INTERFACE])?;
    let mut other = start_other(&mut site, another)?;
    watched(&site, METRICS)?;
    watched(&site, OTHER_METRICS)?;
    exchange_traffic(&site.namespace, &peer)?;
    for port in [METRICS, OTHER_METRICS] {
        counts_all(&site, port)?;
    }
    // One dies: the other has lost nothing, and neither has who comes next.
    site.agent.take().context("an agent runs")?.kill()?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    counts_all(&site, OTHER_METRICS)?;
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    counts_all(&site, OTHER_METRICS)?;
    // The other ends properly: what it has made is gone, and nothing else.
    other.signal(Signal::SIGTERM)?;
    other.wait_for(PATIENCE)?.context("it does not end")?;
    assert_eq!(ours(&site)?.len(), if one == "clsact" { 2 } else { 0 });
    site.stop_agent()?;
    assert_eq!(ours(&site)?, Vec::<String>::new());
    assert_eq!(qdiscs(&site)?, 0);
    Ok(())
}

/// The server is told how the one watched interface is counted.
pub fn mode_is(site: &Site, mode: &str) -> Result<()> {
    let path = format!("/api/v1/agents/{}/live", site.agent_id);
    let expected = format!("\"attach_mode\":\"{mode}\"");
    wait_until(PATIENCE, "the mode to be told", || {
        let live = site.rest(&path).ok()?.to_string();
        live.contains(&expected).then_some(())
    })
    .with_context(|| format!("{mode}: {}", site.log("agent.log")))
}

/// A second agent at the same interface, of no server.
fn start_other(site: &mut Site, hook: &str) -> Result<Child> {
    let servers = std::mem::replace(&mut site.servers, vec!["127.0.0.1:1".to_owned()]);
    let listen = format!("127.0.0.1:{OTHER_METRICS}");
    let arguments = ["--include", INTERFACE, "--metrics-listen", &listen];
    let command = site.agent_command("run", &arguments);
    site.servers = servers;
    let mut command = command?;
    command
        .env(HOOK, hook)
        .env("NETMON_AGENT__SPOOL__DIRECTORY", "")
        .env("NETMON_AGENT__SHUTDOWN_TIMEOUT", "0s");
    site.log_to(&mut command, "other.log")?;
    Child::spawn("the other agent", command, Signal::SIGTERM)
}

pub fn watched(site: &Site, port: u16) -> Result<()> {
    wait_until(PATIENCE, "the interface to be watched", || {
        let series = "netmon_agent_interfaces_watched";
        let watched = http::metric(&site.agent_namespace, port, series).ok()?;
        (watched == 1.0).then_some(())
    })
    .with_context(|| site.log("agent.log"))
}

/// The agent's counters are the kernel's. Neighbours ask after each other now and then: it may take
/// a second look.
fn counts_all(site: &Site, port: u16) -> Result<()> {
    counts(site, port, || of_the_kernel(site))
}

pub fn counts(site: &Site, port: u16, expected: impl Fn() -> Result<Vec<u64>>) -> Result<()> {
    let counted = || -> Result<Vec<u64>> {
        let mut counted = Vec::new();
        for direction in ["ingress", "egress"] {
            for what in ["packets", "bytes"] {
                let labels = format!("{{direction=\"{direction}\",interface=\"{INTERFACE}\"}}");
                let series = format!("netmon_agent_interface_{what}_total{labels}");
                counted.push(http::metric(&site.agent_namespace, port, &series)? as u64);
            }
        }
        Ok(counted)
    };
    wait_until(PATIENCE, "the agent's counters to be the kernel's", || {
        (counted().ok()? == expected().ok()?).then_some(())
    })
    .with_context(|| format!("{port}: {:?} of {:?}", counted(), expected()))
}

/// The names of agents' filters, both directions.
pub fn ours(site: &Site) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for direction in ["ingress", "egress"] {
        let show = ["filter", "show", "dev", INTERFACE, direction];
        let shown = tc(&site.agent_namespace, &show)?;
        let words = shown.split_whitespace();
        names.extend(
            words
                .filter(|word| word.starts_with("netmon-"))
                .map(str::to_owned),
        );
    }
    Ok(names)
}

/// How many clsact qdiscs the interface has.
pub fn qdiscs(site: &Site) -> Result<usize> {
    let shown = tc(&site.agent_namespace, &["qdisc", "show", "dev", INTERFACE])?;
    Ok(shown.matches("qdisc clsact").count())
}

fn tc(place: &Namespace, words: &[&str]) -> Result<String> {
    run(place.command("tc").args(words))
}
