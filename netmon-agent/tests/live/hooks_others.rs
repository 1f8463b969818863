//! Programs of others at the same interface: they run on as before.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    programs::{LinkOrder, SchedClassifier, TcAttachType, tc::TcAttachOptions},
    sys::{Stats, enable_stats},
};
use netmon_agent::sensor::PROGRAMS;
use netmon_lab::{Namespace, link::ip_line, traffic};

use crate::{
    bandwidth::{INTERFACE, peer},
    hooks::{HOOK, ours, qdiscs, tc, watched},
    site::{METRICS, Site, has_tcx},
};

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
    if !has_tcx("other people's programs beside ours, one of them by TCX")? {
        return Ok(());
    }
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
