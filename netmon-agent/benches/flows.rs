//! What flows cost in the kernel programs: `cargo bench -p netmon-agent --bench flows`.
//!
//! Nanoseconds per packet by BPF_PROG_TEST_RUN beside the empty program and beside counting alone, at
//! 4,096 live flows and with 100,000 watched addresses; and what draining 100,000 flows takes.

use std::time::{Duration, Instant};

use netmon_agent::sensor::{FlowSizes, Program, Sensor, TEST_RUN_IFINDEX};

const ROUNDS: usize = 9;
const REPEAT: u32 = 1_000_000;
const LIVE_FLOWS: u16 = 4096;
const WATCHED: u32 = 100_000;
const DRAINED: u32 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    let mut counting = Sensor::load(1 << 20, false, None)?;
    let sizes = FlowSizes {
        max_entries: 131_072,
        ring_bytes: 1 << 20,
    };
    let mut flows = Sensor::load_with_flows(1 << 20, false, None, Some(sizes))?;
    for sensor in [&mut counting, &mut flows] {
        sensor.load_empty()?;
        sensor.insert_counters(TEST_RUN_IFINDEX)?;
    }
    let watch = flows.take_watch();
    let set: Result<Vec<_>, _> = (0..WATCHED)
        .map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255).parse())
        .collect();
    let began = Instant::now();
    watch.ok_or("no watch maps")?.replace(&set?)?;
    println!(
        "{WATCHED} watched addresses in force after {:?}",
        began.elapsed()
    );
    for port in 0..LIVE_FLOWS {
        flows.test_run(Program::Ingress, &tcp4(port, 0x10, 0), 1)?;
        flows.test_run(Program::Ingress, &tcp6(port), 1)?;
        while flows.drain_flow_events(|_| {}) {}
    }
    println!(
        "{:<28} {:>8} {:>8} {:>8} {:>8}",
        "packet", "empty", "counting", "flows", "cost"
    );
    for (name, frame) in [
        ("IPv4 TCP, 4,096 flows", tcp4(77, 0x10, 0)),
        ("IPv4 TCP with payload", tcp4(78, 0x18, 512)),
        ("IPv6 TCP, 4,096 flows", tcp6(77)),
    ] {
        let mut rounds = [[Duration::ZERO; 3]; ROUNDS];
        for round in &mut rounds {
            *round = [
                counting.test_run(Program::Empty, &frame, REPEAT)?,
                counting.test_run(Program::Ingress, &frame, REPEAT)?,
                flows.test_run(Program::Ingress, &frame, REPEAT)?,
            ];
        }
        let [empty, counting, flows] = [0, 1, 2].map(|column: usize| {
            let mut values: Vec<_> = rounds.iter().map(|round| round[column]).collect();
            values.sort_unstable();
            values[ROUNDS / 2].as_nanos()
        });
        let cost = flows.saturating_sub(empty);
        println!("{name:<28} {empty:>8} {counting:>8} {flows:>8} {cost:>8}");
    }
    drain(&mut flows)
}

fn drain(sensor: &mut Sensor) -> Result<(), Box<dyn std::error::Error>> {
    for _ in 0..2 {
        sensor.drain_flows(|_, _| {})?;
    }
    let began = Instant::now();
    for number in 0..DRAINED {
        let mut frame = tcp4(number as u16, 0x10, 0);
        frame[28] = (number >> 16) as u8;
        sensor.test_run(Program::Ingress, &frame, 1)?;
    }
    println!(
        "{DRAINED} new flows by test runs took {:?}",
        began.elapsed()
    );
    sensor.drain_flows(|_, _| {})?;
    let mut packets = 0;
    let began = Instant::now();
    let fill = sensor.drain_flows(|_, value| packets += value.total().packets)?;
    println!(
        "drained {} flows, {packets} packets in {:?}",
        fill.v4,
        began.elapsed()
    );
    Ok(())
}

fn tcp4(port: u16, flags: u8, payload: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let mut header = vec![
        0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    ];
    header[2..4].copy_from_slice(&(40 + payload as u16).to_be_bytes());
    frame.extend(header);
    frame.extend(segment(port, flags));
    frame.resize(frame.len() + payload, 7);
    frame
}

fn tcp6(port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, 20, 6, 64]);
    frame.extend([0xfd; 32]);
    frame.extend(segment(port, 0x10));
    frame
}

fn segment(port: u16, flags: u8) -> Vec<u8> {
    let mut segment = port.to_be_bytes().to_vec();
    segment.extend([
        1,
        187,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        5 << 4,
        flags,
        1,
        0,
        0,
        0,
        0,
        0,
    ]);
    segment
}
