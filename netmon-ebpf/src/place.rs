//! Where the ICMP message of a packet is, as one number.
//!
//! Errors about NTP are found by a function that knows where to look: were it to follow VLAN tags and
//! extension headers again, the verifier would too, for each way that leads there.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use netmon_common::packet::{Addresses, Fragment, IpHeader, Link, ethertype, protocol};

/// Nothing to look for.
const NONE: u64 = 0;

// Offset of the network layer, offset of the message, VLAN identifiers, IP version.
const MESSAGE: u32 = 8;
const OUTER: u32 = 24;
const INNER: u32 = 36;
const IS_IPV6: u32 = 48;

/// The place in the packet under work.
#[map]
static PLACE: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Notes what the parser has found.
#[inline(always)]
pub fn note(link: &Link, ip: &IpHeader) {
    // Asked of the protocol, not of the class made of it: what a class was compared with, the
    // verifier has to remember for every way that leads to one.
    let is_icmp = match ip.addresses {
        Addresses::V4(..) => ip.protocol == protocol::ICMP,
        Addresses::V6(..) => ip.protocol == protocol::ICMPV6,
    };
    if is_icmp && !matches!(ip.fragment, Fragment::Later) {
        write(pack(link, ip));
    }
}

/// Forgets what was noted of another packet.
#[inline(always)]
pub fn forget() {
    write(NONE);
}

#[inline(always)]
fn write(place: u64) {
    if let Some(slot) = PLACE.get_ptr_mut(0) {
        // SAFETY: the map returned a valid pointer to this CPU's value; softirqs are off.
        unsafe { *slot = place };
    }
}

#[inline(always)]
fn pack(link: &Link, ip: &IpHeader) -> u64 {
    (link.network_offset as u64 & 0xff)
        | (ip.offset as u64 & 0xffff) << MESSAGE
        | u64::from(link.vlans[0] & 0xfff) << OUTER
        | u64::from(link.vlans[1] & 0xfff) << INNER
        | u64::from(matches!(ip.addresses, Addresses::V6(..))) << IS_IPV6
}

/// What was noted: the link layer, the protocol, and where its message starts. The verifier knows
/// nothing of the numbers, and looks once at what comes after, not once for every offset.
#[inline(always)]
pub fn noted() -> Option<(Link, u8, usize)> {
    let slot = PLACE.get_ptr(0)?;
    // SAFETY: as above.
    let place = unsafe { *slot };
    if place == NONE {
        return None;
    }
    let (ethertype, protocol) = if place >> IS_IPV6 & 1 == 0 {
        (ethertype::IPV4, protocol::ICMP)
    } else {
        (ethertype::IPV6, protocol::ICMPV6)
    };
    let link = Link {
        ethertype,
        network_offset: (place & 0xff) as usize,
        vlans: [
            (place >> OUTER & 0xfff) as u16,
            (place >> INNER & 0xfff) as u16,
        ],
    };
    Some((link, protocol, (place >> MESSAGE & 0xffff) as usize))
}
