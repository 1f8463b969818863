//! What dies, and what the books say afterwards.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use netmon_lab::{Namespace, Signal, database, traffic, wait_until};
use nix::sys::signal::kill;

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
        let processes = database::processes(&site.data_dir())?;
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
        kill(database::postmaster(&site.data_dir())?, Signal::SIGKILL)?;
        answers_again(site)
    })
}

#[test]
fn a_database_that_is_away_for_ten_seconds_costs_nothing() -> Result<()> {
    survives(|site| {
        // Killed again and again, so that it cannot serve anybody.
        for _ in 0..20 {
            if let Ok(postmaster) = database::postmaster(&site.data_dir()) {
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
