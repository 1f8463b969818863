//! What a single packet adds to its flow, besides its length.

use super::{PAYLOAD_OCTETS, pack_payload};
use crate::packet::{Packet, Reader, Transport, tcp_flag};

/// The part of a packet that a flow remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// TCP flags; 0 for other protocols.
    pub tcp_flags: u8,
    /// ICMP type.
    pub icmp_kind: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// The first octets of the payload, see [`super::pack_payload`]; 0 = none.
    pub payload: u64,
}

impl Sighting {
    /// What a packet shows.
    #[inline(always)]
    pub fn of<R: Reader>(reader: &R, packet: &Packet) -> Self {
        let mut sighting = Self::default();
        let (offset, most) = match packet.transport {
            Transport::Tcp {
                flags,
                payload_offset,
                ..
            } => {
                sighting.tcp_flags = flags;
                (payload_offset, usize::MAX)
            }
            Transport::Udp {
                payload_offset,
                payload_length,
                ..
            } => (payload_offset, usize::from(payload_length)),
            Transport::Icmp {
                kind,
                code,
                payload_offset,
            } => {
                (sighting.icmp_kind, sighting.icmp_code) = (kind, code);
                (payload_offset, usize::MAX)
            }
            Transport::Other => (packet.transport_offset, usize::MAX),
            Transport::LaterFragment | Transport::None => return sighting,
        };
        let length = packet.end.saturating_sub(offset).min(most);
        sighting.payload = first_octets(reader, offset, length);
        sighting
    }

    /// A request for a connection.
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        self.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN
    }

    /// The answer to one.
    #[inline(always)]
    pub const fn is_syn_ack(&self) -> bool {
        self.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN | tcp_flag::ACK
    }

    /// The sender is done.
    #[inline(always)]
    pub const fn is_fin(&self) -> bool {
        self.tcp_flags & tcp_flag::FIN != 0
    }

    /// The connection is refused or given up.
    #[inline(always)]
    pub const fn is_rst(&self) -> bool {
        self.tcp_flags & tcp_flag::RST != 0
    }

    /// Whether a flag is set that is counted.
    #[inline(always)]
    pub const fn is_counted(&self) -> bool {
        self.tcp_flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST) != 0
    }
}

/// The first octets of a payload of `length` octets, as many as the frame holds, packed.
#[inline(always)]
pub fn first_octets<R: Reader>(reader: &R, offset: usize, length: usize) -> u64 {
    if length >= PAYLOAD_OCTETS
        && let Ok(octets) = reader.read(offset)
    {
        return pack_payload(octets, PAYLOAD_OCTETS);
    }
    if length >= 3
        && let Ok([a, b, c]) = reader.read(offset)
    {
        return pack_payload([a, b, c, 0], 3);
    }
    if length >= 2
        && let Ok([a, b]) = reader.read(offset)
    {
        return pack_payload([a, b, 0, 0], 2);
    }
    if length >= 1
        && let Ok([a]) = reader.read(offset)
    {
        return pack_payload([a, 0, 0, 0], 1);
    }
    0
}
