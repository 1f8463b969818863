//! NTP at the highest rate: what the agent keeps up with, and tcpdump and tshark beside it:
//! `cargo xtask bench ntp`.
//!
//! Exit status 1 when the books do not balance; figures beyond their limits are only shown.

mod agent;
mod books;
mod decoders;
mod flood;
#[path = "../sensor/interrupt.rs"]
mod interrupt;
mod options;
#[path = "../sensor/process.rs"]
mod process;
mod rates;
mod report;
mod site;
#[path = "../sensor/tool.rs"]
mod tool;
mod traffic;

use anyhow::Result;
use clap::Parser as _;

use crate::{
    agent::Detail,
    options::{Options, Part},
    site::Site,
};

fn main() -> Result<()> {
    let options = Options::parse();
    interrupt::listen()?;
    let mut site = Site::new(&options)?;
    report::machine(&options);
    // Everything is shown before a balance that is out ends the run.
    let mut balances = Vec::new();
    if options.wants(Part::Rates) {
        balances.push(rates::run(&mut site, &options)?);
    }
    for detail in Detail::ALL {
        if options.wants(Part::of(detail)) {
            balances.push(flood::run(&mut site, &options, detail)?);
        }
    }
    if options.wants(Part::Decoders) {
        decoders::run(&mut site, &options)?;
    }
    balances.into_iter().collect()
}
