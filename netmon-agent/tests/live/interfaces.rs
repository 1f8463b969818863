//! Interfaces that come and go, and agents that go.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use aya::programs::{SchedClassifier, TcAttachType};
use netmon_lab::{
    Namespace,
    link::{End, Mac, delete, veth},
    wait_until,
};

use crate::{
    bandwidth::{INTERFACE, peer},
    site::{METRICS, Site},
};

const PAIRS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn a_hundred_interfaces_come_and_go_without_a_trace() -> Result<()> {
    let site = Site::start(&[])?;
    let agent = site.agent.as_ref().context("an agent runs")?.id();
    let watched = || site.metric(METRICS, "netmon_agent_interfaces_watched").ok();
    let keys = || site.metric(METRICS, "netmon_agent_map_entries").ok();
    assert_eq!(watched(), Some(0.0));
    let descriptors = open_descriptors(agent)?;
    let elsewhere = Namespace::new()?;
    for round in 0..2 {
        for number in 0..PAIRS {
            let (name, peer) = (format!("nm-{number}"), format!("nm-p{number}"));
            veth(
                End {
                    place: &site.namespace,
                    name: &name,
                    mac: Mac::local(number as u8),
                },
                End {
                    place: &elsewhere,
                    name: &peer,
                    mac: Mac::local(100 + number as u8),
                },
            )?;
        }
        wait_until(PATIENCE, "all to be watched", || {
            (watched()? == PAIRS as f64).then_some(())
        })
        .with_context(|| format!("round {round}, watched {:?}", watched()))?;
        for number in 0..PAIRS {
            delete(&site.namespace, &format!("nm-{number}"))?;
        }
        wait_until(PATIENCE, "none to be watched", || {
            (watched()? == 0.0).then_some(())
        })?;
    }
    wait_until(PATIENCE, "the counters to be removed", || {
        (keys()? == 0.0).then_some(())
    })?;
    wait_until(PATIENCE, "the file descriptors to be closed", || {
        (open_descriptors(agent).ok()? <= descriptors).then_some(())
    })
    .with_context(|| format!("{descriptors} before, {:?} now", open_descriptors(agent)))?;
    let stored = wait_until(PATIENCE, "the server to know", || {
        let names = site
            .sql_numbers("select count(*) from interfaces where not monitored")
            .ok()?;
        (names == [PAIRS as u64]).then_some(names)
    });
    stored.map(|_| ())
}

#[test]
fn a_killed_agent_leaves_no_program_behind() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.start_agent(&[])?;
    wait_until(PATIENCE, "the interface to be watched", || {
        (site
            .metric(METRICS, "netmon_agent_interfaces_watched")
            .ok()?
            == 1.0)
            .then_some(())
    })?;
    assert_eq!(attached(&site)?, [1, 1]);
    site.agent.take().context("an agent runs")?.kill()?;
    wait_until(PATIENCE, "the kernel to detach", || {
        (attached(&site).ok()? == [0, 0]).then_some(())
    })
}

#[test]
fn an_interface_that_goes_down_and_up_is_watched_again() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.start_agent(&[])?;
    for (state, programs) in [("down", [0, 0]), ("up", [1, 1])] {
        netmon_lab::link::ip_line(&site.namespace, &["link", "set", INTERFACE, state])?;
        wait_until(PATIENCE, state, || {
            (attached(&site).ok()? == programs).then_some(())
        })?;
    }
    Ok(())
}

/// How many programs hang on the interface, ingress and egress.
fn attached(site: &Site) -> Result<[usize; 2]> {
    site.namespace.run_inside(|| {
        let count = |direction| -> Result<usize> {
            let (_, programs) = SchedClassifier::query_tcx(INTERFACE, direction)?;
            Ok(programs.len())
        };
        Ok([count(TcAttachType::Ingress)?, count(TcAttachType::Egress)?])
    })
}

fn open_descriptors(process: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}
