//! What the benchmark can be told.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::agent::Detail;

/// NTP requests with their answers over a veth pair: what the agent makes of them at a high rate;
/// tcpdump and tshark on the same traffic.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask bench ntp --")]
pub struct Options {
    /// A short run: three seconds
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Requests a second; each has an answer
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: u32,
    /// Seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// Clients that ask in turn; more than ntp.max_folds are not folded
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub clients: u32,
    /// A directory in memory, for what tcpdump writes
    #[arg(long, default_value = "/dev/shm")]
    pub memory: PathBuf,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The highest rate at which nothing is lost
    Rates,
    /// The flood, every exchange kept whole
    Exchanges,
    /// The flood, exchanges folded by client and server
    Folded,
    /// tcpdump writing the same packets, tshark decoding them
    Decoders,
}

impl Part {
    pub const fn of(detail: Detail) -> Self {
        match detail {
            Detail::Exchanges => Self::Exchanges,
            Detail::Folded => Self::Folded,
        }
    }
}

impl Options {
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How long the agent is flooded.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 3 } else { 30 }))
    }

    /// How long tcpdump is flooded: what it writes is kept in memory.
    pub fn capture_window(&self) -> Duration {
        self.window().min(Duration::from_secs(10))
    }

    /// How long each rate is tried for.
    pub fn step(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 3 })
    }

    /// Packets that tshark decodes.
    pub fn decoded(&self) -> u64 {
        if self.quick { 100_000 } else { 1_000_000 }
    }
}
