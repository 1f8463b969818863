//! Packet counters: the value of the kernel's `COUNTERS` map and its key.

use core::ops::{Add, AddAssign};

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

/// Key of the counter maps: interface and direction in one word.
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

    /// Slots of the `COUNTERS` array: two for each interface index below 1024.
    pub const SLOTS: u32 = 2048;

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

/// What has passed an interface in one direction; never decreases while the key lives.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_two_directions_differ() {
        assert_ne!(
            CounterKey::new(7, Direction::Ingress),
            CounterKey::new(7, Direction::Egress)
        );
        assert_ne!(
            CounterKey::new(7, Direction::Ingress),
            CounterKey::new(8, Direction::Ingress)
        );
    }

    #[test]
    fn low_indices_have_a_slot_of_their_own() {
        let slot = |ifindex, direction| CounterKey::new(ifindex, direction).slot();
        assert_eq!(slot(0, Direction::Ingress), Some(0));
        assert_eq!(slot(1023, Direction::Egress), Some(CounterKey::SLOTS - 1));
        assert_eq!(slot(1024, Direction::Ingress), None);
        assert_eq!(slot(u32::MAX, Direction::Egress), None);
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
