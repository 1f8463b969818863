//! What dies, and what the books say afterwards.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use netmon_lab::{Namespace, Signal, traffic, wait_until};
use nix::{sys::signal::kill, unistd::Pid};

use crate::{
    bandwidth::{of_the_database, of_the_kernel, peer},
    site::Site,
};

/// UDP packets towards the site while `work` runs.
pub fn under_traffic<T>(
    site: &Namespace,
    peer: &Namespace,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sending = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                // Any port: a program that is just being started elsewhere in this process may
                // still hold the last one.
                traffic::udp(peer, site, "198.18.0.1:0".parse()?, 200, 500)?;
            }
            Ok(())
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        sending.join().expect("the sender does not panic")?;
        result
    })
}

pub fn balanced(site: &mut Site) -> Result<()> {
    site.stop_agent()?;
    let kernel = of_the_kernel(site)?;
    assert!(kernel[0] > 1000, "traffic flowed: {kernel:?}");
    assert_eq!(
        of_the_database(site)?,
        kernel,
        "nothing lost, nothing doubled"
    );
    let sequences = site.sql_numbers(
        "select sum(batches), sum(last) from (select count(*) as batches, max(sequence) as last \
         from ingest_ledger group by agent_id, epoch, kind) as streams",
    )?;
    assert!(
        sequences.iter().all(|n| *n == sequences[0]),
        "no gap: {sequences:?}"
    );
    Ok(())
}

/// The books balance after `outage` under traffic.
fn survives(outage: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&[])?;
    let namespace = site.namespace.clone();
    under_traffic(&namespace, &peer, || {
        thread::sleep(Duration::from_secs(2));
        outage(&mut site)?;
        thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    balanced(&mut site)
}

#[test]
fn a_killed_server_costs_nothing() -> Result<()> {
    survives(|site| {
        site.server.take().context("a server runs")?.kill()?;
        thread::sleep(Duration::from_secs(2));
        site.start_server()
    })
}

#[test]
fn a_database_that_stands_still_for_ten_seconds_costs_nothing() -> Result<()> {
    survives(|site| {
        let processes = database_processes(site)?;
        for process in &processes {
            kill(*process, Signal::SIGSTOP)?;
        }
        thread::sleep(Duration::from_secs(10));
        for process in &processes {
            // A backend may have come to its end by then.
            let _ = kill(*process, Signal::SIGCONT);
        }
        Ok(())
    })
}

#[test]
fn a_killed_database_is_restarted_and_costs_nothing() -> Result<()> {
    survives(|site| {
        kill(postmaster(site)?, Signal::SIGKILL)?;
        answers_again(site)
    })
}

#[test]
fn a_database_that_is_away_for_ten_seconds_costs_nothing() -> Result<()> {
    survives(|site| {
        // Killed again and again, so that it cannot serve anybody.
        for _ in 0..20 {
            if let Ok(postmaster) = postmaster(site) {
                let _ = kill(postmaster, Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(500));
        }
        answers_again(site)
    })
}

fn answers_again(site: &Site) -> Result<()> {
    wait_until(Duration::from_secs(90), "the database to be back", || {
        site.sql("select 1").ok()
    })?;
    Ok(())
}

/// The process id that PostgreSQL itself wrote down.
fn postmaster(site: &Site) -> Result<Pid> {
    let file = site.data_dir().join("postgres/postmaster.pid");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(Pid::from_raw(
        text.lines().next().context("an empty pid file")?.parse()?,
    ))
}

/// The postmaster and its children.
fn database_processes(site: &Site) -> Result<Vec<Pid>> {
    let postmaster = postmaster(site)?;
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    Ok([postmaster]
        .into_iter()
        .chain(children.map(Pid::from_raw))
        .collect())
}
