//! A flow's value in the space that the agent keeps for each: 72 octets instead of 120.
//!
//! Nothing is rounded. What most flows do not have, the numbers of GSO and GRO buffers, is kept
//! apart by the table.

use netmon_common::flow::{FlowCounters, FlowValue};

/// 48 bits: more packets than pass in the longest active time-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Packets([u16; 3]);

impl Packets {
    const MOST: u64 = (1 << 48) - 1;

    fn new(packets: u64) -> Self {
        let packets = packets.min(Self::MOST);
        Self([0, 16, 32].map(|bits| (packets >> bits) as u16))
    }

    fn number(self) -> u64 {
        let [a, b, c] = self.0.map(u64::from);
        a | b << 16 | c << 32
    }
}

/// What a flow has beyond its buffers, low side first: wire packets, wire bytes.
pub type Segments = [u64; 4];

/// A value without [`Segments`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    bytes: [u64; 2],
    first_seen_ns: u64,
    last_seen_ns: u64,
    /// SYN, SYN-ACK, FIN, RST.
    segments: [u32; 4],
    payload: u32,
    packets: [Packets; 2],
    payload_length: u8,
    tcp_seen: u8,
    icmp_kind: u8,
    icmp_code: u8,
    initiator: u8,
    watch: u8,
}

const _: () = assert!(size_of::<Packed>() == 72);

impl Packed {
    /// The two parts of a value.
    pub fn new(value: &FlowValue) -> (Self, Segments) {
        let sides = [value.low, value.high];
        let packed = Self {
            bytes: sides.map(|side| side.bytes),
            first_seen_ns: value.first_seen_ns,
            last_seen_ns: value.last_seen_ns,
            segments: [value.syn, value.syn_ack, value.fin, value.rst],
            payload: value.payload as u32,
            packets: sides.map(|side| Packets::new(side.packets)),
            payload_length: (value.payload >> 32) as u8,
            tcp_seen: value.tcp_flags(),
            icmp_kind: value.icmp_kind,
            icmp_code: value.icmp_code,
            initiator: value.initiator,
            watch: value.watch,
        };
        let [low, high] = sides;
        let segments = [
            low.further_wire_packets,
            low.further_wire_bytes,
            high.further_wire_packets,
            high.further_wire_bytes,
        ];
        (packed, segments)
    }

    /// The value again. What only the kernel needs, the flags it knows already, is not kept.
    pub fn value(&self, segments: Segments) -> FlowValue {
        let side = |number: usize| FlowCounters {
            packets: self.packets[number].number(),
            bytes: self.bytes[number],
            further_wire_packets: segments[number * 2],
            further_wire_bytes: segments[number * 2 + 1],
        };
        let [syn, syn_ack, fin, rst] = self.segments;
        FlowValue {
            low: side(0),
            high: side(1),
            first_seen_ns: self.first_seen_ns,
            last_seen_ns: self.last_seen_ns,
            payload: u64::from(self.payload_length) << 32 | u64::from(self.payload),
            syn,
            syn_ack,
            fin,
            rst,
            tcp_seen: std::array::from_fn(|bit| self.tcp_seen >> bit & 1),
            icmp_kind: self.icmp_kind,
            icmp_code: self.icmp_code,
            initiator: self.initiator,
            watch: self.watch,
            known_flags: 0,
            reserved: 0,
            reserved_too: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_it_was() {
        let value = FlowValue {
            low: FlowCounters {
                packets: (1 << 48) - 1,
                bytes: u64::MAX,
                further_wire_packets: u64::MAX - 1,
                further_wire_bytes: 7,
            },
            high: FlowCounters {
                packets: 1 << 32 | 5,
                bytes: 6,
                further_wire_packets: 8,
                further_wire_bytes: 9,
            },
            first_seen_ns: u64::MAX - 3,
            last_seen_ns: u64::MAX - 2,
            payload: 4 << 32 | 0xfeed_beef,
            syn: 1,
            syn_ack: u32::MAX,
            fin: 3,
            rst: 4,
            tcp_seen: [1, 0, 1, 1, 0, 0, 0, 1],
            icmp_kind: 255,
            icmp_code: 254,
            initiator: 1,
            watch: 3,
            known_flags: 0,
            reserved: 0,
            reserved_too: 0,
        };
        let (packed, segments) = Packed::new(&value);
        assert_eq!(packed.value(segments), value);
    }
}
