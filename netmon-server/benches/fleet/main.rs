//! A fleet of simulated agents against a real server: `cargo xtask bench fleet`.
//!
//! Exit status 1 when the books do not balance; figures beyond their limits are only shown.

mod agent;
mod bare;
mod bench;
mod books;
mod disk;
mod exchanges;
mod fleet;
mod herd;
mod host;
mod identity;
mod machine;
mod meter;
mod mixed;
mod options;
mod outbox;
mod paced;
mod packed;
mod policy;
mod process;
mod report;
mod restart;
mod saturation;
mod session;
mod site;
mod source;
mod tally;
mod upserts;
mod wal;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    bench::Bench,
    options::{Options, Part},
};

/// Thousands of simulated agents allocate on every thread, and should take little from the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            // Whatever was started ends as its owner is dropped.
            measured = measure(options) => measured.map(|()| ExitCode::SUCCESS),
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
            _ = terminate.recv() => Ok(ExitCode::from(143)),
        }
    });
    runtime.shutdown_background();
    outcome
}

async fn measure(options: Options) -> Result<()> {
    let mut bench = Bench::start(options.clone()).await?;
    report::machine(&bench.pool, options.packet).await?;
    if options.wants(Part::Paced) {
        paced::run(&bench).await?;
    }
    if options.wants(Part::Saturation) {
        saturation::run(&mut bench).await?;
    }
    if options.wants(Part::Upserts) {
        upserts::run(&bench).await?;
    }
    if options.wants(Part::Mixed) {
        mixed::run(&bench).await?;
    }
    if options.wants(Part::Restart) {
        herd::run(&mut bench).await?;
    }
    Ok(())
}
