//! What the kernel programs cost, and the agent beside other sensors: `cargo xtask bench sensor`.
//!
//! Exit status 1 when the books do not balance; figures beyond their limits are only shown.

mod agent;
mod compare;
mod contender;
mod costs;
mod drain;
mod frames;
mod interrupt;
mod memory;
mod options;
mod pmacct;
mod process;
mod report;
mod ring;
mod site;
mod softflowd;
mod tcpdump;
mod tool;

use anyhow::Result;
use clap::Parser as _;

use crate::{
    options::{Options, Part},
    site::Site,
};

fn main() -> Result<()> {
    let options = Options::parse();
    interrupt::listen()?;
    report::machine();
    programs(&options)?;
    if options.wants(Part::Comparison) || options.wants(Part::Memory) {
        let mut site = Site::new()?;
        if options.wants(Part::Comparison) {
            compare::run(&mut site, &options)?;
        }
        if options.wants(Part::Memory) {
            memory::run(&mut site, &options)?;
        }
    }
    Ok(())
}

/// Without a network.
fn programs(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    let rounds = options.test_rounds();
    if options.wants(Part::Costs) || options.wants(Part::Ring) {
        let mut sensor = costs::counting()?;
        if options.wants(Part::Costs) {
            costs::measure(&mut sensor, rounds)?;
        }
        if options.wants(Part::Ring) {
            ring::measure(&mut sensor)?;
        }
    }
    if options.wants(Part::Flows) {
        let mut sensor = costs::with_flows()?;
        costs::measure_flows(&mut sensor, rounds)?;
        drain::measure(&mut sensor)?;
    }
    Ok(())
}
