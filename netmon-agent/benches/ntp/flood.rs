//! The agent under the flood, and where every packet went.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use netmon_lab::{flood::Sent, wait_until};

use crate::{
    agent::{Agent, Detail},
    books::{Books, difference},
    options::Options,
    process::{self, Usage},
    report,
    site::{INTERFACE, Site, pause},
    traffic::Traffic,
};

/// A request is given up after `ntp.timeout`, 5 s by default.
const OUTSTANDING: Duration = Duration::from_secs(10);
/// How long the server may take to store everything.
const STORING: Duration = Duration::from_secs(90);
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
const COUNT: &str = "select (select count(*) from ntp_exchanges), \
                     (select coalesce(sum(exchanges), 0) from ntp_folds), \
                     (select count(*) from ntp_folds)";

/// What was measured while packets came.
pub struct Measured {
    pub sent: Sent,
    pub arrived: u64,
    pub usage: Usage,
    /// Resident memory before, octets; after a third of the time; and in the end.
    pub resident: [u64; 3],
    pub peak: u64,
    /// Of its maps in the kernel, octets, where the kernel tells.
    pub maps: Option<u64>,
    /// Most requests that were remembered, as far as was looked.
    pub remembered: u64,
    /// Once nothing was outstanding any more.
    pub books: Books,
    /// Exchanges that were stored whole, that were stored in folds, and these folds; none if the
    /// server was not done in time.
    pub stored: Option<[u64; 3]>,
    pub storing: Duration,
}

/// Floods an agent. The inner result says whether the books balance.
pub fn run(site: &mut Site, options: &Options, detail: Detail) -> Result<Result<()>> {
    site.start_server()?;
    let stored_before = site.stored(COUNT)?;
    let agent = Agent::start(site, detail)?;
    site.stop_server();
    report::flood(options, detail);
    let arrived_before = site.arrived()?;
    let mut measured = while_flooded(site, options, &agent)?;
    measured.arrived = site.arrived()? - arrived_before;
    // What is out of balance is told by whoever compares.
    let _ = wait_until(OUTSTANDING, "outstanding requests", || {
        let books = agent.books().ok()?;
        let is_settled = books.astray() == 0 && books.recorded() == books.to_store();
        is_settled.then_some(())
    });
    measured.books = agent.books()?;
    pause(Duration::ZERO)?;
    store(site, agent, &stored_before, &mut measured)?;
    report::flooded(&measured);
    Ok(balance(&measured))
}

fn while_flooded(site: &mut Site, options: &Options, agent: &Agent) -> Result<Measured> {
    let window = options.window();
    let resident = || process::memory(agent.id(), "VmRSS");
    let before = resident()?;
    let usage_before = process::usage(agent.id())?;
    let (mut third, mut remembered) = (None, 0);
    let sent = thread::scope(|scope| -> Result<Sent> {
        let began = Instant::now();
        let sending = scope.spawn(|| site.send(Traffic::pace(options.rate, window)));
        while !sending.is_finished() {
            thread::sleep(SAMPLE_INTERVAL.min(window / 4));
            if third.is_none() && began.elapsed() >= window / 3 {
                third = Some(resident()?);
            }
            let now = agent.books()?.one("ntp_requests_remembered");
            remembered = remembered.max(now);
        }
        sending.join().expect("sending does not panic")
    })?;
    let usage = (process::usage(agent.id())? - usage_before) / sent.elapsed;
    let after = resident()?;
    Ok(Measured {
        sent,
        arrived: 0,
        usage,
        resident: [before, third.unwrap_or(after), after],
        peak: process::memory(agent.id(), "VmHWM")?,
        maps: process::maps(agent.id()).ok(),
        remembered,
        books: Books::default(),
        stored: None,
        storing: Duration::ZERO,
    })
}

/// Lets the server come back and store what waits in the spool.
fn store(site: &mut Site, agent: Agent, before: &[u64], measured: &mut Measured) -> Result<()> {
    site.start_server()?;
    let began = Instant::now();
    let stored = wait_until(STORING, "the spool to be empty", || {
        (agent.books().ok()?.one("spool_batches") == 0).then_some(())
    });
    if stored.is_ok() {
        agent.stop()?;
        let now = site.stored(COUNT)?;
        measured.stored = Some([0, 1, 2].map(|at| now[at] - before[at]));
    } else {
        measured.books = agent.books()?;
        agent.kill()?;
    }
    measured.storing = began.elapsed();
    site.stop_server();
    Ok(())
}

/// Every packet that arrived is in an exchange or counted; every exchange is stored, or counted as
/// given up.
fn balance(measured: &Measured) -> Result<()> {
    let books = &measured.books;
    let packets = difference(measured.arrived, books.taken() + books.lost());
    ensure!(
        packets == 0,
        "the books do not balance: {packets} of {} packets were neither taken nor counted as lost",
        measured.arrived
    );
    let astray = books.astray();
    ensure!(
        astray == 0,
        "the books do not balance: {astray} of {} packets are in no exchange and in no counter",
        books.taken()
    );
    let counted = books.counted(INTERFACE);
    ensure!(
        counted == measured.arrived,
        "the books do not balance: {counted} packets were counted, {} arrived",
        measured.arrived
    );
    let recorded = difference(books.to_store(), books.recorded());
    ensure!(
        recorded == 0,
        "the books do not balance: {recorded} exchanges were not handed over"
    );
    if let Some([whole, folded, _]) = measured.stored {
        let stored = difference(books.to_store(), whole + folded + books.given_up());
        ensure!(
            stored == 0,
            "the books do not balance: {stored} of {} exchanges are not stored",
            books.to_store()
        );
    }
    ensure!(
        books.one("ntp_requests_remembered") <= report::MAX_PENDING,
        "the table of requests is larger than its bound"
    );
    Ok(())
}
