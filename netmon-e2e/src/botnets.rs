//! Logs of botnets, uploaded by several clients while server and PostgreSQL are killed at random
//! moments; after each time everything that is stored is compared with what was sent.
//!
//! The seed decides what is sent, which faults come and when; what they meet is left to the machine,
//! so that the same seed is a similar run, not the same one.

mod answer;
mod books;
mod client;
mod fault;
mod http;
mod ledger;
mod log;
mod site;
mod stored;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{
    books::{Found, Tally},
    client::Clients,
    fault::Fault,
    ledger::Ledger,
    site::Site,
};

/// What `botnets` can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Times that something is killed
    #[arg(long, default_value_t = 30)]
    pub rounds: u32,
    /// Decides what is sent, what is killed and when
    #[arg(long, default_value_t = 20_261_121)]
    pub seed: u64,
    /// Clients that upload at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub clients: u8,
    /// Leave the logs and data in this directory instead of removing them
    #[arg(long, value_name = "DIR")]
    pub keep: Option<std::path::PathBuf>,
}

/// Goes through all rounds, with the books after each, lets every upload come to its end, and checks
/// the books once more.
///
/// # Errors
/// When something does not come back, or the books do not balance; the log's last lines go with it.
pub fn run(options: &Options) -> Result<()> {
    let Options {
        rounds,
        seed,
        clients,
        ..
    } = *options;
    println!("botnets: {rounds} rounds, {clients} clients, seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    let mut site = Site::start(options.keep.as_deref())?;
    let outcome = rounds_of(&mut site, &mut random, options);
    let found = outcome.with_context(|| site.log())?;
    println!("{found}");
    println!(
        "botnets: clean after {rounds} rounds in {:.0?}",
        started.elapsed()
    );
    Ok(())
}

fn rounds_of(site: &mut Site, random: &mut StdRng, options: &Options) -> Result<Tally> {
    let ledger = Arc::new(Ledger::default());
    let mut clients = Clients::start(options.clients, options.seed, site.http(), &ledger);
    let mut tally = Tally::default();
    for round in 1..=options.rounds {
        thread::sleep(pause(random, 50, 1200));
        let fault = Fault::any(random);
        let hold = pause(random, 0, 500);
        let struck = Instant::now();
        let interrupted = ledger.under_way();
        fault.strike(site, random)?;
        thread::sleep(hold);
        fault.heal(site)?;
        site.ready()?;
        let back = struck.elapsed();
        // What is under way goes on; so much would come otherwise that most of the time went into books.
        clients.hold(true);
        let found = books::check(site, &ledger, &interrupted)?;
        clients.hold(false);
        println!(
            "round {round:>3}/{}: {fault}; ready after {back:.1?}; {found}",
            options.rounds
        );
        tally.add(&found);
        clients.still_sending()?;
        site.still_there()?;
    }
    clients.finish()?;
    let rest = books::check(site, &ledger, &[])?;
    ensure!(rest.under_way == 0, "an upload is left over: {rest}");
    tally.finally(&rest, &ledger);
    // A run in which nothing was interrupted would show nothing.
    ensure!(
        options.rounds < Found::ROUNDS_TO_SHOW || tally.shows_something(),
        "no upload was interrupted between its pieces: {tally}"
    );
    site.own_books()?;
    Ok(tally)
}

fn pause(random: &mut StdRng, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(random.random_range(from_ms..=to_ms))
}
