//! An exchange as one sensor saw it.

use std::net::SocketAddr;

/// Which row it is, and its place in lists: time (µs since 1970), agent, epoch, sequence, ordinal.
pub type RowKey = (i64, i64, i64, i64, i32);

/// Where a sensor looked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub agent: i64,
    pub interface: String,
    /// Outer and inner VLAN identifier; 0: none.
    pub vlans: (i32, i32),
}

/// The 5-tuple, the protocol being UDP, as it stood at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    pub client: SocketAddr,
    pub server: SocketAddr,
}

/// On which end of the path a sensor is, as its agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vantage {
    /// On the client.
    Client,
    /// In between, or nobody knows.
    Transit,
    /// On the server.
    Server,
}

/// What the sensor's kernel said of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Nothing: the agent is too old.
    Unknown,
    /// Nobody keeps it.
    Unsynchronised,
    /// It is kept, and off by so much at most; `None`: the bound was not told.
    Synchronised { maximum_error_ns: Option<u64> },
}

/// One row.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub key: RowKey,
    pub place: Place,
    pub path: Path,
    pub matched: String,
    pub vantage: Vantage,
    pub clock: Clock,
    /// Nanoseconds since 1970 by the sensor's wall clock.
    pub requested_at_ns: Option<i64>,
    pub answered_at_ns: Option<i64>,
    /// The request's transmit timestamp; of a response whose request was not seen its origin
    /// timestamp, which repeats it.
    pub cookie: u64,
    /// The server's T2 and T3, raw; 0 is none.
    pub receive_timestamp: u64,
    pub transmit_timestamp: u64,
    /// By the monotonic clock.
    pub response_time_ns: Option<i64>,
    pub server_processing_ns: Option<i64>,
    /// The server's clock minus the sensor's, of this exchange and no other.
    pub offset_ns: Option<i64>,
    pub offset_error_ns: Option<u64>,
    /// The sensor's clock was stepped between request and response.
    pub clock_stepped: bool,
    pub request_ttl: Option<i16>,
}

impl Sighting {
    /// Microseconds since 1970.
    pub fn at_us(&self) -> i64 {
        self.key.0
    }

    /// What no other exchange has: the request's cookie and the server's two timestamps. `None` as
    /// long as there is no answer that says when it was given.
    pub(super) fn identity(&self) -> Option<(u64, u64, u64)> {
        let (received, sent) = (self.receive_timestamp, self.transmit_timestamp);
        (received != 0 && sent != 0).then_some((self.cookie, received, sent))
    }

    /// Whether the identity holds without the addresses: its cookie says something, and the answer
    /// has timestamps of its own (a kiss-o'-death may repeat the cookie instead).
    pub(super) fn outlives_translation(&self) -> bool {
        self.cookie != 0 && self.receive_timestamp != self.cookie
    }
}
