//! A flow as the agent works with it.

use core::net::IpAddr;

use super::{FlowKey, FlowKey4, FlowKey6, FlowValue, PAYLOAD_OCTETS, Side};
use crate::counters::Counters;

/// Which endpoints are in the watch set, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WatchMark(pub u8);

impl WatchMark {
    /// The lower endpoint is watched.
    pub const LOW: Self = Self(1);
    /// The higher endpoint is watched.
    pub const HIGH: Self = Self(2);

    /// Whether any is.
    pub const fn is_hit(self) -> bool {
        self.0 != 0
    }

    /// Whether this endpoint is.
    pub const fn is_watched(self, side: Side) -> bool {
        self.0 & (1 << side as u8) != 0
    }
}

/// TCP flags of a whole flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSummary {
    /// Every flag that was set in any segment.
    pub flags: u8,
    /// Segments with SYN and without ACK.
    pub syn: u64,
    /// Segments with SYN and ACK.
    pub syn_ack: u64,
    /// Segments with FIN.
    pub fin: u64,
    /// Segments with RST.
    pub rst: u64,
}

/// The first octets of the first payload that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    octets: [u8; PAYLOAD_OCTETS],
    length: u8,
}

/// Type and code of the first message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
}

/// A flow, from the first packet of a record to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who, where.
    pub key: FlowKey,
    /// Who sent the first packet, or the first SYN.
    pub initiator: Side,
    /// What the initiator has sent.
    pub forward: Counters,
    /// What came back.
    pub reverse: Counters,
    /// `CLOCK_MONOTONIC`, up to a tick of the kernel behind, or the clock of a capture; ns.
    pub first_seen_ns: u64,
    /// The same of the last packet.
    pub last_seen_ns: u64,
    /// TCP flags; all zero for other protocols.
    pub tcp: TcpSummary,
    /// The first octets of payload.
    pub payload: Payload,
    /// ICMP only.
    pub icmp: Option<Icmp>,
    /// Which endpoints are watched.
    pub watch: WatchMark,
}

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Payload {
    /// From the word of [`super::pack_payload`].
    pub const fn from_word(word: u64) -> Self {
        let length = (word >> 32) as u8;
        Self {
            octets: (word as u32).to_le_bytes(),
            length: if length as usize > PAYLOAD_OCTETS {
                PAYLOAD_OCTETS as u8
            } else {
                length
            },
        }
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        self.octets.split_at(usize::from(self.length)).0
    }
}

impl Flow {
    /// From an entry of the kernel's IPv4 map.
    pub fn v4(key: FlowKey4, value: &FlowValue) -> Self {
        Self::new(FlowKey::V4(key), value)
    }

    /// From an entry of the kernel's IPv6 map.
    pub fn v6(key: FlowKey6, value: &FlowValue) -> Self {
        Self::new(FlowKey::V6(key), value)
    }

    /// From key and value.
    pub fn new(key: FlowKey, value: &FlowValue) -> Self {
        let initiator = Side::from_number(value.initiator);
        let (low, high) = (value.low.counters(), value.high.counters());
        let (forward, reverse) = match initiator {
            Side::Low => (low, high),
            Side::High => (high, low),
        };
        let icmp = matches!(key.protocol(), ICMP | ICMPV6).then_some(Icmp {
            kind: value.icmp_kind,
            code: value.icmp_code,
        });
        Self {
            key,
            initiator,
            forward,
            reverse,
            first_seen_ns: value.first_seen_ns,
            last_seen_ns: value.last_seen_ns,
            tcp: TcpSummary {
                flags: value.tcp_flags(),
                syn: value.syn.into(),
                syn_ack: value.syn_ack.into(),
                fin: value.fin.into(),
                rst: value.rst.into(),
            },
            payload: Payload::from_word(value.payload),
            icmp,
            watch: WatchMark(value.watch),
        }
    }

    /// Address and port of the initiator.
    pub fn source(&self) -> (IpAddr, u16) {
        self.endpoint(self.initiator)
    }

    /// Address and port of the other side.
    pub fn destination(&self) -> (IpAddr, u16) {
        self.endpoint(self.initiator.other())
    }

    /// Both directions together.
    pub fn total(&self) -> Counters {
        self.forward + self.reverse
    }

    fn endpoint(&self, side: Side) -> (IpAddr, u16) {
        (self.key.address(side), self.key.port(side))
    }
}
