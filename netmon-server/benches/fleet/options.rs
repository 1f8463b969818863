//! What the benchmark can be told.

use std::time::Duration;

use clap::Parser;
use netmon_common::wire::MAX_UDP_PAYLOAD;

/// A thousand simulated agents over real QUIC, a real server, a real PostgreSQL.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask bench fleet --")]
pub struct Options {
    /// A short run: smaller fleets, shorter windows
    #[arg(long)]
    pub quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Sizes of the fleets
    #[arg(long, value_delimiter = ',')]
    pub agents: Vec<usize>,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub window: Option<u64>,
    /// Longest UDP payload the agents try, in octets: 1452 is Ethernet without jumbo frames
    #[arg(long, value_name = "OCTETS", default_value_t = MAX_UDP_PAYLOAD, value_parser = clap::value_parser!(u16).range(1200..=i64::from(MAX_UDP_PAYLOAD)))]
    pub packet: u16,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Memory, time to acknowledgement and CPU at the agents' own pace
    Paced,
    /// Backlogs as fast as they are acknowledged, beside bare COPY
    Saturation,
    /// 100,000 NTP clients, beside the bare upsert
    Upserts,
    /// Bandwidth, exchanges and system samples together
    Mixed,
    /// The server restarted under load
    Restart,
}

impl Options {
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// The sizes of the fleets, ascending.
    pub fn fleets(&self) -> Vec<usize> {
        let mut sizes = match (self.agents.as_slice(), self.quick) {
            ([], false) => vec![10, 100, 1000],
            ([], true) => vec![10, 100],
            (sizes, _) => sizes.to_vec(),
        };
        sizes.sort_unstable();
        sizes
    }

    /// How many agents the largest fleet has.
    pub fn most(&self) -> usize {
        self.fleets().last().copied().unwrap_or(1)
    }

    /// How often the largest fleet is measured.
    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    /// How long one measurement takes.
    pub fn window(&self) -> Duration {
        let default = if self.quick { 4 } else { 15 };
        Duration::from_secs(self.window.unwrap_or(default))
    }
}
