//! Canonical flow keys.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::packet::{Network, Packet};

/// One of a flow's two endpoints, by the order of their addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// The lower endpoint.
    Low = 0,
    /// The higher one.
    High = 1,
}

/// Key of the IPv4 flow maps. Much shorter than that of IPv6: hashing is most of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct FlowKey4 {
    /// Address of the lower endpoint.
    pub low: [u8; 4],
    /// Address of the higher endpoint.
    pub high: [u8; 4],
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
    /// 0: every octet of a key counts. (Not an array: the compiler would clear it by a loop, which
    /// the verifier refuses without `CAP_PERFMON`.)
    pub reserved: u8,
    /// 0.
    pub reserved_too: u16,
}

/// Key of the IPv6 flow maps; fields as in [`FlowKey4`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
#[expect(missing_docs, reason = "documented at FlowKey4")]
pub struct FlowKey6 {
    pub low: [u8; 16],
    pub high: [u8; 16],
    pub low_port: u16,
    pub high_port: u16,
    pub ifindex: u32,
    pub vlans: [u16; 2],
    pub protocol: u8,
    pub reserved: u8,
    pub reserved_too: u16,
}

const _: () = assert!(size_of::<FlowKey4>() == 24);
const _: () = assert!(size_of::<FlowKey6>() == 48);

impl FlowKey4 {
    /// From the octets of the kernel's key, or `None` if they are not one.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        Self::read_from_bytes(octets).ok()
    }

    /// The key of a packet, and which side has sent it.
    #[inline(always)]
    pub fn new(
        source: ([u8; 4], u16),
        destination: ([u8; 4], u16),
        ifindex: u32,
        vlans: [u16; 2],
        protocol: u8,
    ) -> (Self, Side) {
        // One comparison of 48 bits: address before port.
        let from = (u32::from_be_bytes(source.0) as u64) << 16 | source.1 as u64;
        let to = (u32::from_be_bytes(destination.0) as u64) << 16 | destination.1 as u64;
        let (low, high, side) = if from <= to {
            (source, destination, Side::Low)
        } else {
            (destination, source, Side::High)
        };
        let words = [
            double(u32::from_ne_bytes(low.0), u32::from_ne_bytes(high.0)),
            double(word(low.1, high.1), ifindex),
            double(word(vlans[0], vlans[1]), word(half(protocol), 0)),
        ];
        // In whole words: a processor waits when it reads more at once than was written at once, and
        // the hash function reads words.
        let key = zerocopy::transmute!(words);
        (key, side)
    }
}

impl FlowKey6 {
    /// From the octets of the kernel's key, or `None` if they are not one.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        Self::read_from_bytes(octets).ok()
    }

    /// The key of a packet, and which side has sent it.
    #[inline(always)]
    pub fn new(
        source: ([u8; 16], u16),
        destination: ([u8; 16], u16),
        ifindex: u32,
        vlans: [u16; 2],
        protocol: u8,
    ) -> (Self, Side) {
        let words = |address: [u8; 16]| -> [u64; 2] { zerocopy::transmute!(address) };
        Self::of_words(
            (words(source.0), source.1),
            (words(destination.0), destination.1),
            ifindex,
            vlans,
            protocol,
        )
    }

    /// As [`FlowKey6::new`], of addresses as two words in memory: the kernel moves them whole.
    #[inline(always)]
    pub fn of_words(
        source: ([u64; 2], u16),
        destination: ([u64; 2], u16),
        ifindex: u32,
        vlans: [u16; 2],
        protocol: u8,
    ) -> (Self, Side) {
        let [from, to] = [source, destination]
            .map(|([upper, lower], port)| (u64::from_be(upper), u64::from_be(lower), port));
        // Written out: tuples compare by calls that kernel programs do not have.
        let from_low = if from.0 != to.0 {
            from.0 < to.0
        } else if from.1 != to.1 {
            from.1 < to.1
        } else {
            from.2 <= to.2
        };
        let (low, high, side) = if from_low {
            (source, destination, Side::Low)
        } else {
            (destination, source, Side::High)
        };
        let words = [
            low.0[0],
            low.0[1],
            high.0[0],
            high.0[1],
            double(word(low.1, high.1), ifindex),
            double(word(vlans[0], vlans[1]), word(half(protocol), 0)),
        ];
        let key = zerocopy::transmute!(words);
        (key, side)
    }
}

/// Two numbers as they stand side by side in memory.
#[inline(always)]
pub(crate) const fn double(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        first as u64 | (second as u64) << 32
    } else {
        (first as u64) << 32 | second as u64
    }
}

/// As [`double`].
#[inline(always)]
const fn word(first: u16, second: u16) -> u32 {
    if cfg!(target_endian = "little") {
        first as u32 | (second as u32) << 16
    } else {
        (first as u32) << 16 | second as u32
    }
}

/// An octet with a zero behind it.
#[inline(always)]
const fn half(octet: u8) -> u16 {
    u16::from_ne_bytes([octet, 0])
}

/// A key of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// IPv4.
    V4(FlowKey4),
    /// IPv6.
    V6(FlowKey6),
}

impl FlowKey {
    /// The key of a packet, and which side has sent it; `None`: it is not IP. Later fragments have
    /// no ports: theirs is the flow with ports 0.
    #[inline(always)]
    pub fn of(packet: &Packet, ifindex: u32) -> Option<(Self, Side)> {
        let (from, to) = packet.ports().unwrap_or((0, 0));
        let (vlans, protocol) = (packet.vlans, packet.protocol);
        match packet.network {
            Network::V4 {
                source,
                destination,
            } => {
                let (key, side) =
                    FlowKey4::new((source, from), (destination, to), ifindex, vlans, protocol);
                Some((Self::V4(key), side))
            }
            Network::V6 {
                source,
                destination,
            } => {
                let (key, side) =
                    FlowKey6::new((source, from), (destination, to), ifindex, vlans, protocol);
                Some((Self::V6(key), side))
            }
            Network::Other { .. } => None,
        }
    }

    /// Address of an endpoint.
    pub fn address(&self, side: Side) -> IpAddr {
        match (self, side) {
            (Self::V4(key), Side::Low) => Ipv4Addr::from(key.low).into(),
            (Self::V4(key), Side::High) => Ipv4Addr::from(key.high).into(),
            (Self::V6(key), Side::Low) => Ipv6Addr::from(key.low).into(),
            (Self::V6(key), Side::High) => Ipv6Addr::from(key.high).into(),
        }
    }

    /// Port of an endpoint; 0 where there are no ports.
    pub const fn port(&self, side: Side) -> u16 {
        match (self, side) {
            (Self::V4(key), Side::Low) => key.low_port,
            (Self::V4(key), Side::High) => key.high_port,
            (Self::V6(key), Side::Low) => key.low_port,
            (Self::V6(key), Side::High) => key.high_port,
        }
    }

    /// The interface's index.
    pub const fn ifindex(&self) -> u32 {
        match self {
            Self::V4(key) => key.ifindex,
            Self::V6(key) => key.ifindex,
        }
    }

    /// VLAN identifiers, outer first; 0 = none.
    pub const fn vlans(&self) -> [u16; 2] {
        match self {
            Self::V4(key) => key.vlans,
            Self::V6(key) => key.vlans,
        }
    }

    /// IP protocol number.
    pub const fn protocol(&self) -> u8 {
        match self {
            Self::V4(key) => key.protocol,
            Self::V6(key) => key.protocol,
        }
    }
}

impl Side {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }

    /// From its number; any other number is [`Side::High`].
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Low,
            _ => Self::High,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_and_its_answer_have_one_key() {
        let (client, server) = (([198, 18, 0, 9], 40_000), ([198, 18, 0, 2], 53));
        let (there, sender) = FlowKey4::new(client, server, 3, [0; 2], 17);
        let (back, answerer) = FlowKey4::new(server, client, 3, [0; 2], 17);
        assert_eq!(there, back);
        assert_eq!((sender, answerer), (Side::High, Side::Low));
        assert_eq!(there.low, server.0);
    }

    #[test]
    fn ports_decide_between_equal_addresses() {
        let address = [0xfd; 16];
        let (key, side) = FlowKey6::new((address, 9), (address, 7), 1, [5, 0], 6);
        assert_eq!((key.low_port, key.high_port, side), (7, 9, Side::High));
    }

    #[test]
    fn addresses_of_ipv6_compare_as_numbers() {
        let mut lower = [0; 16];
        let mut higher = [0; 16];
        for position in 0..16 {
            higher[position] = 1;
            let (key, side) = FlowKey6::new((higher, 1), (lower, 2), 1, [0; 2], 6);
            assert_eq!((key.low, side), (lower, Side::High), "{position}");
            lower[position] = 1;
        }
    }
}
