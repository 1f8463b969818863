//! The books: counters, flows and losses.

use serde_json::Value;

use crate::{
    build::{ethernet, frames, ipv4, ipv6, request_packet, tcp, udp},
    run::replay,
};

/// Sums of flows and of counters in packets and bytes.
pub fn balance(replay: &crate::run::Replay) {
    let sum =
        |kind: &str, of: &dyn Fn(&Value) -> u64| replay.records(kind).iter().map(of).sum::<u64>();
    let both = |flow: &Value, field: &str| {
        flow["forward"][field].as_u64().unwrap() + flow["reverse"][field].as_u64().unwrap()
    };
    let no_flow: u64 = ["no_flow_not_ip", "no_flow_unparsed", "no_flow_table_full"]
        .map(|cause| replay.losses(cause))
        .iter()
        .sum();
    let counted = sum("counters", &|counters| {
        counters["packets"].as_u64().unwrap()
    });
    let in_flows = sum("flow", &|flow| both(flow, "packets"));
    assert_eq!(in_flows + no_flow, counted, "{}", replay.stdout);
    for counters in replay.records("counters") {
        let packets = |field: &str| counters[field]["packets"].as_u64().unwrap();
        let all = counters["packets"].as_u64().unwrap();
        assert_eq!(packets("ipv4") + packets("ipv6") + packets("other"), all);
        let ip = packets("tcp") + packets("udp") + packets("icmp") + packets("other_transport");
        assert_eq!(ip + packets("other"), all);
    }
}

#[test]
fn flows_and_what_has_none_add_up_to_the_counters() {
    let greeting = tcp(22, 40_001, 0x18, b"SSH-2.0");
    let all = [
        ethernet(0x0800, &request_packet(1)),
        ethernet(0x0800, &ipv4(6, &tcp(40_001, 22, 0x02, &[]))),
        ethernet(0x0800, &ipv4(6, &greeting)),
        ethernet(0x86dd, &ipv6(58, &[128, 0, 0, 0, 0, 1, 0, 1])),
        ethernet(0x0806, &[0; 28]),
        ethernet(0x0800, &ipv4(17, &udp(5, 53, &[1, 2]))[..21]),
        vec![1, 2, 3],
        vec![],
    ];
    let replay = replay(&frames(1, &all));
    balance(&replay);
    assert_eq!(replay.records("flow").len(), 4);
    let flows = replay.records("flow");
    let ssh = flows
        .iter()
        .find(|flow| flow["payload"] == "5353482d")
        .unwrap();
    assert_eq!(
        (&ssh["protocol"], &ssh["tcp_flags"]),
        (&6.into(), &0x18.into())
    );
    let ping = flows.iter().find(|flow| flow["icmp_type"] == 128).unwrap();
    assert!(ping["tcp_flags"].is_null());
    assert_eq!(replay.losses("no_flow_not_ip"), 1);
    assert_eq!(replay.losses("no_flow_unparsed"), 3);
}

#[test]
fn a_capture_of_many_flows_is_written_in_parts_and_still_adds_up() {
    let frame = |n: u32| {
        let mut packet = ipv4(17, &udp(5, 53, &[1, 2]));
        packet[12..16].copy_from_slice(&n.to_be_bytes());
        ethernet(0x0800, &packet)
    };
    // One flow goes on behind the bound.
    let all: Vec<_> = (0..70_000).map(|n| frame(n % 69_999)).collect();
    let replay = replay(&frames(1, &all));
    balance(&replay);
    assert_eq!(replay.losses("no_flow_table_full"), 0);
    assert_eq!(replay.records("flow").len(), 70_000);
}
