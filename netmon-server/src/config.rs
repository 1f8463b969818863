//! What can be configured, with its defaults; see `docs/examples/netmon-server.toml`.

mod botnets;
mod geo;
mod load;
mod secret;
mod validate;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use self::{
    botnets::Botnets,
    geo::Geo,
    load::{ENV_PREFIX, Overrides, load},
    secret::Secret,
};

/// The whole configuration. Every key has a default; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the server keeps its certificates and, unless `database.url` is set, its database.
    pub data_dir: PathBuf,
    /// The REST interface, the metrics and the web page.
    pub http: Http,
    /// Where agents connect.
    pub quic: Quic,
    /// Where rows are stored.
    pub database: Database,
    /// How batches of several agents are stored together.
    pub ingest: Ingest,
    /// How long rows are kept.
    pub retention: Retention,
    /// When rows are summed up.
    pub rollup: RollUp,
    /// The audit as a job.
    pub audit: Audit,
    /// What happens when space on disk is short.
    pub disk: Disk,
    /// Botnets: how long what is kept, and how often it is looked after.
    pub botnets: Botnets,
    /// Where addresses are.
    pub geo: Geo,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What is logged and how.
    pub log: Log,
}

/// The HTTP listener.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and TCP port; a loopback address, since requests are not authenticated.
    pub listen: SocketAddr,
}

/// The QUIC listener.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quic {
    /// Address and UDP port.
    pub listen: SocketAddr,
    /// How often the server looks whether its certificate was replaced or is to be renewed.
    #[serde(with = "humantime_serde")]
    pub certificate_check_interval: Duration,
}

/// The database: an external PostgreSQL by its URL, or one the server manages itself.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host:port/database`; none: the server runs its own PostgreSQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret>,
    /// Most connections that store rows; requests have a few of their own.
    pub max_connections: u32,
    /// Directory of `postgres` and `initdb` for the managed database; none: searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bin_dir: Option<PathBuf>,
}

/// When a group of batches is complete, which one transaction stores.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// How long a batch may wait for others to join it; zero: not at all.
    #[serde(with = "humantime_serde")]
    pub flush_interval: Duration,
    /// Rows of a group, about.
    pub flush_rows: usize,
    /// Octets of its messages, about.
    pub flush_bytes: usize,
}

/// How long rows are kept.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Samples and NTP exchanges; partitions older than this are dropped whole.
    #[serde(with = "humantime_serde")]
    pub raw: Duration,
    /// Sums by minute.
    #[serde(with = "humantime_serde")]
    pub minutes: Duration,
    /// Sums by hour.
    #[serde(with = "humantime_serde")]
    pub hours: Duration,
    /// Single rows of the ledger of batches; afterwards the number up to which all are in stands for
    /// them.
    #[serde(with = "humantime_serde")]
    pub ledger: Duration,
}

/// When rows are summed up by minute and by hour.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollUp {
    /// So long after its end an hour is rolled up; what comes later is late and rolls it up again.
    #[serde(with = "humantime_serde")]
    pub lateness: Duration,
    /// Late rows wait for more of their hour until none came for so long, and no longer than fifteen
    /// times that.
    #[serde(with = "humantime_serde")]
    pub quiet: Duration,
}

/// The proof from the data as a job.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// How often one of the servers audits the recent past; 0: never.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
}

/// What happens when space on disk is short.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disk {
    /// Free space of the managed database's file system below which the server warns, per cent.
    pub warn_free_percent: f64,
    /// Size of an external database above which the server warns, octets; 0: never.
    pub max_database_bytes: u64,
    /// Whether raw partitions are then dropped before the end of their retention.
    pub shorten_raw: bool,
    /// Raw rows younger than this are never dropped for space.
    #[serde(with = "humantime_serde")]
    pub min_raw: Duration,
}

/// What `/metrics` shows.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Most interfaces, over all agents, with counters of their own.
    pub max_interface_series: usize,
    /// Most file systems and temperature sensors, over all agents, with series of their own.
    pub max_system_series: usize,
    /// NTP servers with series of their own.
    pub ntp_servers: Vec<IpAddr>,
}

/// What is logged and how; the log goes to standard error.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// `tracing` directives, such as `info` or `netmon_server::ingest=debug,info`.
    pub filter: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/netmon-server"),
            http: Http::default(),
            quic: Quic::default(),
            database: Database::default(),
            ingest: Ingest::default(),
            retention: Retention::default(),
            rollup: RollUp::default(),
            audit: Audit::default(),
            disk: Disk::default(),
            botnets: Botnets::default(),
            geo: Geo::default(),
            metrics: Metrics::default(),
            log: Log::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        }
    }
}

impl Default for Quic {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8082)),
            certificate_check_interval: Duration::from_secs(60),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            max_connections: 10,
            bin_dir: None,
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        let flush = crate::ingest::Limits::default().flush;
        Self {
            flush_interval: flush.interval,
            flush_rows: flush.rows,
            flush_bytes: flush.bytes,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            raw: Duration::from_secs(7 * 24 * 60 * 60),
            minutes: Duration::from_secs(30 * 24 * 60 * 60),
            hours: Duration::from_secs(400 * 24 * 60 * 60),
            ledger: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Default for RollUp {
    fn default() -> Self {
        Self {
            lateness: Duration::from_secs(5 * 60),
            quiet: Duration::from_secs(60),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60 * 60),
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            warn_free_percent: 10.0,
            max_database_bytes: 0,
            shorten_raw: false,
            min_raw: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            max_interface_series: 1000,
            max_system_series: 1000,
            ntp_servers: Vec::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

impl Config {
    /// The configuration as TOML, secrets redacted.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named on the command line cannot be read.
    #[error("cannot read the configuration file {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A key is unknown, or its value cannot be understood.
    #[error("{0}")]
    Refused(String),
    /// The value of a key is outside of its range.
    #[error("{key} {problem}")]
    Invalid {
        /// The key, with dots.
        key: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
}
