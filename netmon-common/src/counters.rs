//! Packet counters: the value of the kernel's `COUNTERS` map and its key.

use core::{
    iter::Sum,
    ops::{Add, AddAssign},
};

/// Which way a packet crosses an interface, as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Received by the host.
    Ingress = 0,
    /// Sent by the host.
    Egress = 1,
}

impl Direction {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The name used in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// What a packet counts as, one of nine: IP version and transport.
///
/// Later fragments count by the protocol number that they carry. A packet whose network layer cannot
/// be followed (see [`Loss`](crate::loss::Loss)) counts as another transport of its IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// TCP over IPv4.
    Ipv4Tcp = 0,
    /// UDP over IPv4.
    Ipv4Udp = 1,
    /// ICMP.
    Ipv4Icmp = 2,
    /// Anything else over IPv4.
    Ipv4Other = 3,
    /// TCP over IPv6.
    Ipv6Tcp = 4,
    /// UDP over IPv6.
    Ipv6Udp = 5,
    /// ICMPv6.
    Ipv6Icmp = 6,
    /// Anything else over IPv6.
    Ipv6Other = 7,
    /// Neither IPv4 nor IPv6, or a frame whose link layer cannot be read.
    NotIp = 8,
}

impl Class {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Ipv4Tcp,
        Self::Ipv4Udp,
        Self::Ipv4Icmp,
        Self::Ipv4Other,
        Self::Ipv6Tcp,
        Self::Ipv6Udp,
        Self::Ipv6Icmp,
        Self::Ipv6Other,
        Self::NotIp,
    ];
}

/// An interface and a direction in one word: a key of the kernel's maps.
///
/// A plain integer, so that user space needs no unsafe trait implementation to use it as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct CounterKey(pub u64);

impl CounterKey {
    /// The key of an interface in one direction.
    #[inline(always)]
    pub const fn new(ifindex: u32, direction: Direction) -> Self {
        Self(((ifindex as u64) << 1) | direction as u64)
    }

    /// Interfaces with a lower index have their places in arrays.
    pub const FIRST_HIGH_INDEX: u32 = 256;

    /// Slots of an array: two for each such interface.
    pub const SLOTS: u32 = 2 * Self::FIRST_HIGH_INDEX;

    /// The place in an array; `None`: the index is too high, a hash has it.
    #[inline(always)]
    pub const fn slot(self) -> Option<u32> {
        if self.0 < Self::SLOTS as u64 {
            Some(self.0 as u32)
        } else {
            None
        }
    }

    /// The key of one class of packets.
    #[inline(always)]
    pub const fn of(self, class: Class) -> ClassKey {
        self.of_number(class as u8)
    }

    /// As [`Self::of`], of the class with this number.
    #[inline(always)]
    pub const fn of_number(self, class: u8) -> ClassKey {
        ClassKey(self.0 * Class::ALL.len() as u64 + class as u64)
    }
}

/// Key of the counter maps: interface, direction and class in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ClassKey(pub u64);

impl ClassKey {
    /// Slots of the `COUNTERS` array.
    pub const SLOTS: u32 = CounterKey::SLOTS * Class::ALL.len() as u32;

    /// The place in the `COUNTERS` array; `None`: the index is too high, the hash has it.
    #[inline(always)]
    pub const fn slot(self) -> Option<u32> {
        if self.0 < Self::SLOTS as u64 {
            Some(self.0 as u32)
        } else {
            None
        }
    }
}

/// What has passed an interface in one direction, or one class of it; never decreases while the key lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Socket buffers: what `/sys/class/net/*/statistics` calls packets.
    pub packets: u64,
    /// Octets of those buffers from the link-layer header on, with a stripped VLAN tag added back.
    pub bytes: u64,
    /// Packets on the wire: a GSO or GRO buffer counts as its segments.
    pub wire_packets: u64,
    /// Octets on the wire: every segment with headers of its own.
    pub wire_bytes: u64,
}

const _: () = assert!(size_of::<Counters>() == 32);

impl Counters {
    /// From the words of the kernel map's value.
    pub const fn from_words([packets, bytes, wire_packets, wire_bytes]: [u64; 4]) -> Self {
        Self {
            packets,
            bytes,
            wire_packets,
            wire_bytes,
        }
    }

    /// What was added since `earlier`, or `None` if any counter went back.
    pub fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            packets: self.packets.checked_sub(earlier.packets)?,
            bytes: self.bytes.checked_sub(earlier.bytes)?,
            wire_packets: self.wire_packets.checked_sub(earlier.wire_packets)?,
            wire_bytes: self.wire_bytes.checked_sub(earlier.wire_bytes)?,
        })
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
            wire_packets: self.wire_packets.wrapping_add(other.wire_packets),
            wire_bytes: self.wire_bytes.wrapping_add(other.wire_bytes),
        }
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// The counters of one direction, by IP version and by transport.
///
/// `ipv4`, `ipv6` and `other` together are all packets; `tcp`, `udp`, `icmp` and `other_transport`
/// together are those of `ipv4` and `ipv6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// IPv4.
    pub ipv4: Counters,
    /// IPv6.
    pub ipv6: Counters,
    /// Neither: ARP, PPPoE's own traffic, frames whose link layer cannot be read.
    pub other: Counters,
    /// TCP.
    pub tcp: Counters,
    /// UDP.
    pub udp: Counters,
    /// ICMP over IPv4 and ICMPv6 over IPv6.
    pub icmp: Counters,
    /// IP with another transport, or with one that cannot be found.
    pub other_transport: Counters,
}

impl Split {
    /// From the counters of every class, in the order of [`Class::ALL`].
    pub fn from_classes(classes: [Counters; Class::ALL.len()]) -> Self {
        let of = |wanted: &[Class]| wanted.iter().map(|class| classes[*class as usize]).sum();
        use Class::*;
        Self {
            ipv4: of(&[Ipv4Tcp, Ipv4Udp, Ipv4Icmp, Ipv4Other]),
            ipv6: of(&[Ipv6Tcp, Ipv6Udp, Ipv6Icmp, Ipv6Other]),
            other: of(&[NotIp]),
            tcp: of(&[Ipv4Tcp, Ipv6Tcp]),
            udp: of(&[Ipv4Udp, Ipv6Udp]),
            icmp: of(&[Ipv4Icmp, Ipv6Icmp]),
            other_transport: of(&[Ipv4Other, Ipv6Other]),
        }
    }

    /// All packets.
    pub fn total(&self) -> Counters {
        self.ipv4 + self.ipv6 + self.other
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn every_class_of_every_direction_has_a_key_of_its_own() {
        let mut keys = std::collections::BTreeSet::new();
        for ifindex in 0..CounterKey::FIRST_HIGH_INDEX {
            for direction in Direction::ALL {
                for class in Class::ALL {
                    keys.insert(CounterKey::new(ifindex, direction).of(class).0);
                }
            }
        }
        let slots = u64::from(ClassKey::SLOTS);
        assert!(keys.into_iter().eq(0..slots), "the array without a hole");
    }

    #[test]
    fn high_indices_have_no_slot() {
        let slots = |ifindex| {
            let key = CounterKey::new(ifindex, Direction::Ingress);
            (key.slot().is_some(), key.of(Class::NotIp).slot().is_some())
        };
        assert_eq!(slots(CounterKey::FIRST_HIGH_INDEX - 1), (true, true));
        assert_eq!(slots(CounterKey::FIRST_HIGH_INDEX), (false, false));
        assert_eq!(slots(u32::MAX), (false, false));
    }

    #[test]
    fn the_list_of_classes_is_in_the_order_of_their_numbers() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
    }

    #[test]
    fn both_ways_to_split_add_up() {
        let mut bit = 0;
        let split = Split::from_classes(Class::ALL.map(|_| {
            bit = if bit == 0 { 1 } else { bit << 1 };
            Counters::from_words([bit; 4])
        }));
        assert_eq!(split.total(), Counters::from_words([0x1ff; 4]));
        assert_eq!(
            split.tcp + split.udp + split.icmp + split.other_transport,
            split.ipv4 + split.ipv6
        );
        assert_eq!(split.tcp.packets, 0b0001_0001);
    }

    #[test]
    fn a_counter_that_went_back_has_no_delta() {
        let earlier = Counters::from_words([5, 500, 5, 500]);
        let later = Counters::from_words([6, 499, 6, 600]);
        assert_eq!(later.since(earlier), None);
        assert_eq!(
            Counters::from_words([6, 600, 7, 700]).since(earlier),
            Some(Counters::from_words([1, 100, 2, 200]))
        );
    }
}
