//! The messages between agent and server, compiled from `proto/netmon.proto`.
#![allow(
    missing_docs,
    reason = "generated; the .proto file is the documentation"
)]

include!(concat!(env!("OUT_DIR"), "/netmon.v1.rs"));

/// The ALPN protocol identifier (RFC 7301) that agent and server both insist on.
pub const ALPN: &[u8] = b"netmon/1";

/// The name every server certificate carries: agents check it instead of an address, since the
/// CA signs for one deployment only.
pub const SERVER_NAME: &str = "netmon-server";

/// The codes a server closes connections and stops streams with.
pub mod close {
    /// The server ends; go on to another one, or come back later.
    pub const SHUTTING_DOWN: u32 = 0;
    /// The same agent made a newer connection.
    pub const REPLACED: u32 = 1;
    /// The control stream or its Hello did not come in time, or the agent has too many connections
    /// that wait for theirs.
    pub const HELLO_MISSING: u32 = 2;
    /// The control stream carried something else than its messages, or was given up.
    pub const CONTROL_MALFORMED: u32 = 3;
    /// The certificate names no agent.
    pub const IDENTITY: u32 = 4;
    /// A message did not arrive in time; connect again and send what is not acknowledged.
    pub const STALLED: u32 = 5;
    /// On a stream: the message is larger than Welcome allows.
    pub const OVERSIZED: u32 = 6;
}

/// Longest UDP payload, in octets, that agents look for room for on the path: jumbo frames of 9000
/// octets less the headers of IPv6 and UDP. Fewer packets are less work for both sides; a path that
/// has no room shows it by losing nothing but probes (RFC 9000 §14.3).
pub const MAX_UDP_PAYLOAD: u16 = 9000 - 40 - 8;

/// A stream of more bytes than this is refused, whatever is in it.
pub const MAX_UPLINK_BYTES: usize = 1 << 20;

/// Most batches on one stream.
pub const MAX_STREAM_BATCHES: usize = 64;

/// A message on the control stream larger than this many bytes ends the connection.
pub const MAX_CONTROL_BYTES: usize = 64 << 10;

/// Most samples in one [`BandwidthFrame`].
pub const MAX_FRAME_SAMPLES: usize = 60;

/// Most [`NtpWish`]es in an [`NtpMonitoring`]: with the longest names and eight ports each, the
/// message fits the control stream.
pub const MAX_NTP_WISHES: usize = 512;

/// The longest and the shortest [`NtpWish::timeout_ms`].
pub const NTP_TIMEOUT_MS: std::ops::RangeInclusive<u32> = 100..=60_000;

/// Most exchanges in one [`NtpFold`].
pub const MAX_FOLD_EXCHANGES: u32 = 1_000_000;

/// Most counted values in one [`NtpFold`].
pub const MAX_FOLD_VALUES: usize = 128;

/// Most ports in each of the lists of a [`Sighting`].
pub const MAX_SIGHTING_PORTS: usize = 16;

/// Most [`StreamState`]s in a [`Hello`].
pub const MAX_HELLO_STREAMS: usize = 2048;

/// Most entries in the lists of a [`SystemSample`].
pub mod system_limits {
    /// Cores in [`super::CoreTicks`].
    pub const CORES: usize = 512;
    /// Mounted file systems.
    pub const FILE_SYSTEMS: usize = 32;
    /// Block devices.
    pub const BLOCK_DEVICES: usize = 64;
    /// Interfaces with errors.
    pub const INTERFACES: usize = 64;
    /// Temperatures.
    pub const TEMPERATURES: usize = 64;
    /// States of a TCP socket, as many as [`super::Tcp`] lists.
    pub const TCP_STATES: usize = 11;
    /// Octets of a mount point, a device's name or a sensor's.
    pub const NAME_BYTES: usize = 128;
}

/// Every kind of batch an agent makes, the most valuable first: what a full spool gives up last.
pub const KINDS: [Kind; 5] = [
    Kind::Bandwidth,
    Kind::System,
    Kind::Exchanges,
    Kind::Sightings,
    Kind::Flows,
];

impl Kind {
    /// The kind in lower case, as in metrics and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Bandwidth => "bandwidth",
            Self::System => "system",
            Self::Exchanges => "exchanges",
            Self::Flows => "flows",
            Self::Sightings => "sightings",
        }
    }
}
