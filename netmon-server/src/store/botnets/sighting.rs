//! Who was seen when.

use std::net::IpAddr;

use netmon_geo::Place;
use time::OffsetDateTime;

/// One accepted line of a log, or what a sensor reports of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// The node's; IPv4 addresses mapped into IPv6 are taken as IPv4.
    pub address: IpAddr,
    /// When.
    pub seen_at: OffsetDateTime,
    /// The node's port, where it is known.
    pub port: Option<u16>,
    /// Where the address is; matters when the node is new.
    pub place: Place,
    /// How many sightings it counts as: 1, or 0 for what is added to one that was counted before.
    pub count: u32,
    /// What a sensor measured.
    pub traffic: Option<Traffic>,
}

/// Packets and octets between a watched address and a host that a sensor sees; what came since the
/// last report of the flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The port on the host's side; `None`: the protocol has none.
    pub local_port: Option<u16>,
    /// Packets from the node.
    pub inbound_packets: u64,
    /// Octets from the node.
    pub inbound_bytes: u64,
    /// Packets to the node.
    pub outbound_packets: u64,
    /// Octets to the node.
    pub outbound_bytes: u64,
}

impl Sighting {
    /// A line of a log.
    pub fn new(address: IpAddr, seen_at: OffsetDateTime, port: Option<u16>, place: Place) -> Self {
        Self {
            address,
            seen_at,
            port,
            place,
            count: 1,
            traffic: None,
        }
    }
}
