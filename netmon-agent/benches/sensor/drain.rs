//! What taking 100,000 flows out of the kernel's map takes.

use std::time::Instant;

use anyhow::{Result, ensure};
use netmon_agent::sensor::{Program, Sensor};

use crate::{frames, report};

const FLOWS: u32 = 100_000;

pub fn measure(sensor: &mut Sensor) -> Result<()> {
    // Both generations.
    for _ in 0..2 {
        sensor.drain_flows(|_, _| {})?;
    }
    let began = Instant::now();
    for frame in frames::flows(FLOWS) {
        sensor.test_run(Program::Ingress, &frame, 1)?;
    }
    let made = began.elapsed();
    sensor.drain_flows(|_, _| {})?;
    let mut packets = 0;
    let began = Instant::now();
    let fill = sensor.drain_flows(|_, value| packets += value.total().packets)?;
    let took = began.elapsed();
    report::heading(&format!("{FLOWS} flows"));
    report::figure("made by as many test runs in", format!("{made:.0?}"), None);
    report::figure("taken out of the map in", format!("{took:.1?}"), None);
    ensure!(
        fill.v4 == u64::from(FLOWS) && packets == fill.v4,
        "the books do not balance: {} flows with {packets} packets of {FLOWS}",
        fill.v4
    );
    Ok(())
}
