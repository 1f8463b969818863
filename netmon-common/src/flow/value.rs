//! The value of the kernel's flow maps.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{PAYLOAD_OCTETS, Side, Sighting};
use crate::counters::Counters;

/// What one side of a flow has sent.
///
/// The numbers of the wire are kept as differences, which are 0 for all but GSO and GRO buffers: an
/// atomic addition costs as much as everything else that is done with a packet's length.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FlowCounters {
    /// Socket buffers.
    pub packets: u64,
    /// Octets of those buffers.
    pub bytes: u64,
    /// Packets on the wire beyond `packets`.
    pub further_wire_packets: u64,
    /// Octets on the wire beyond `bytes`.
    pub further_wire_bytes: u64,
}

impl FlowCounters {
    /// As they are counted for an interface.
    pub const fn counters(self) -> Counters {
        Counters {
            packets: self.packets,
            bytes: self.bytes,
            wire_packets: self.packets.wrapping_add(self.further_wire_packets),
            wire_bytes: self.bytes.wrapping_add(self.further_wire_bytes),
        }
    }
}

impl From<Counters> for FlowCounters {
    #[inline(always)]
    fn from(counters: Counters) -> Self {
        Self {
            packets: counters.packets,
            bytes: counters.bytes,
            further_wire_packets: counters.wire_packets.wrapping_sub(counters.packets),
            further_wire_bytes: counters.wire_bytes.wrapping_sub(counters.bytes),
        }
    }
}

/// One flow in the kernel, during one generation of the maps.
///
/// Several CPUs may work on it at a time: counts are only ever added to, atomically; the rest is
/// written whole. What every packet looks at comes first, close to the key: fewer cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowValue {
    /// `CLOCK_MONOTONIC` of the last packet, up to a tick of the kernel behind, ns.
    pub last_seen_ns: u64,
    /// See [`pack_payload`]; 0 = no payload seen.
    pub payload: u64,
    /// TCP flags of a segment whose flags are in `tcp_seen` already.
    pub known_flags: u8,
    /// A bit for each endpoint that is in the watch set, see [`super::WatchMark`].
    pub watch: u8,
    /// [`Side`] as a number: who sent the first packet, or the first SYN.
    pub initiator: u8,
    /// ICMP type of the first message.
    pub icmp_kind: u8,
    /// ICMP code of the first message.
    pub icmp_code: u8,
    /// 0; not an array, see [`super::FlowKey4`].
    pub reserved: u8,
    /// 0.
    pub reserved_too: u16,
    /// What the lower endpoint has sent.
    pub low: FlowCounters,
    /// What the higher endpoint has sent.
    pub high: FlowCounters,
    /// `CLOCK_MONOTONIC` of the first packet, up to a tick of the kernel behind, ns.
    pub first_seen_ns: u64,
    /// An octet for each TCP flag, from bit 0 on, that is 1 if the flag was set in any segment:
    /// whoever sets one cannot undo what another CPU sets, as by a bit of one word.
    pub tcp_seen: [u8; 8],
    /// Segments with SYN and without ACK.
    pub syn: u32,
    /// Segments with SYN and ACK.
    pub syn_ack: u32,
    /// Segments with FIN.
    pub fin: u32,
    /// Segments with RST.
    pub rst: u32,
}

const _: () = assert!(size_of::<FlowValue>() == 120);

/// The first octets of a payload in one word, so that they can be written at once: how many there are
/// (at most four) in the upper half, and the octets below.
#[inline(always)]
pub const fn pack_payload(octets: [u8; PAYLOAD_OCTETS], length: usize) -> u64 {
    (length as u64) << 32 | u32::from_le_bytes(octets) as u64
}

impl FlowValue {
    /// A flow at its first packet.
    #[inline(always)]
    pub fn first(
        sighting: &Sighting,
        side: Side,
        passed: Counters,
        now_ns: u64,
        watch: u8,
    ) -> Self {
        let counters = FlowCounters::from(passed);
        let none = FlowCounters {
            packets: 0,
            bytes: 0,
            further_wire_packets: 0,
            further_wire_bytes: 0,
        };
        let (low, high) = match side {
            Side::Low => (counters, none),
            Side::High => (none, counters),
        };
        // Whoever is answered has begun, even if his SYN was not seen.
        let initiator = if sighting.is_syn_ack() {
            side.other()
        } else {
            side
        };
        Self {
            low,
            high,
            first_seen_ns: now_ns,
            last_seen_ns: now_ns,
            payload: sighting.payload,
            syn: u32::from(sighting.is_syn()),
            syn_ack: u32::from(sighting.is_syn_ack()),
            fin: u32::from(sighting.is_fin()),
            rst: u32::from(sighting.is_rst()),
            tcp_seen: [
                sighting.tcp_flags & 1,
                sighting.tcp_flags >> 1 & 1,
                sighting.tcp_flags >> 2 & 1,
                sighting.tcp_flags >> 3 & 1,
                sighting.tcp_flags >> 4 & 1,
                sighting.tcp_flags >> 5 & 1,
                sighting.tcp_flags >> 6 & 1,
                sighting.tcp_flags >> 7,
            ],
            icmp_kind: sighting.icmp_kind,
            icmp_code: sighting.icmp_code,
            initiator: initiator as u8,
            watch,
            known_flags: sighting.tcp_flags,
            reserved: 0,
            reserved_too: 0,
        }
    }

    /// From the octets of the kernel's value, or `None` if they are not one.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        Self::read_from_bytes(octets).ok()
    }

    /// Adds what was seen of the same flow later.
    pub fn absorb(&mut self, later: &Self) {
        self.low = (self.low.counters() + later.low.counters()).into();
        self.high = (self.high.counters() + later.high.counters()).into();
        self.first_seen_ns = self.first_seen_ns.min(later.first_seen_ns);
        self.last_seen_ns = self.last_seen_ns.max(later.last_seen_ns);
        if self.payload == 0 {
            self.payload = later.payload;
        }
        self.syn = self.syn.wrapping_add(later.syn);
        self.syn_ack = self.syn_ack.wrapping_add(later.syn_ack);
        self.fin = self.fin.wrapping_add(later.fin);
        self.rst = self.rst.wrapping_add(later.rst);
        for (seen, also) in self.tcp_seen.iter_mut().zip(later.tcp_seen) {
            *seen |= also;
        }
        self.watch |= later.watch;
    }

    /// Nothing counted yet, and otherwise the same flow: how a long one goes on after a record of it.
    #[must_use]
    pub fn continued(&self) -> Self {
        Self {
            low: FlowCounters::default(),
            high: FlowCounters::default(),
            // Before any packet to come.
            first_seen_ns: u64::MAX,
            syn: 0,
            syn_ack: 0,
            fin: 0,
            rst: 0,
            tcp_seen: [0; 8],
            ..*self
        }
    }

    /// Whether packets were counted.
    pub const fn is_counted(&self) -> bool {
        self.low.packets != 0 || self.high.packets != 0
    }

    /// Both directions together.
    pub fn total(&self) -> Counters {
        self.low.counters() + self.high.counters()
    }

    /// Every TCP flag that was set in any segment.
    pub fn tcp_flags(&self) -> u8 {
        let set = |(bit, seen): (usize, &u8)| u8::from(*seen != 0) << bit;
        self.tcp_seen.iter().enumerate().map(set).sum()
    }
}
