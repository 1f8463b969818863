//! Nanoseconds per packet by BPF_PROG_TEST_RUN, each beside the empty program in the same round.

use std::time::Duration;

use anyhow::Result;
use netmon_agent::sensor::{FlowSizes, Program, Sensor, TEST_RUN_IFINDEX};
use netmon_common::watch::List;

use crate::{frames, report};

const REPEAT: u32 = 1_000_000;
/// Fewer than the ring holds, so that every event of a round finds room.
const EVENTS_PER_ROUND: u32 = 10_000;
const RING_BYTES: u32 = 4 << 20;

/// Limits, ns over the empty program.
const COUNTING: u64 = 15;
const NTP: u64 = 200;
const FLOW: u64 = 70;

const LIVE_FLOWS: u16 = 4096;
pub const WATCHED: u32 = 100_000;

/// Programs without flows.
pub fn counting() -> Result<Sensor> {
    let mut sensor = Sensor::load(RING_BYTES, false, None)?;
    sensor.load_empty()?;
    sensor.insert_counters(TEST_RUN_IFINDEX)?;
    Ok(sensor)
}

/// What counting costs, and an NTP event.
pub fn measure(sensor: &mut Sensor, rounds: usize) -> Result<()> {
    let udp = frames::udp(40_000, 53, 64);
    let ntp = frames::udp(40_000, 123, 48);
    report::heading("cost of a packet, ns, flows switched off");
    report::costs_header();
    for (name, frame, limit) in [
        ("IPv4 TCP", frames::ipv4(6, &[0; 40]), Some(COUNTING)),
        (
            "IPv4 UDP, another port",
            frames::ipv4(17, &udp),
            Some(COUNTING),
        ),
        ("IPv6 TCP", frames::ipv6(6, &[0; 40]), Some(COUNTING)),
        (
            "IPv6 UDP, another port",
            frames::ipv6(17, &udp),
            Some(COUNTING),
        ),
        (
            "VLAN, IPv4 TCP",
            frames::vlan(&frames::ipv4(6, &[0; 40])),
            None,
        ),
    ] {
        let cost = compare(rounds, || run(sensor, &frame))?;
        report::cost(name, cost, limit);
    }
    for (name, frame) in [
        ("NTP, IPv4, to the ring", frames::ipv4(17, &ntp)),
        ("NTP, IPv6, to the ring", frames::ipv6(17, &ntp)),
    ] {
        let cost = compare(rounds, || {
            while sensor.drain(|_| {}) {}
            let empty = sensor.test_run(Program::Empty, &frame, REPEAT)?;
            let netmon = sensor.test_run(Program::Ingress, &frame, EVENTS_PER_ROUND)?;
            Ok([empty, netmon])
        })?;
        report::cost(name, cost, Some(NTP));
    }
    while sensor.drain(|_| {}) {}
    Ok(())
}

/// Programs with flows and a watch set.
pub fn with_flows() -> Result<Sensor> {
    let sizes = FlowSizes {
        max_entries: 131_072,
        ring_bytes: 1 << 20,
    };
    let mut sensor = Sensor::load_with_flows(1 << 20, false, None, Some(sizes))?;
    sensor.load_empty()?;
    sensor.insert_counters(TEST_RUN_IFINDEX)?;
    let mut watch = sensor.take_watch().expect("these programs have one");
    let watched: Result<List, _> = watched_addresses().map(|one| one.parse()).collect();
    watch.replace(&watched?)?;
    Ok(sensor)
}

/// Addresses of a watch list.
pub fn watched_addresses() -> impl Iterator<Item = String> {
    (0..WATCHED).map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255))
}

/// What counting and the update of a flow cost together.
pub fn measure_flows(sensor: &mut Sensor, rounds: usize) -> Result<()> {
    let tcp4 = |port, flags, payload| frames::ipv4(6, &frames::tcp(port, flags, payload));
    let tcp6 = |port| frames::ipv6(6, &frames::tcp(port, 0x10, 0));
    for port in 0..LIVE_FLOWS {
        sensor.test_run(Program::Ingress, &tcp4(port, 0x10, 0), 1)?;
        sensor.test_run(Program::Ingress, &tcp6(port), 1)?;
        while sensor.drain_flow_events(|_| {}) {}
    }
    report::heading(&format!(
        "cost of a packet, ns, with flows: {LIVE_FLOWS} live of each family, {WATCHED} watched \
         addresses"
    ));
    report::costs_header();
    for (name, frame, limit) in [
        ("IPv4 TCP", tcp4(77, 0x10, 0), Some(FLOW)),
        ("IPv4 TCP with payload", tcp4(78, 0x18, 512), Some(FLOW)),
        ("IPv6 TCP", tcp6(77), None),
    ] {
        let cost = compare(rounds, || run(sensor, &frame))?;
        report::cost(name, cost, limit);
    }
    Ok(())
}

fn run(sensor: &Sensor, frame: &[u8]) -> Result<[Duration; 2]> {
    Ok([
        sensor.test_run(Program::Empty, frame, REPEAT)?,
        sensor.test_run(Program::Ingress, frame, REPEAT)?,
    ])
}

/// Medians of the empty program and of netmon's, ns.
fn compare(rounds: usize, mut round: impl FnMut() -> Result<[Duration; 2]>) -> Result<[u64; 2]> {
    let rounds: Result<Vec<_>> = (0..rounds).map(|_| round()).collect();
    let rounds = rounds?;
    Ok([0, 1].map(|column: usize| {
        report::median(rounds.iter().map(|round| round[column].as_nanos() as u64))
    }))
}
