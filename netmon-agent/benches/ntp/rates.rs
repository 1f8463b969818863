//! The highest rate at which the agent loses nothing.

use anyhow::{Result, ensure};

use crate::{
    agent::{Agent, Detail},
    books::difference,
    options::Options,
    process, report,
    site::Site,
    traffic::Traffic,
};

/// Requests a second.
const RATES: [u32; 9] = [
    10_000, 20_000, 30_000, 40_000, 60_000, 80_000, 100_000, 150_000, 200_000,
];

/// Tries rising rates until something is lost. The inner result says whether the books balance.
pub fn run(site: &mut Site, options: &Options) -> Result<Result<()>> {
    site.start_server()?;
    let agent = Agent::start(site, Detail::Exchanges)?;
    site.stop_server();
    report::rates(options);
    let mut best: Option<f64> = None;
    let mut unaccounted = 0;
    for rate in RATES {
        let before = agent.books()?;
        let arrived_before = site.arrived()?;
        let usage_before = process::usage(agent.id())?;
        let sent = site.send(Traffic::pace(rate, options.step()))?;
        let usage = (process::usage(agent.id())? - usage_before) / sent.elapsed;
        let arrived = site.arrived()? - arrived_before;
        let books = agent.books()?.since(&before);
        report::rate(rate, &sent, arrived, &books, usage);
        unaccounted += difference(arrived, books.taken() + books.lost()).abs();
        if books.lost() > 0 {
            break;
        }
        // It may be less than was wanted.
        best = Some(best.unwrap_or(0.0).max(sent.rate() / 2.0));
    }
    let best = best.map_or("below the first".to_owned(), |best| format!("{best:.0}"));
    report::figure("highest of these without a loss, requests/s", best, None);
    agent.kill()?;
    Ok(balance(unaccounted))
}

fn balance(unaccounted: i64) -> Result<()> {
    ensure!(
        unaccounted == 0,
        "the books do not balance: {unaccounted} packets are unaccounted for in the rates"
    );
    Ok(())
}
