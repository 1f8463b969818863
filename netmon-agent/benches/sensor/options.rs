//! What the benchmark can be told.

use std::time::Duration;

use clap::Parser;

/// What the kernel programs cost, and the agent beside other sensors at the highest rate.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask bench sensor --")]
pub struct Options {
    /// A short run: one round of two seconds
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Only these sensors, besides none
    #[arg(long, value_enum, value_delimiter = ',')]
    pub sensors: Vec<crate::contender::Kind>,
    /// Rounds of the comparison
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=99))]
    rounds: Option<u8>,
    /// Seconds for which each sensor is flooded in a round
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// Flows that the flood consists of
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub flows: u32,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Nanoseconds per packet of the programs that count, and of NTP
    Costs,
    /// NTP events per second through the ring
    Ring,
    /// Nanoseconds per packet with flows and a watch list; draining 100,000 flows
    Flows,
    /// The agent beside tcpdump, softflowd and pmacct
    Comparison,
    /// The agent's memory with 100,000 flows
    Memory,
}

impl Options {
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub fn wants_sensor(&self, kind: crate::contender::Kind) -> bool {
        self.sensors.is_empty() || self.sensors.contains(&kind)
    }

    pub fn rounds(&self) -> usize {
        self.rounds
            .map_or(if self.quick { 1 } else { 3 }, usize::from)
    }

    /// By default longer than the agent's interval of draining flows.
    pub fn window(&self) -> Duration {
        let default = if self.quick { 2 } else { 6 };
        Duration::from_secs(self.seconds.unwrap_or(default))
    }

    /// Rounds of test runs.
    pub fn test_rounds(&self) -> usize {
        if self.quick { 3 } else { 9 }
    }
}
