//! What the tracking of botnets takes: `cargo xtask bench botnet`.
//!
//! Exit status 1 when the books do not balance; figures beyond their limits are only shown.

mod bare;
mod bench;
mod books;
mod disk;
mod http;
mod ingest;
#[path = "../fleet/machine.rs"]
mod machine;
mod made;
mod options;
#[path = "../fleet/packed.rs"]
mod packed;
#[path = "../fleet/process.rs"]
#[expect(dead_code, reason = "shared with the benchmark of fleets")]
mod process;
mod queries;
mod rebuild;
mod report;
#[path = "../fleet/site.rs"]
#[expect(dead_code, reason = "shared with the benchmark of fleets")]
mod site;
mod times;
mod tracker;
#[path = "../fleet/wal.rs"]
mod wal;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    bench::Bench,
    options::{Options, Part},
};

/// The logs that are sent are made on every thread, and should take little from the server.
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
    let bench = Bench::start(options.clone()).await?;
    report::machine(&bench.pool).await?;
    if options.wants(Part::Ingest) {
        ingest::run(&bench).await?;
    }
    if options.wants(Part::Rebuild) || options.wants(Part::Queries) {
        made::prepare(&bench).await?;
        for size in options.sizes() {
            made::fill(&bench, size).await?;
        }
        made::settle(&bench).await?;
    }
    if options.wants(Part::Rebuild) {
        rebuild::run(&bench).await?;
    }
    if options.wants(Part::Queries) {
        queries::run(&bench).await?;
    }
    Ok(())
}
