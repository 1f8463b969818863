//! What the benchmark can be told.

use std::path::{Path, PathBuf};

use clap::Parser;

/// Logs of botnets to a real server with a real PostgreSQL; full counts, and questions.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask bench botnet --")]
pub struct Options {
    /// A short run: a quarter of the lines, a million nodes at most
    #[arg(long)]
    pub quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Distinct addresses in the logs
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(10_000..=20_000_000))]
    pub addresses: Option<u32>,
    /// Nodes of the largest family that is counted and searched; ten million need 8 GB on disk
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(10_000..=10_000_000))]
    pub max_nodes: Option<u32>,
    /// Another server program than the one that is built with this
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Lines stored by one and by four clients, beside bare COPY; octets on disk
    Ingest,
    /// The full count of families up to the largest, with readers beside it
    Rebuild,
    /// Statistics and look-ups over HTTP
    Queries,
}

/// A family that is filled by SQL.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub family: &'static str,
    pub nodes: u32,
}

impl Options {
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// The server's program.
    pub fn program(&self) -> &Path {
        let built = Path::new(env!("CARGO_BIN_EXE_netmon-server"));
        self.server.as_deref().unwrap_or(built)
    }

    /// How many addresses the logs are about.
    pub fn addresses(&self) -> u32 {
        let default = if self.quick { 250_000 } else { 1_000_000 };
        self.addresses.unwrap_or(default)
    }

    /// The families that are counted, ascending.
    pub fn sizes(&self) -> Vec<Size> {
        let default = if self.quick { 1_000_000 } else { 10_000_000 };
        let most = self.max_nodes.unwrap_or(default);
        let sizes = [
            ("asruex", 10_000),
            ("andromeda", 100_000),
            ("ramnit", 1_000_000),
            ("mozi", 10_000_000),
        ]
        .map(|(family, nodes)| Size { family, nodes });
        sizes
            .into_iter()
            .filter(|size| size.nodes <= most)
            .collect()
    }
}
