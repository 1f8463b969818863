//! When the kernel says that a flow was seen.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use netmon_agent::{
    clock,
    sensor::{FlowSizes, Program, Sensor, TEST_RUN_IFINDEX},
};
use netmon_common::flow::Flow;
use netmon_lab::{
    cpus,
    frames::{ethernet, ipv4, udp},
};

/// Far more than a tick, for machines that stand still now and then.
const BEHIND: Duration = Duration::from_secs(1);
/// Longer.
const PAUSE: Duration = Duration::from_millis(1_500);

fn with_flows() -> Result<Sensor> {
    let sizes = FlowSizes {
        max_entries: 4_096,
        ring_bytes: 1 << 20,
    };
    let mut sensor = Sensor::load_with_flows(1 << 20, false, None, Some(sizes))?;
    sensor.insert_counters(TEST_RUN_IFINDEX)?;
    Ok(sensor)
}

fn from_port(port: u16) -> Vec<u8> {
    ethernet(&[], 0x0800, &ipv4(17, 0, 0, &udp(port, 9, &[0x5a; 8])))
}

fn flows(sensor: &mut Sensor) -> Result<Vec<Flow>> {
    let mut flows = Vec::new();
    for _ in 0..2 {
        sensor.drain_flows(|key, value| flows.push(Flow::new(key, value)))?;
    }
    Ok(flows)
}

#[tokio::test]
async fn flows_are_seen_when_their_packets_come() -> Result<()> {
    let mut sensor = with_flows()?;
    let frame = from_port(40_000);
    let sent = || -> Result<_> {
        let before_ns = clock::now().monotonic_ns;
        sensor.test_run(Program::Ingress, &frame, 1)?;
        Ok(before_ns - BEHIND.as_nanos() as u64..=clock::now().monotonic_ns)
    };
    let first = sent()?;
    thread::sleep(PAUSE);
    let last = sent()?;
    let flows = flows(&mut sensor)?;
    let [flow] = flows.as_slice() else {
        panic!("{} flows", flows.len());
    };
    assert!(first.contains(&flow.first_seen_ns), "{flow:?}, {first:?}");
    assert!(last.contains(&flow.last_seen_ns), "{flow:?}, {last:?}");
    Ok(())
}

/// Each CPU reads the clock once a tick: what one sees after the other may have the earlier time.
#[tokio::test]
async fn no_flow_ends_before_it_begins_whichever_cpus_its_packets_come_to() -> Result<()> {
    const FLOWS: u16 = 2_000;
    let mut sensor = with_flows()?;
    let cpus = cpus::allowed()?;
    for port in 0..FLOWS {
        let frame = from_port(port);
        for turn in 0..2 {
            cpus::stay_on(cpus[usize::from(port + turn) % cpus.len()])?;
            sensor.test_run(Program::Ingress, &frame, 1)?;
        }
    }
    let flows = flows(&mut sensor)?;
    assert_eq!(flows.len(), usize::from(FLOWS));
    for flow in flows {
        ensure!(flow.first_seen_ns <= flow.last_seen_ns, "{flow:?}");
    }
    Ok(())
}
