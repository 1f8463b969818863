//! The document. Fields are only added while [`VERSION`] stays; what a reader does not know it skips.

use std::collections::BTreeMap;

use netmon_common::counters::Counters;
use serde::{Deserialize, Serialize};

/// Of the document's form.
pub const VERSION: u32 = 1;

/// How the agent is. Moments are nanoseconds since 1970 by the agent's wall clock, totals are since
/// its start unless they say otherwise.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Report {
    /// [`VERSION`].
    pub format: u32,
    /// The agent's release.
    pub version: String,
    /// Its process.
    pub process_id: u32,
    /// The number of this run.
    pub epoch: u64,
    /// When the document was made.
    pub at_unix_ns: i64,
    /// Whether the agent ends: nothing is watched any more, and what is not stored yet is handed over.
    #[serde(default)]
    pub ending: bool,
    /// How long the agent has run.
    pub uptime_ns: u64,
    /// What is wrong now, a sentence each; empty: healthy.
    pub problems: Vec<String>,
    /// What is not as it could be, and no fault of the agent.
    pub notices: Vec<String>,
    /// The server.
    pub server: Connection,
    /// Watched interfaces.
    pub interfaces: Vec<Interface>,
    /// Further ones that are watched.
    pub interfaces_left_out: usize,
    /// Interfaces that should be watched and are not.
    pub not_attached: Vec<Failure>,
    /// Named network namespaces that are to be watched too.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// Failed attempts to attach, by cause.
    pub attach_failures: BTreeMap<String, u64>,
    /// Packets that were or may have been NTP and did not become an event, by cause, since the
    /// programs were loaded.
    pub losses: BTreeMap<String, u64>,
    /// The ring of NTP events, if it can be seen.
    pub ring: Option<Ring>,
    /// Taking events from it.
    pub drain: Drain,
    /// The kernel's map of flows, if flows are counted.
    pub flows: Option<Flows>,
    /// The watch list, if there may be one.
    #[serde(default)]
    pub watch: Option<Watch>,
    /// Batches that wait.
    pub spool: Spool,
    /// The host's wall clock, as the kernel sees it.
    pub clock: Clock,
    /// The kernel programs.
    pub programs: Vec<Program>,
    /// Whether the administrator has the kernel measure all programs.
    pub program_statistics: bool,
}

/// The server, or the last one there was.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Connection {
    /// Whether it is connected.
    pub connected: bool,
    /// As it is configured.
    pub address: Option<String>,
    /// Its release.
    pub version: Option<String>,
    /// Since when it is connected, or no longer.
    pub since_unix_ns: Option<i64>,
    /// When it last said what it has stored.
    pub acknowledged_unix_ns: Option<i64>,
    /// Why it is not connected.
    pub last_error: Option<String>,
}

/// A watched interface.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// How the programs are attached.
    pub attach_mode: String,
    /// When this agent began to watch it.
    pub since_unix_ns: i64,
    /// Received, since the programs were attached.
    pub ingress: Crossed,
    /// Sent, likewise.
    pub egress: Crossed,
}

/// What has crossed an interface one way.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Crossed {
    /// Socket buffers.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
    /// Packets on the wire.
    pub wire_packets: u64,
    /// Octets on the wire.
    pub wire_bytes: u64,
}

/// A named network namespace that is to be watched.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Whether it is there and watched.
    pub watched: bool,
    /// How many interfaces are watched in it.
    pub interfaces: usize,
    /// Why it is not watched although it is there.
    pub error: Option<String>,
}

/// An interface that should be watched.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Failure {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// As in `attach_failures`.
    pub cause: String,
    /// The last attempt's error.
    pub error: String,
}

/// The ring of NTP events.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
pub struct Ring {
    /// Its size, octets.
    pub capacity_bytes: u64,
    /// What waits in it.
    pub used_bytes: u64,
    /// The most that waited when the agent came to take it.
    pub peak_bytes: u64,
}

/// Turns of taking events.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Drain {
    /// How many.
    pub turns: u64,
    /// Their mean length.
    pub mean_ns: u64,
    /// The longest.
    pub longest_ns: u64,
}

/// The kernel's map of flows.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Flows {
    /// Flows in it.
    pub entries: u64,
    /// Room for so many.
    pub capacity: u64,
    /// Pushed out by newer ones.
    pub evicted: u64,
    /// Packets that are in no flow.
    pub untracked: u64,
}

/// The watch list in force.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Watch {
    /// Addresses and prefixes, each once.
    pub entries: u64,
    /// Of the agent's own file.
    pub own: u64,
    /// Of the server's list.
    pub served: u64,
    /// When the server put its list together; none: it never told one.
    pub served_unix_ns: Option<i64>,
    /// Entries of the server's list that the kernel has no room for.
    pub left_out: u64,
    /// Flows with an address of the server's list, each once an hour.
    pub flows: u64,
}

/// Batches the server has not stored.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Spool {
    /// How many.
    pub batches: u64,
    /// Their octets.
    pub bytes: u64,
    /// When the oldest was closed.
    pub oldest_unix_ns: Option<i64>,
    /// Of these, on no disk.
    pub in_memory: u64,
    /// Octets of the files.
    pub disk_bytes: u64,
    /// Batches given up, for any cause.
    pub given_up: u64,
    /// Batches the server refused for good.
    pub refused: u64,
}

/// The wall clock.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Clock {
    /// Whether some time daemon keeps it.
    pub synchronised: bool,
    /// Upper bound of its error.
    pub maximum_error_us: u64,
    /// The daemon's estimate.
    pub estimated_error_us: u64,
}

/// A kernel program, with what the kernel measures while statistics are on.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The kernel's number of it.
    pub id: u32,
    /// Measured runs.
    pub runs: u64,
    /// Their time together.
    pub run_time_ns: u64,
}

impl From<Counters> for Crossed {
    fn from(counters: Counters) -> Self {
        Self {
            packets: counters.packets,
            bytes: counters.bytes,
            wire_packets: counters.wire_packets,
            wire_bytes: counters.wire_bytes,
        }
    }
}
