//! The records of the output, named and with the fields of `docs/replay.md`.

mod exchange;
mod flow;
mod packet;

use std::{borrow::Cow, collections::BTreeMap};

use netmon_common::counters::{Counters, Direction, Split};
use serde::Serialize;

pub(super) use self::{exchange::ExchangeRecord, flow::FlowRecord, packet::PacketRecord};

/// A line.
#[derive(Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record<'a> {
    Packet(PacketRecord<'a>),
    Exchange(ExchangeRecord),
    Flow(FlowRecord<'a>),
    Counters(CountersRecord<'a>),
    Losses(LossesRecord),
}

/// What passed an interface in one direction.
#[derive(Serialize)]
pub(super) struct CountersRecord<'a> {
    pub(super) interface: Option<&'a str>,
    pub(super) direction: &'static str,
    #[serde(flatten)]
    pub(super) total: CountersFields,
    ipv4: CountersFields,
    ipv6: CountersFields,
    other: CountersFields,
    tcp: CountersFields,
    udp: CountersFields,
    icmp: CountersFields,
    other_transport: CountersFields,
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct CountersFields {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) wire_packets: u64,
    pub(super) wire_bytes: u64,
}

/// What was lost, by cause.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(super) struct LossesRecord(pub(super) BTreeMap<Cow<'static, str>, u64>);

impl<'a> CountersRecord<'a> {
    pub(super) fn new(
        interface: Option<&'a str>,
        way: Direction,
        total: Counters,
        split: Split,
    ) -> Self {
        Self {
            interface,
            direction: way.name(),
            total: total.into(),
            ipv4: split.ipv4.into(),
            ipv6: split.ipv6.into(),
            other: split.other.into(),
            tcp: split.tcp.into(),
            udp: split.udp.into(),
            icmp: split.icmp.into(),
            other_transport: split.other_transport.into(),
        }
    }
}

impl From<Counters> for CountersFields {
    fn from(counters: Counters) -> Self {
        Self {
            packets: counters.packets,
            bytes: counters.bytes,
            wire_packets: counters.wire_packets,
            wire_bytes: counters.wire_bytes,
        }
    }
}

/// The VLAN nearest to the packet, and the one around it.
fn vlans(vlans: [u16; 2]) -> (Option<u16>, Option<u16>) {
    match vlans.map(|vlan| (vlan != 0).then_some(vlan)) {
        [outer, None] => (outer, None),
        [outer, inner] => (inner, outer),
    }
}
