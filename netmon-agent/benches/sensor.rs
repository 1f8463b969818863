//! What the kernel programs cost: `cargo xtask bench sensor`.
//!
//! Nanoseconds per packet by BPF_PROG_TEST_RUN, each beside the empty program in the same round, and
//! the rate at which NTP events pass the ring buffer into user space, with nothing unaccounted.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use netmon_agent::sensor::{Program, Sensor, TEST_RUN_IFINDEX};

const ROUNDS: usize = 9;
const REPEAT: u32 = 1_000_000;
/// Fewer than the ring holds, so that every event of a round finds room.
const EVENTS_PER_ROUND: u32 = 10_000;
const RING_BYTES: u32 = 4 << 20;
const FLOOD_CHUNK: u32 = 100_000;
const FLOOD_CHUNKS: u32 = 40;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    let mut sensor = Sensor::load(RING_BYTES, false, None)?;
    sensor.load_empty()?;
    sensor.insert_counters(TEST_RUN_IFINDEX)?;
    machine();
    costs(&mut sensor)?;
    flood(sensor)
}

fn machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "))
        .unwrap_or("?");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("machine: {model}, {cores} CPUs, Linux {}", kernel.trim());
    println!(
        "method: BPF_PROG_TEST_RUN, median of {ROUNDS} rounds of {REPEAT} runs, ns per packet"
    );
}

fn costs(sensor: &mut Sensor) -> Result<(), Box<dyn std::error::Error>> {
    let udp = frames::udp;
    let cases = [
        ("IPv4 TCP", frames::ipv4(6, &[0; 40]), 15),
        (
            "IPv4 UDP, another port",
            frames::ipv4(17, &udp(40_000, 53, 64)),
            15,
        ),
        ("IPv6 TCP", frames::ipv6(6, &[0; 40]), 15),
        (
            "IPv6 UDP, another port",
            frames::ipv6(17, &udp(40_000, 53, 64)),
            15,
        ),
        (
            "VLAN, IPv4 TCP",
            frames::vlan(&frames::ipv4(6, &[0; 40])),
            0,
        ),
    ];
    println!(
        "\n{:<28} {:>8} {:>8} {:>8} {:>8}",
        "packet", "empty", "netmon", "cost", "budget"
    );
    for (name, frame, budget) in cases {
        let mut rounds = [(Duration::ZERO, Duration::ZERO); ROUNDS];
        for round in &mut rounds {
            *round = (
                sensor.test_run(Program::Empty, &frame, REPEAT)?,
                sensor.test_run(Program::Ingress, &frame, REPEAT)?,
            );
        }
        row(name, &rounds, budget);
    }
    for (name, frame) in [
        (
            "NTP, IPv4, to the ring",
            frames::ipv4(17, &udp(40_000, 123, 48)),
        ),
        (
            "NTP, IPv6, to the ring",
            frames::ipv6(17, &udp(40_000, 123, 48)),
        ),
    ] {
        let mut rounds = [(Duration::ZERO, Duration::ZERO); ROUNDS];
        for round in &mut rounds {
            while sensor.drain(|_| {}) {}
            *round = (
                sensor.test_run(Program::Empty, &frame, REPEAT)?,
                sensor.test_run(Program::Ingress, &frame, EVENTS_PER_ROUND)?,
            );
        }
        row(name, &rounds, 200);
    }
    while sensor.drain(|_| {}) {}
    Ok(())
}

fn row(name: &str, rounds: &[(Duration, Duration)], budget: u64) {
    let median = |mut values: Vec<u128>| {
        values.sort_unstable();
        values[values.len() / 2]
    };
    let empty = median(rounds.iter().map(|(empty, _)| empty.as_nanos()).collect());
    let netmon = median(rounds.iter().map(|(_, netmon)| netmon.as_nanos()).collect());
    let budget = if budget == 0 {
        String::from("-")
    } else {
        budget.to_string()
    };
    let cost = netmon.saturating_sub(empty);
    println!("{name:<28} {empty:>8} {netmon:>8} {cost:>8} {budget:>8}");
}

/// One CPU sends NTP as fast as the program runs, another takes the events.
fn flood(mut sensor: Sensor) -> Result<(), Box<dyn std::error::Error>> {
    let frame = frames::ipv4(17, &frames::udp(40_000, 123, 48));
    let lost_before = lost(&sensor)?;
    let producer = Sensor::program_handle(&sensor, Program::Ingress)?;
    let done = AtomicBool::new(false);
    let (events, elapsed) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let start = Instant::now();
            let result =
                (0..FLOOD_CHUNKS).try_for_each(|_| producer.run(&frame, FLOOD_CHUNK).map(|_| ()));
            done.store(true, Ordering::Release);
            result.map(|()| start.elapsed())
        });
        let mut events = 0_u64;
        loop {
            let last_look = done.load(Ordering::Acquire);
            let more = sensor.drain(|event| events += u64::from(event.is_some()));
            if last_look && !more {
                break;
            }
        }
        let elapsed = sending.join().expect("the sender does not panic")?;
        Ok::<_, Box<dyn std::error::Error>>((events, elapsed))
    })?;
    let sent = u64::from(FLOOD_CHUNK) * u64::from(FLOOD_CHUNKS);
    let lost = lost(&sensor)? - lost_before;
    let rate = events as f64 / elapsed.as_secs_f64() / 1e6;
    println!(
        "\nNTP packets sent {sent} in {:.2} s",
        elapsed.as_secs_f64()
    );
    println!("events {events} ({rate:.2} M/s through the ring, target 0.8), losses {lost}");
    let balanced = events + lost == sent;
    println!(
        "events + losses = sent: {}",
        if balanced { "yes" } else { "NO" }
    );
    if balanced {
        Ok(())
    } else {
        Err("the books do not balance".into())
    }
}

fn lost(sensor: &Sensor) -> Result<u64, aya::maps::MapError> {
    Ok(sensor.losses()?.iter().map(|(_, count)| count).sum())
}

mod frames {
    pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        frame.extend(ethertype.to_be_bytes());
        frame.extend(payload);
        frame
    }

    pub fn vlan(frame: &[u8]) -> Vec<u8> {
        [&frame[..12], &[0x81, 0, 0, 100], &frame[12..]].concat()
    }

    pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = vec![
            0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ];
        header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        header.extend(payload);
        ethernet(0x0800, &header)
    }

    pub fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
        header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        header.extend([0xfd; 32]);
        header.extend(payload);
        ethernet(0x86dd, &header)
    }

    pub fn udp(source: u16, destination: u16, payload: usize) -> Vec<u8> {
        let mut datagram = Vec::new();
        datagram.extend(source.to_be_bytes());
        datagram.extend(destination.to_be_bytes());
        datagram.extend((payload as u16 + 8).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.push(0x23);
        datagram.resize(8 + payload, 0);
        datagram
    }
}
