//! Faults at random moments under traffic, and the books afterwards.
//!
//! The seed decides which faults come, when and for how long; what they meet is left to the
//! machine, so that the same seed is a similar run, not the same one.

mod books;
mod duplicates;
mod fault;
mod kernel;
mod site;
mod traffic;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{fault::Fault, site::Site};

/// What `chaos` can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Faults, or pairs of them, to go through
    #[arg(long, default_value_t = 50)]
    pub rounds: u32,
    /// Decides what happens and when
    #[arg(long, default_value_t = 20_261_121)]
    pub seed: u64,
    /// Pin the kernel's maps and programs: then not even a killed agent misses a packet
    #[arg(long)]
    pub pin: bool,
    /// Leave the logs and data in this directory instead of removing them
    #[arg(long, value_name = "DIR")]
    pub keep: Option<std::path::PathBuf>,
}

/// Goes through all rounds, lets everything come to rest, and checks the books.
///
/// # Errors
/// When something does not come back, or the books do not balance; the logs' last lines go with it.
pub fn run(options: &Options) -> Result<()> {
    let Options {
        rounds, seed, pin, ..
    } = *options;
    println!("chaos: {rounds} rounds, seed {seed}, pin = {pin}");
    let mut random = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    let mut site = Site::start(options)?;
    let outcome = rounds_of(&mut site, &mut random, rounds)
        .and_then(|()| site.come_to_rest())
        .and_then(|()| books::check(&mut site));
    let outcome = outcome.with_context(|| site.logs());
    if let Ok(report) = &outcome {
        println!("{report}");
        println!(
            "chaos: clean after {rounds} rounds in {:.0?}",
            started.elapsed()
        );
    }
    outcome.map(drop)
}

fn rounds_of(site: &mut Site, random: &mut StdRng, rounds: u32) -> Result<()> {
    for round in 1..=rounds {
        thread::sleep(pause(random, 50, 700));
        let first = Fault::any(random);
        let second = random.random_bool(0.35).then(|| Fault::any(random));
        let second = second.filter(|second| *second != first);
        let hold = pause(random, 100, 2500);
        let offset = pause(random, 0, 600);
        let and = second.map(|fault| format!(" and {fault}"));
        println!(
            "round {round:>3}/{rounds}: {first}{}, {hold:.1?}",
            and.unwrap_or_default()
        );
        first.strike(site, random)?;
        if let Some(second) = second {
            thread::sleep(offset);
            second.strike(site, random)?;
        }
        thread::sleep(hold);
        first.heal(site)?;
        if let Some(second) = second {
            second.heal(site)?;
        }
        site.still_there()?;
    }
    Ok(())
}

fn pause(random: &mut StdRng, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(random.random_range(from_ms..=to_ms))
}
