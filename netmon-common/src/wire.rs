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
