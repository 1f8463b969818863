//! Modes 1 and 2: each packet is an answer and a question.

use std::net::SocketAddr;

use super::{Exchange, Match, Packet, Scope, Time, recent::Recent};

/// Most pairs of peers.
const MAX_PAIRS: usize = 1024;
/// Packets of each side that the other may name: one may be lost on the way.
const REMEMBERED: usize = 2;
/// The same packet again within this time is one that somebody sent twice.
const DUPLICATE_WITHIN_NS: u64 = 5_000_000;

/// Two peers, the lower address first.
type Pair = (u32, [u16; 2], SocketAddr, SocketAddr);

/// The last packets of both sides, the newest first.
type Sides = [[Option<Packet<Time>>; REMEMBERED]; 2];

/// Pairs the packets of peers.
#[derive(Debug)]
pub struct Peers(Recent<Pair, Sides>);

impl Default for Peers {
    fn default() -> Self {
        Self(Recent::new(MAX_PAIRS))
    }
}

impl Peers {
    /// How many pairs are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many were forgotten for others.
    pub fn evictions(&self) -> u64 {
        self.0.evictions()
    }

    /// Takes a packet; it is a finding together with the one that it names, if it names one. A
    /// response time would be what is left of a poll interval.
    pub fn observe(&mut self, packet: Packet<Time>) -> Exchange {
        let (source, destination) = (packet.source, packet.destination);
        let is_higher = source > destination;
        let Scope {
            namespace, vlans, ..
        } = packet.scope;
        let pair = if is_higher {
            (namespace, vlans, destination, source)
        } else {
            (namespace, vlans, source, destination)
        };
        let (sides, _) = self
            .0
            .entry(pair, packet.captured_at_ns, || [[None; REMEMBERED]; 2]);
        let [lower, higher] = sides;
        let (own, other) = if is_higher {
            (higher, lower)
        } else {
            (lower, higher)
        };
        let is_copy = own.iter().flatten().any(|earlier| {
            earlier.digest == packet.digest
                && packet.captured_at_ns.abs_diff(earlier.captured_at_ns) < DUPLICATE_WITHIN_NS
        });
        if is_copy {
            return Exchange::of_request(Match::DuplicateRequest, packet);
        }
        own.rotate_right(1);
        own[0] = Some(packet);
        let origin = packet.content.header.origin_timestamp;
        let named = |by: fn(&Packet<Time>) -> u64| {
            let mut others = other.iter().flatten();
            others.find(|earlier| !origin.is_zero() && by(earlier) == origin.0)
        };
        let asked = named(|earlier| earlier.content.header.transmit_timestamp.0)
            .or_else(|| named(|earlier| earlier.content.header.receive_timestamp.0));
        match asked {
            Some(asked) => Exchange::of_pair(Match::Symmetric, *asked, packet),
            None => Exchange::of_response(Match::Symmetric, packet),
        }
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::ntp::{Mode, NtpTimestamp};

    use super::*;
    use crate::ntp::packet::example;

    fn packet(
        at_s: u64,
        from_client: bool,
        origin: u64,
        receive: u64,
        transmit: u64,
    ) -> Packet<Time> {
        let mut packet = example::packet(Mode::SymmetricActive, at_s * example::S);
        if from_client {
            (packet.source, packet.destination) = (packet.destination, packet.source);
        }
        let header = &mut packet.content.header;
        header.origin_timestamp = NtpTimestamp(origin);
        header.receive_timestamp = NtpTimestamp(receive);
        header.transmit_timestamp = NtpTimestamp(transmit);
        packet.sealed()
    }

    /// The transmit timestamp of what each packet answers.
    fn answered(packets: impl IntoIterator<Item = Packet<Time>>) -> Vec<Option<u64>> {
        let mut peers = Peers::default();
        let exchanges = packets.into_iter().map(|packet| peers.observe(packet));
        exchanges
            .map(|exchange| {
                assert_eq!(exchange.kind, Match::Symmetric);
                let request = exchange.request?;
                Some(request.content.header.transmit_timestamp.0)
            })
            .collect()
    }

    #[test]
    fn each_packet_answers_the_one_that_it_names() {
        let packets = [
            packet(0, true, 0, 0, 10),
            packet(1, false, 10, 11, 12),
            packet(2, true, 12, 13, 14),
            packet(3, true, 12, 13, 16),
            packet(4, false, 14, 15, 18),
        ];
        assert_eq!(
            answered(packets),
            [None, Some(10), Some(12), Some(12), Some(14)]
        );
    }

    #[test]
    fn interleaved_packets_name_what_was_received() {
        let packets = [packet(0, true, 1, 2, 10), packet(1, false, 2, 11, 12)];
        assert_eq!(answered(packets), [None, Some(10)]);
    }

    #[test]
    fn a_packet_seen_twice_is_a_duplicate() {
        let mut peers = Peers::default();
        let first = packet(0, true, 0, 0, 10);
        peers.observe(first);
        assert_eq!(peers.observe(first).kind, Match::DuplicateRequest);
    }

    #[test]
    fn strangers_do_not_grow_the_table() {
        let mut peers = Peers::default();
        for number in 0..2 * MAX_PAIRS as u32 {
            let mut packet = packet(0, false, 0, 0, 10);
            packet.source.set_ip(number.to_be_bytes().into());
            peers.observe(packet);
        }
        assert_eq!(
            (peers.len(), peers.evictions()),
            (MAX_PAIRS, MAX_PAIRS as u64)
        );
    }
}
