//! The records of the kernel's `FLOW_EVENTS` ring buffer.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Side, WatchMark};

/// Why the kernel tells of a flow at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlowEventKind {
    /// A flow was born.
    New = 0,
    /// A flow that lived already meets a watch set that has changed.
    Watched = 1,
}

/// A flow that was born, or that is watched from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowEvent {
    /// `CLOCK_MONOTONIC`, up to a tick of the kernel behind, ns.
    pub at_ns: u64,
    /// Address of the lower endpoint; an IPv4 address fills the first four octets.
    pub low: [u8; 16],
    /// Address of the higher endpoint, likewise.
    pub high: [u8; 16],
    /// Port of the lower endpoint; 0 where there are no ports.
    pub low_port: u16,
    /// Port of the higher endpoint.
    pub high_port: u16,
    /// The interface's index.
    pub ifindex: u32,
    /// VLAN identifiers, outer first; 0 = none.
    pub vlans: [u16; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub ip_version: u8,
    /// [`FlowEventKind`] as a number.
    pub kind: u8,
    /// [`Side`] as a number.
    pub initiator: u8,
    /// TCP flags of the packet.
    pub tcp_flags: u8,
    /// A bit for each watched endpoint.
    pub watch: u8,
    /// ICMP type of the packet.
    pub icmp_kind: u8,
    /// ICMP code of the packet.
    pub icmp_code: u8,
    /// 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<FlowEvent>() == 64);

impl FlowEvent {
    /// Reads an event from the bytes of a ring buffer record, or `None` if they are not one.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let event = Self::read_from_bytes(record).ok()?;
        (matches!(event.ip_version, 4 | 6) && event.kind <= 1).then_some(event)
    }

    /// Why it was sent.
    pub const fn kind(&self) -> FlowEventKind {
        match self.kind {
            0 => FlowEventKind::New,
            _ => FlowEventKind::Watched,
        }
    }

    /// Which endpoints are watched.
    pub const fn watch(&self) -> WatchMark {
        WatchMark(self.watch)
    }

    /// Who began.
    pub const fn initiator(&self) -> Side {
        Side::from_number(self.initiator)
    }

    /// Address of an endpoint.
    pub fn address(&self, side: Side) -> IpAddr {
        let octets = match side {
            Side::Low => self.low,
            Side::High => self.high,
        };
        match self.ip_version {
            4 => {
                let [a, b, c, d, ..] = octets;
                Ipv4Addr::new(a, b, c, d).into()
            }
            _ => Ipv6Addr::from(octets).into(),
        }
    }

    /// Port of an endpoint.
    pub const fn port(&self, side: Side) -> u16 {
        match side {
            Side::Low => self.low_port,
            Side::High => self.high_port,
        }
    }
}
