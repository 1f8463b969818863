//! The sensors one after the other under the same flood, in rounds.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail, ensure};

use crate::{
    contender::Kind,
    frames,
    options::Options,
    process::{self, Usage},
    report,
    site::{self, Site},
};

/// Before a sensor's books are read: it may have something in its buffers.
const SETTLE: Duration = Duration::from_millis(700);

/// A sensor in a round.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Packets a second that were sent.
    pub rate: f64,
    /// The same as a part of what is sent without any sensor.
    pub kept: f64,
    /// CPU time of a packet from the sender through the receiving stack.
    pub path_ns: f64,
    pub arrived: u64,
    pub seen: u64,
    pub dropped: Option<u64>,
    /// CPU as parts of a core, and the most memory in MB; of a sensor.
    pub process: Option<(Usage, f64)>,
}

impl Measured {
    pub fn share(&self) -> f64 {
        self.seen as f64 / self.arrived.max(1) as f64
    }

    pub fn usage(&self) -> Usage {
        self.process.map(|(usage, _)| usage).unwrap_or_default()
    }

    pub fn peak(&self) -> f64 {
        self.process.map_or(0.0, |(_, peak)| peak)
    }
}

pub fn run(site: &mut Site, options: &Options) -> Result<()> {
    report::comparison(options);
    let frames = frames::flows(options.flows);
    // The first flood of all fills caches and pools.
    site.flood
        .send_for(&frames, Duration::from_millis(500), site::sending_cpu())?;
    let mut measured: BTreeMap<usize, Vec<Measured>> = BTreeMap::new();
    let mut failures = BTreeMap::new();
    for _ in 0..options.rounds() {
        let mut undisturbed = None;
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            // The measure of all others.
            let wanted = kind == Kind::None || options.wants_sensor(kind);
            if !wanted || failures.contains_key(&place) {
                continue;
            }
            match round(site, kind, &frames, options.window(), undisturbed) {
                Ok(round) => {
                    undisturbed.get_or_insert(round.rate);
                    measured.entry(place).or_default().push(round);
                }
                // Somebody else's program may be missing, or fail.
                Err(failure) if !kind.is_netmon() && kind != Kind::None => {
                    failures.insert(place, format!("{failure:#}"));
                }
                Err(failure) => return Err(failure.context(kind.name())),
            }
            site::pause(Duration::ZERO)?;
        }
    }
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        if let Some(failure) = failures.get(&place) {
            report::failed(kind.name(), failure);
        } else if let Some(rounds) = measured.get(&place) {
            report::compared(kind.name(), rounds);
        }
    }
    println!("  limits: netmon sees 100 % and takes at most 1 % of a core in user space");
    balance(&measured)
}

/// Every packet that arrived was seen by netmon, in every round.
fn balance(measured: &BTreeMap<usize, Vec<Measured>>) -> Result<()> {
    for (place, rounds) in measured {
        let kind = Kind::ALL[*place];
        for round in rounds {
            ensure!(
                !kind.is_netmon() || round.seen == round.arrived,
                "the books do not balance: {} saw {} of {} packets",
                kind.name(),
                round.seen,
                round.arrived
            );
        }
    }
    Ok(())
}

fn round(
    site: &mut Site,
    kind: Kind,
    frames: &[Vec<u8>],
    window: Duration,
    undisturbed: Option<f64>,
) -> Result<Measured> {
    let running = kind.start(site)?;
    site::pause(SETTLE)?;
    let arrived_before = site.arrived()?;
    let group = running.as_ref().map(|running| running.group());
    let usage = || group.map(process::usage).transpose();
    let usage_before = usage()?;
    let sent = site.flood.send_for(frames, window, site::sending_cpu())?;
    let usage_after = usage()?;
    site::pause(SETTLE)?;
    let arrived = site.arrived()? - arrived_before;
    let peak = group.map(|group| process::memory(group, "VmHWM"));
    let peak = peak.transpose()?.unwrap_or(0) as f64 / 1e6;
    let used = usage_before.zip(usage_after);
    let used = used.map(|(before, after)| ((after - before) / sent.elapsed, peak));
    let claim = running.map(|running| running.finish(arrived)).transpose()?;
    if sent.frames == 0 || arrived == 0 {
        bail!("nothing was sent");
    }
    Ok(Measured {
        rate: sent.rate(),
        kept: undisturbed.map_or(1.0, |rate| sent.rate() / rate),
        path_ns: sent.cpu.as_secs_f64() * 1e9 / sent.frames as f64,
        arrived,
        seen: claim.map_or(0, |claim| claim.seen),
        dropped: claim.and_then(|claim| claim.dropped),
        process: used,
    })
}
