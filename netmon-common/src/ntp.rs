//! The Network Time Protocol on the wire (RFC 5905).

mod header;
mod timestamp;

pub use header::{Header, Malformed, Mode};
pub use timestamp::{NtpDuration, NtpTimestamp};

/// The UDP port of NTP.
pub const PORT: u16 = 123;
