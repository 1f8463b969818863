//! The agent's configuration: defaults, then a TOML file, then the environment, then flags.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use figment::{
    Figment,
    providers::{Env, Format as _, Serialized, Toml},
};
use ipnetwork::IpNetwork;
use netmon_common::ntp::NtpPorts;
use serde::{Deserialize, Serialize};

mod address_or_off;
mod check;
mod days;
mod duration_or_off;
mod ntp_ports;
mod path_or_off;
mod socket_place;
mod sync_policy;

pub use self::socket_place::SocketPlace;
use crate::{ntp::fold::Detail, sensor::Hook, spool::SyncPolicy};

/// Environment variables: `NETMON_AGENT__SERVER__MAX_RETRY=3` sets `server.max_retry`.
const ENVIRONMENT_PREFIX: &str = "NETMON_AGENT__";

/// What keeps files of its own on a device of the host, and can be full.
const LOCAL_FILE_SYSTEMS: [&str; 12] = [
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "vfat", "xfs",
    "zfs",
];

/// Everything that can be set. See `docs/examples/netmon-agent.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A name for people; empty means the hostname.
    pub alias: String,
    /// How often the counters are read.
    #[serde(with = "humantime_serde")]
    pub sample_interval: Duration,
    /// How often the newest values are reported.
    #[serde(with = "humantime_serde")]
    pub report_interval: Duration,
    /// How much time one stored frame of samples covers.
    #[serde(with = "humantime_serde")]
    pub frame_interval: Duration,
    /// How long a stop may take to hand over what is not stored yet.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
    /// Which interfaces are watched.
    pub interfaces: Interfaces,
    /// Pairing of NTP requests and responses.
    pub ntp: Ntp,
    /// Flows.
    pub flows: Flows,
    /// Addresses to look out for.
    pub watch: Watch,
    /// What the host is busy with.
    pub system: System,
    /// How records are batched.
    pub batch: Batch,
    /// How batches are kept until they are stored.
    pub spool: Spool,
    /// Where the records go.
    pub server: Server,
    /// The agent's own metrics.
    pub metrics: Metrics,
    /// Where it can be asked how it is.
    pub status: Status,
    /// The kernel programs.
    pub sensor: Sensor,
    /// The agent's log.
    pub log: Log,
}

/// Which interfaces are watched: those that are included, not excluded, and have an address in one of
/// the prefixes, where there are any.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interfaces {
    /// Default: every name.
    pub include: Vec<String>,
    /// Default: `lo`.
    pub exclude: Vec<String>,
    /// Prefixes of addresses; none: any interface, with or without addresses.
    pub cidr: Vec<IpNetwork>,
    /// Named network namespaces (ip-netns(8)) whose interfaces are watched too.
    pub namespaces: Vec<String>,
}

impl Interfaces {
    /// Whether addresses decide which are watched: only then somebody needs to look at them.
    pub fn minds_addresses(&self) -> bool {
        !self.cidr.is_empty()
    }
}

/// Settings of the pairing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ntp {
    /// UDP ports of servers, up to eight; none: NTP is not looked for.
    #[serde(with = "ntp_ports")]
    pub ports: NtpPorts,
    /// A request without a response for this long is unanswered; 1 s to 60 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Most requests remembered at a time; the oldest go for further ones, and are counted.
    pub max_pending: usize,
    /// Most pairs of client and server with running figures; those silent for longest go.
    pub max_associations: usize,
    /// Whether every exchange becomes a record, or those of a client and a server together.
    pub detail: Detail,
    /// Exchanges a second above which they are folded, if that is automatic.
    pub fold_above: u32,
    /// How long the exchanges of a client and a server are counted together; an hour is a multiple.
    #[serde(with = "humantime_serde")]
    pub fold_window: Duration,
    /// Most folds in memory; the oldest window ends early for further ones.
    pub max_folds: usize,
}

/// Settings of the flows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flows {
    /// Whether flows are kept at all.
    pub enabled: bool,
    /// Most flows of a family, in each of the kernel's maps and in the agent.
    pub max_entries: u32,
    /// How often the kernel's maps are drained.
    #[serde(with = "humantime_serde")]
    pub drain_interval: Duration,
    /// A flow without a packet for this long has ended.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// A longer flow becomes a record each time this is over.
    #[serde(with = "humantime_serde")]
    pub active_timeout: Duration,
}

/// Settings of the watch list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Addresses and prefixes, one a line; the empty string: none.
    #[serde(with = "path_or_off")]
    pub file: Option<PathBuf>,
    /// Whether addresses are watched that the server tells, and sightings of them sent to it.
    pub server: bool,
}

/// Settings of the readings of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// How often the host is read; `off`: never.
    #[serde(with = "duration_or_off")]
    pub interval: Option<Duration>,
    /// The kernel's names of the types of file systems whose space is looked at.
    pub file_systems: Vec<String>,
}

/// Settings of the batches.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// A batch is sealed at this many records …
    pub max_records: usize,
    /// … or at this age.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
}

/// Where batches wait for the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spool {
    /// A directory of the agent's own; the empty string keeps batches in memory only.
    #[serde(with = "path_or_off")]
    pub directory: Option<PathBuf>,
    /// Most memory, in bytes, for batches that are on no disk; above it the least valuable go.
    pub memory_bytes: u64,
    /// Most bytes of files; above it the least valuable go.
    pub max_bytes: u64,
    /// No batch is kept for longer.
    #[serde(with = "days")]
    pub max_age: Duration,
    /// When what was written must have reached the disk.
    #[serde(with = "sync_policy")]
    pub sync: SyncPolicy,
}

/// The server and how to reach it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `host:port` of one or more servers, tried in order.
    pub addresses: Vec<String>,
    /// Folder with `ca.pem`, `agent.pem` and `agent-key.pem` from `netmon-server issue-agent`.
    pub identity: PathBuf,
    /// First pause between connection attempts; it doubles up to `max_retry_interval`.
    #[serde(with = "humantime_serde")]
    pub retry_interval: Duration,
    /// Longest pause between connection attempts.
    #[serde(with = "humantime_serde")]
    pub max_retry_interval: Duration,
    /// Give up after this many failed attempts in a row; 0 = never.
    pub max_retry: u32,
    /// The first attempt after a connection that ended comes at any time up to this.
    #[serde(with = "humantime_serde")]
    pub reconnect_spread: Duration,
    /// How often a connected agent looks for a renewed certificate.
    #[serde(with = "humantime_serde")]
    pub certificate_check_interval: Duration,
}

/// Where Prometheus scrapes the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// A loopback address; the empty string turns the metrics off.
    #[serde(with = "address_or_off")]
    pub listen: Option<SocketAddr>,
}

/// Where the agent can be asked how it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The Unix socket of `netmon-agent status`.
    pub socket: SocketPlace,
}

/// Settings of the kernel programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensor {
    /// Size of the ring buffer for NTP events, bytes: a power of two and a multiple of the page.
    pub ring_bytes: u32,
    /// Let the kernel programs log every lost packet (slow: for finding out why).
    pub log: bool,
    /// Go on counting while no agent runs: programs and maps stay in the kernel.
    pub pin: bool,
    /// Folder on a BPF file system for what is pinned.
    pub pin_directory: PathBuf,
    /// Where the programs are attached.
    pub hook: Hook,
    /// Of classic filters: lower ones run first.
    pub filter_priority: u16,
    /// Shell patterns over the names of interfaces whose ingress is counted by XDP.
    pub xdp: Vec<String>,
    /// Take generic XDP where the driver has no native one.
    pub xdp_generic: bool,
}

/// What is logged and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A tracing filter, such as `info` or `netmon_agent=debug`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Unreadable, ill-formed, or with an unknown key.
    #[error("{0}")]
    Source(#[from] Box<figment::Error>),
    /// The named file is not there.
    #[error("configuration file {0} does not exist")]
    Missing(PathBuf),
    /// A value outside its range.
    #[error("{key} is {value}, but {rule}")]
    Value {
        /// The key, dotted.
        key: &'static str,
        /// What was set.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            alias: String::new(),
            sample_interval: Duration::from_millis(500),
            report_interval: Duration::from_secs(1),
            frame_interval: Duration::from_secs(16),
            shutdown_timeout: Duration::from_secs(30),
            interfaces: Interfaces {
                include: vec!["*".into()],
                exclude: vec!["lo".into()],
                cidr: vec![],
                namespaces: vec![],
            },
            ntp: Ntp {
                ports: NtpPorts::default(),
                timeout: Duration::from_secs(5),
                max_pending: 65_536,
                max_associations: 16_384,
                detail: Detail::Automatic,
                fold_above: 2000,
                fold_window: Duration::from_secs(300),
                max_folds: 65_536,
            },
            flows: Flows {
                enabled: true,
                max_entries: 131_072,
                drain_interval: Duration::from_secs(5),
                idle_timeout: Duration::from_secs(30),
                active_timeout: Duration::from_secs(300),
            },
            watch: Watch {
                file: None,
                server: true,
            },
            system: System {
                interval: Some(Duration::from_secs(10)),
                file_systems: LOCAL_FILE_SYSTEMS.map(str::to_owned).into(),
            },
            batch: Batch {
                max_records: 1000,
                max_age: Duration::from_secs(1),
            },
            spool: Spool {
                directory: Some("/var/lib/netmon-agent/spool".into()),
                memory_bytes: 64 << 20,
                max_bytes: 1 << 30,
                max_age: Duration::from_secs(60 * 24 * 3600),
                sync: SyncPolicy::Within(Duration::from_secs(1)),
            },
            server: Server {
                addresses: vec!["127.0.0.1:8082".into()],
                identity: "/etc/netmon/agent".into(),
                retry_interval: Duration::from_secs(1),
                max_retry_interval: Duration::from_secs(20),
                max_retry: 0,
                reconnect_spread: Duration::from_secs(3),
                certificate_check_interval: Duration::from_secs(60),
            },
            metrics: Metrics {
                listen: Some(SocketAddr::from(([127, 0, 0, 1], 9642))),
            },
            status: Status {
                socket: SocketPlace::WithSpool,
            },
            sensor: Sensor {
                ring_bytes: 4 << 20,
                log: false,
                pin: false,
                pin_directory: "/sys/fs/bpf/netmon".into(),
                hook: Hook::Auto,
                filter_priority: 1,
                xdp: Vec::new(),
                xdp_generic: false,
            },
            log: Log {
                format: LogFormat::Text,
                filter: "info".into(),
            },
        }
    }
}

impl Config {
    /// Reads all sources and checks every value. `flags` holds only what was given.
    pub fn load(file: Option<&PathBuf>, flags: Figment) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                return Err(ConfigError::Missing(file.clone()));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        let figment = figment
            .merge(Env::prefixed(ENVIRONMENT_PREFIX).split("__"))
            .merge(flags);
        let config: Self = figment.extract().map_err(Box::new)?;
        config.check()?;
        Ok(config)
    }

    /// Where the status socket is, if there is one.
    pub fn status_socket(&self) -> Option<PathBuf> {
        self.status.socket.path(self.spool.directory.as_deref())
    }

    /// As TOML. The agent's configuration holds no secret: the key stays in its own file.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

#[cfg(test)]
mod tests;
