//! Which exchanges belong in statistics.

use netmon_common::ntp::Header;

use super::times::{TOLERANCE_NS, Times};

/// A server that may be wrong by more is none (RFC 5905: MAXDISP).
const MAX_ROOT_DISTANCE_NS: u64 = 16_000_000_000;

/// The first reason against an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// There is none.
    Good,
    /// A kiss-o'-death: its timestamps mean nothing.
    KissOfDeath,
    /// Leap indicator 3, or no stratum from 1 to 15.
    ServerUnsynchronised,
    /// T2 or T3 is 0.
    NoServerTime,
    /// The client waits for another answer by then.
    Superseded,
    /// It came after the time-out.
    Late,
    /// Nobody knows whether request and response belong together.
    Weak,
    /// Interleaved, and the exchange that it completes was not seen.
    Interleaved,
    /// T3 − T2 cannot be.
    InvalidServerTime,
    /// The sensor's wall clock was stepped in between.
    ClockStep,
    /// The server's timescale is not the sensor's.
    Timescale,
    /// The server claims to have worked for longer than the exchange took.
    NegativeDelay,
    /// The server may be wrong by 16 s or more.
    RootDistance,
    /// The server's clock was set after it sent the response.
    ReferenceInFuture,
}

impl Gate {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::Good,
        Self::KissOfDeath,
        Self::ServerUnsynchronised,
        Self::NoServerTime,
        Self::Superseded,
        Self::Late,
        Self::Weak,
        Self::Interleaved,
        Self::InvalidServerTime,
        Self::ClockStep,
        Self::Timescale,
        Self::NegativeDelay,
        Self::RootDistance,
        Self::ReferenceInFuture,
    ];

    /// The name used in metrics and as `null_reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::KissOfDeath => "kod",
            Self::ServerUnsynchronised => "server_unsynchronised",
            Self::NoServerTime => "no_server_time",
            Self::Superseded => "superseded",
            Self::Late => "late",
            Self::Weak => "weak",
            Self::Interleaved => "interleaved",
            Self::InvalidServerTime => "invalid_server_time",
            Self::ClockStep => "clock_step",
            Self::Timescale => "timescale",
            Self::NegativeDelay => "negative_delay",
            Self::RootDistance => "root_distance",
            Self::ReferenceInFuture => "reference_in_future",
        }
    }

    /// Looks at what could be measured.
    pub(super) fn of(times: &Times, response: &Header) -> Self {
        let is_set_later = response.version < 5
            && !response.reference_timestamp.is_zero()
            && response
                .transmit_timestamp
                .since(response.reference_timestamp)
                .0
                < 0;
        if times.offset_ns.is_none() {
            Self::Timescale
        } else if times.delay_ns < -TOLERANCE_NS {
            Self::NegativeDelay
        } else if response.root_distance_ns() >= MAX_ROOT_DISTANCE_NS {
            Self::RootDistance
        } else if is_set_later {
            Self::ReferenceInFuture
        } else {
            Self::Good
        }
    }
}
