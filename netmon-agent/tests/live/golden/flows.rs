//! The kernel's flow maps against the table of user space, on every golden packet cut at every octet.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use netmon_agent::sensor::{FlowSizes, Program, Sensor, TEST_RUN_IFINDEX};
use netmon_common::{
    counters::{Counters, Direction},
    flow::{Flow, FlowTable},
    packet::{Link, Slice, parse},
};

use super::{comparison::least_length, lengths, table};

/// Everything but the times: the kernel's are of the moment of the test.
fn timeless(flow: Flow) -> Flow {
    Flow {
        first_seen_ns: 0,
        last_seen_ns: 0,
        ..flow
    }
}

fn by_key(flows: impl IntoIterator<Item = Flow>) -> BTreeMap<String, Flow> {
    let named = flows
        .into_iter()
        .map(|flow| (format!("{:?}", flow.key), timeless(flow)));
    named.collect()
}

#[tokio::test]
async fn kernel_and_user_space_see_the_same_flows() -> Result<()> {
    let sizes = FlowSizes {
        max_entries: 65_536,
        ring_bytes: 1 << 20,
    };
    let mut sensor = Sensor::load_with_flows(1 << 20, false, None, Some(sizes))?;
    sensor.insert_counters(TEST_RUN_IFINDEX)?;
    let mut table = FlowTable::new(65_536);
    let mut packets = 0;
    for golden in table::packets() {
        let shortest = least_length(&golden.frame);
        // Twice whole: the first packet of a flow takes another way than the second.
        let lengths = lengths(&golden.frame, shortest).chain([golden.frame.len()]);
        for length in lengths.filter(|length| *length >= shortest) {
            let Some(frame) = golden.frame.get(..length) else {
                continue;
            };
            sensor.test_run(Program::Ingress, frame, 1)?;
            let reader = Slice(frame);
            let packet = Link::parse(&reader, None).and_then(|link| parse(&reader, link));
            let bytes = frame.len() as u64;
            let passed = Counters::from_words([1, bytes, 1, bytes]);
            table.frame(&reader, &packet, TEST_RUN_IFINDEX, passed, 1);
            packets += 1;
        }
    }
    let mut flows = Vec::new();
    for _ in 0..2 {
        sensor.drain_flows(|key, value| flows.push(Flow::new(key, value)))?;
    }
    let untracked = sensor.untracked(TEST_RUN_IFINDEX, Direction::Ingress)?;
    assert_eq!(untracked, table.untracked_total());
    let (kernel, user_space) = (by_key(flows), by_key(table.take()));
    ensure!(!kernel.is_empty(), "there were flows");
    for (key, flow) in &user_space {
        assert_eq!(kernel.get(key), Some(flow), "{key}");
    }
    assert_eq!(kernel.len(), user_space.len());
    let tracked: u64 = kernel.values().map(|flow| flow.total().packets).sum();
    assert_eq!(tracked + untracked.total().packets, packets);
    Ok(())
}
