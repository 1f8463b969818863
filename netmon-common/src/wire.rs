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

/// An [`Uplink`] message larger than this many bytes is refused.
pub const MAX_UPLINK_BYTES: usize = 1 << 20;

/// A message on the control stream larger than this many bytes ends the connection.
pub const MAX_CONTROL_BYTES: usize = 64 << 10;

/// Most samples in one [`BandwidthFrame`].
pub const MAX_FRAME_SAMPLES: usize = 60;

/// Most [`StreamState`]s in a [`Hello`].
pub const MAX_HELLO_STREAMS: usize = 256;

/// Every kind of batch an agent makes, the most valuable first: what a full spool gives up last.
pub const KINDS: [Kind; 4] = [Kind::Bandwidth, Kind::System, Kind::Exchanges, Kind::Flows];

impl Kind {
    /// The kind in lower case, as in metrics and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Bandwidth => "bandwidth",
            Self::System => "system",
            Self::Exchanges => "exchanges",
            Self::Flows => "flows",
        }
    }
}
