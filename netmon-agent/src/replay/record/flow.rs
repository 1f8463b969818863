//! `flow`: one 5-tuple on one interface and VLAN.

use std::net::IpAddr;

use netmon_common::flow::Flow;
use serde::Serialize;

use super::{CountersFields, vlans};

/// A flow from its first packet to its last; `source` is who began.
#[derive(Serialize)]
pub(in crate::replay) struct FlowRecord<'a> {
    interface: Option<&'a str>,
    vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outer_vlan: Option<u16>,
    pub(in crate::replay) protocol: u8,
    pub(in crate::replay) source: IpAddr,
    pub(in crate::replay) source_port: u16,
    pub(in crate::replay) destination: IpAddr,
    pub(in crate::replay) destination_port: u16,
    pub(in crate::replay) first_seen_ns: u64,
    pub(in crate::replay) last_seen_ns: u64,
    pub(in crate::replay) forward: CountersFields,
    pub(in crate::replay) reverse: CountersFields,
    tcp_flags: Option<u8>,
    syn: Option<u64>,
    syn_ack: Option<u64>,
    fin: Option<u64>,
    rst: Option<u64>,
    payload: String,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
}

const TCP: u8 = 6;

impl<'a> FlowRecord<'a> {
    pub(in crate::replay) fn new(interface: Option<&'a str>, flow: &Flow) -> Self {
        let (source, source_port) = flow.source();
        let (destination, destination_port) = flow.destination();
        let (vlan, outer_vlan) = vlans(flow.key.vlans());
        let tcp = (flow.key.protocol() == TCP).then_some(flow.tcp);
        Self {
            interface,
            vlan,
            outer_vlan,
            protocol: flow.key.protocol(),
            source,
            source_port,
            destination,
            destination_port,
            first_seen_ns: flow.first_seen_ns,
            last_seen_ns: flow.last_seen_ns,
            forward: flow.forward.into(),
            reverse: flow.reverse.into(),
            tcp_flags: tcp.map(|tcp| tcp.flags),
            syn: tcp.map(|tcp| tcp.syn),
            syn_ack: tcp.map(|tcp| tcp.syn_ack),
            fin: tcp.map(|tcp| tcp.fin),
            rst: tcp.map(|tcp| tcp.rst),
            payload: hexadecimal(flow.payload.octets()),
            icmp_type: flow.icmp.map(|icmp| icmp.kind),
            icmp_code: flow.icmp.map(|icmp| icmp.code),
        }
    }
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
