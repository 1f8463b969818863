//! The server goes and comes back under load: how soon are all agents back, and how many at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use netmon_lab::Signal;

use crate::{fleet::Fleet, site::Site};

/// How an agent's return is waited for, at most.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a restart was like for the fleet. Times are since the signal.
#[derive(Clone, Copy, Debug)]
pub struct Restarted {
    /// The server is gone.
    pub gone: Duration,
    /// The next one lets agents in.
    pub ready: Duration,
    /// Half of the agents have been welcomed again, and the last one.
    pub half_back: Duration,
    pub last_back: Duration,
    /// Attempts to connect, and the most of them within a second.
    pub attempts: usize,
    pub peak: usize,
}

/// Ends the server by a signal, starts it again and waits for every agent.
pub async fn restart(site: &mut Site, fleet: &Fleet, signal: Signal) -> Result<Restarted> {
    {
        let mut comings = fleet.tally.comings();
        comings.attempts.clear();
        comings.welcomes.clear();
        comings.failures.clear();
    }
    let began = Instant::now();
    site.end(signal).await?;
    let gone = began.elapsed();
    site.start().await?;
    let ready = began.elapsed();
    let mut back = welcomed(fleet);
    while back.len() < fleet.size {
        ensure!(
            began.elapsed() < PATIENCE,
            "{} of {} agents are back after {PATIENCE:?}: {:?}",
            back.len(),
            fleet.size,
            fleet.tally.comings().failures
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        back = welcomed(fleet);
    }
    back.sort_unstable();
    let comings = fleet.tally.comings();
    let mut seconds = BTreeMap::<u64, usize>::new();
    for attempt in &comings.attempts {
        *seconds.entry((*attempt - began).as_secs()).or_default() += 1;
    }
    Ok(Restarted {
        gone,
        ready,
        half_back: back[back.len() / 2] - began,
        last_back: back[back.len() - 1] - began,
        attempts: comings.attempts.len(),
        peak: seconds.into_values().max().unwrap_or(0),
    })
}

fn welcomed(fleet: &Fleet) -> Vec<Instant> {
    fleet.tally.comings().welcomes.values().copied().collect()
}
