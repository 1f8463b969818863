//! The kernel's flow map in user space: for replay without privileges, and to compare with.

use std::{collections::HashMap, vec::Vec};

use super::{Flow, FlowKey, FlowValue, Side, Sighting, Untracked, UntrackedCounters};
use crate::{
    counters::Counters,
    loss::Loss,
    packet::{Packet, Reader},
};

/// Flows by key, with the same bound and the same books as the kernel's.
#[derive(Debug)]
pub struct FlowTable {
    flows: HashMap<FlowKey, FlowValue>,
    max_entries: usize,
    untracked: UntrackedCounters,
}

impl FlowTable {
    /// Room for so many flows; what finds none is counted.
    pub fn new(max_entries: usize) -> Self {
        Self {
            flows: HashMap::new(),
            max_entries,
            untracked: UntrackedCounters::default(),
        }
    }

    /// A frame, as [`parse`](crate::packet::parse) has understood it; returns whether its flow is
    /// new.
    pub fn frame<R: Reader>(
        &mut self,
        reader: &R,
        packet: &Result<Packet, Loss>,
        ifindex: u32,
        passed: Counters,
        now_ns: u64,
    ) -> bool {
        let Ok(packet) = packet else {
            self.untracked(Untracked::Unparsed, passed);
            return false;
        };
        let Some(place) = FlowKey::of(packet, ifindex) else {
            self.untracked(Untracked::NotIp, passed);
            return false;
        };
        self.observe(place, &Sighting::of(reader, packet), passed, now_ns)
    }

    /// A packet of a flow; returns whether the flow is new.
    pub fn observe(
        &mut self,
        (key, side): (FlowKey, Side),
        sighting: &Sighting,
        passed: Counters,
        now_ns: u64,
    ) -> bool {
        if let Some(value) = self.flows.get_mut(&key) {
            value.add(sighting, side, passed, now_ns);
            return false;
        }
        if self.flows.len() >= self.max_entries {
            self.untracked(Untracked::MapFull, passed);
            return false;
        }
        let value = FlowValue::first(sighting, side, passed, now_ns, 0);
        self.flows.insert(key, value);
        true
    }

    /// A packet of no flow.
    pub fn untracked(&mut self, cause: Untracked, passed: Counters) {
        self.untracked.add(cause, passed);
    }

    /// What belongs to no flow.
    pub const fn untracked_total(&self) -> UntrackedCounters {
        self.untracked
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// A flow, if it is there.
    pub fn get(&self, key: &FlowKey) -> Option<Flow> {
        self.flows.get(key).map(|value| Flow::new(*key, value))
    }

    /// Takes the flows out in the order of their first packets, then of their keys.
    pub fn take(&mut self) -> Vec<Flow> {
        let mut flows: Vec<_> = self
            .flows
            .drain()
            .map(|(key, value)| Flow::new(key, &value))
            .collect();
        flows.sort_by_key(|flow| {
            let (source, destination) = (flow.source(), flow.destination());
            let place = (flow.key.ifindex(), flow.key.vlans(), flow.key.protocol());
            (flow.first_seen_ns, source, destination, place)
        });
        flows
    }
}

impl FlowValue {
    /// Adds a packet: what the kernel does by atomic additions.
    fn add(&mut self, sighting: &Sighting, side: Side, passed: Counters, now_ns: u64) {
        let counters = match side {
            Side::Low => &mut self.low,
            Side::High => &mut self.high,
        };
        *counters = (counters.counters() + passed).into();
        self.first_seen_ns = self.first_seen_ns.min(now_ns);
        self.last_seen_ns = self.last_seen_ns.max(now_ns);
        if self.payload == 0 {
            self.payload = sighting.payload;
        }
        for (bit, seen) in self.tcp_seen.iter_mut().enumerate() {
            *seen |= sighting.tcp_flags >> bit & 1;
        }
        self.syn = self.syn.wrapping_add(sighting.is_syn().into());
        self.syn_ack = self.syn_ack.wrapping_add(sighting.is_syn_ack().into());
        self.fin = self.fin.wrapping_add(sighting.is_fin().into());
        self.rst = self.rst.wrapping_add(sighting.is_rst().into());
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{FlowKey4, pack_payload},
        *,
    };
    use crate::packet::tcp_flag as tcp;

    const CLIENT: ([u8; 4], u16) = ([198, 18, 0, 9], 40_000);
    const SERVER: ([u8; 4], u16) = ([198, 18, 0, 2], 22);

    fn key(source: ([u8; 4], u16), destination: ([u8; 4], u16)) -> (FlowKey, Side) {
        let (key, side) = FlowKey4::new(source, destination, 3, [0; 2], 6);
        (FlowKey::V4(key), side)
    }

    fn segment(tcp_flags: u8) -> Sighting {
        Sighting {
            tcp_flags,
            ..Sighting::default()
        }
    }

    const fn passed(bytes: u64) -> Counters {
        Counters::from_words([1, bytes, 1, bytes])
    }

    #[test]
    fn a_connection_is_one_flow_with_both_directions() {
        let mut table = FlowTable::new(8);
        assert!(table.observe(key(CLIENT, SERVER), &segment(tcp::SYN), passed(74), 10));
        let answer = segment(tcp::SYN | tcp::ACK);
        assert!(!table.observe(key(SERVER, CLIENT), &answer, passed(74), 20));
        let greeting = Sighting {
            tcp_flags: tcp::ACK,
            payload: pack_payload(*b"SSH-", 4),
            ..Sighting::default()
        };
        let buffer = Counters::from_words([1, 3066, 3, 3066 + 2 * 66]);
        table.observe(key(SERVER, CLIENT), &greeting, buffer, 30);
        let flows = table.take();
        let [flow] = flows[..] else {
            panic!("{flows:?}")
        };
        assert_eq!((flow.source().1, flow.destination().1), (40_000, 22));
        assert_eq!(flow.forward, passed(74));
        assert_eq!(flow.reverse, passed(74) + buffer);
        assert_eq!((flow.first_seen_ns, flow.last_seen_ns), (10, 30));
        assert_eq!((flow.tcp.syn, flow.tcp.syn_ack, flow.tcp.fin), (1, 1, 0));
        assert_eq!(flow.tcp.flags, tcp::SYN | tcp::ACK);
        assert_eq!(flow.payload.octets(), b"SSH-");
        assert_eq!(flow.icmp, None);
    }

    #[test]
    fn whoever_is_answered_is_the_initiator() {
        let mut table = FlowTable::new(8);
        let answer = segment(tcp::SYN | tcp::ACK);
        table.observe(key(SERVER, CLIENT), &answer, passed(74), 0);
        let flow = table.take()[0];
        assert_eq!(flow.source().1, 40_000);
        assert_eq!(flow.reverse, passed(74));
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut table = FlowTable::new(1);
        let other = ([198, 18, 0, 8], 1);
        assert!(table.observe(key(CLIENT, SERVER), &segment(0), passed(60), 0));
        assert!(!table.observe(key(other, SERVER), &segment(0), passed(61), 0));
        table.observe(key(SERVER, CLIENT), &segment(0), passed(62), 0);
        assert_eq!(table.take()[0].total().bytes, 122);
        assert_eq!(table.untracked_total().of(Untracked::MapFull), passed(61));
    }
}
