//! What a line turns out to be.

use std::net::IpAddr;

use time::OffsetDateTime;

use crate::reason::Reason;

/// The outcome of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It holds nothing to store, and is not meant to.
    Skipped(Skip),
    /// An address was seen.
    Sighting(Sighting),
    /// It cannot be stored.
    Rejected(Reason),
}

/// Why a line holds nothing to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Nothing or white space.
    Blank,
    /// A comment.
    Comment,
    /// Names of columns; they hold for the lines that follow.
    Header,
}

/// An address was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The node's; an IPv4 address in IPv6 notation is an IPv4 address.
    pub address: IpAddr,
    /// The node's, 1 to 65535.
    pub port: Option<u16>,
    /// In UTC, in whole microseconds; none: the line does not say.
    pub seen_at: Option<OffsetDateTime>,
    /// Where the line says that the node is, ISO 3166-1 alpha-2 in capitals.
    pub country: Option<[u8; 2]>,
}
