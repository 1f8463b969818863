//! What the parser has found out about a packet that needs it.
//!
//! It is kept in memory, for two reasons. The verifier knows nothing of what is read there, and looks
//! once at what comes after, not once for every way through tags and extension headers. And on the
//! stack it would have to see that nobody reads what only another outcome has set: without
//! `CAP_PERFMON` it follows paths too that only a mistaken processor takes (Spectre), and that of Linux
//! 6.1 refuses the program for what it does not like there.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use netmon_common::{
    counters::Class,
    packet::{Addresses, Fragment, IpHeader, Link, ethertype},
};

use crate::array::Slots as _;

/// What kind of packet it is.
pub mod state {
    /// One that cannot be followed.
    pub const UNPARSED: u8 = 0;
    /// Neither IPv4 nor IPv6.
    pub const NOT_IP: u8 = 1;
    /// IP: the other fields count.
    pub const IP: u8 = 2;
}

/// The outcome.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Place {
    /// Where the packet ends by IP's length field, as [`IpHeader::end`].
    pub end: u64,
    /// Where the network layer starts.
    pub network_offset: u32,
    /// Where the transport header starts.
    pub offset: u32,
    /// As [`Link::vlans`].
    pub vlans: [u16; 2],
    /// See [`state`].
    pub state: u8,
    /// The number of the [`Class`].
    pub class: u8,
    /// As [`IpHeader::protocol`].
    pub protocol: u8,
    /// As [`IpHeader::ttl`].
    pub ttl: u8,
    /// 1: IPv6, else IPv4.
    pub is_ipv6: u8,
    /// 1: the transport header was in another packet.
    pub is_later_fragment: u8,
}

/// Of the packet under work.
#[map]
static PLACE: PerCpuArray<Place> = PerCpuArray::with_max_entries(1, 0);

impl Place {
    /// What was noted.
    #[inline(always)]
    pub fn noted() -> Option<&'static Self> {
        // SAFETY: the map returned a valid pointer to this CPU's value; softirqs are off, and nobody
        // writes while a program reads.
        PLACE.slot(0).map(|place| unsafe { &*place })
    }

    /// Notes that the packet cannot be followed, or is not IP.
    #[inline(always)]
    pub fn note_none(state: u8, class: Class) {
        if let Some(place) = PLACE.slot(0) {
            // SAFETY: as above.
            unsafe {
                (*place).state = state;
                (*place).class = class as u8;
            }
        }
    }

    /// Notes what was found.
    #[inline(always)]
    pub fn note(link: &Link, ip: &IpHeader, class: Class) {
        if let Some(place) = PLACE.slot(0) {
            // SAFETY: as above.
            unsafe {
                (*place).end = ip.end as u64;
                (*place).network_offset = link.network_offset as u32;
                (*place).offset = ip.offset as u32;
                (*place).vlans = link.vlans;
                (*place).protocol = ip.protocol;
                (*place).ttl = ip.ttl;
                (*place).is_ipv6 = u8::from(matches!(ip.addresses, Addresses::V6(..)));
                (*place).is_later_fragment = u8::from(ip.fragment == Fragment::Later);
                (*place).state = state::IP;
                (*place).class = class as u8;
            }
        }
    }

    /// Protocol and offset of the transport header, if there is one in the packet.
    #[inline(always)]
    pub fn transport(&self) -> Option<(u8, usize)> {
        let is_there = self.state == state::IP && self.is_later_fragment == 0;
        is_there.then_some((self.protocol, self.offset as usize))
    }

    /// The network layer of a packet with a transport header, without the addresses.
    #[inline(always)]
    pub fn ip(&self) -> IpHeader {
        IpHeader {
            protocol: self.protocol,
            offset: self.offset as usize,
            fragment: Fragment::Whole,
            addresses: if self.is_ipv6 == 0 {
                Addresses::V4([0; 4], [0; 4])
            } else {
                Addresses::V6([0; 16], [0; 16])
            },
            ttl: self.ttl,
            end: self.end as usize,
        }
    }

    /// The link layer, of IP.
    #[inline(always)]
    pub fn link(&self) -> Link {
        Link {
            ethertype: if self.is_ipv6 == 0 {
                ethertype::IPV4
            } else {
                ethertype::IPV6
            },
            network_offset: self.network_offset as usize,
            vlans: self.vlans,
        }
    }
}
