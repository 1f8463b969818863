//! NTP events per second through the ring into user space, with nothing unaccounted.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use anyhow::{Result, ensure};
use netmon_agent::sensor::{Program, Sensor};

use crate::{frames, report};

const CHUNK: u32 = 100_000;
const CHUNKS: u32 = 40;

/// One CPU sends NTP as fast as the program runs, another takes the events.
pub fn measure(sensor: &mut Sensor) -> Result<()> {
    let frame = frames::ipv4(17, &frames::udp(40_000, 123, 48));
    let lost_before = lost(sensor)?;
    let producer = sensor.program_handle(Program::Ingress)?;
    let done = AtomicBool::new(false);
    let (events, elapsed) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let start = Instant::now();
            let result = (0..CHUNKS).try_for_each(|_| producer.run(&frame, CHUNK).map(|_| ()));
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
        anyhow::Ok((events, elapsed))
    })?;
    let sent = u64::from(CHUNK) * u64::from(CHUNKS);
    let lost = lost(sensor)? - lost_before;
    let rate = events as f64 / elapsed.as_secs_f64() / 1e6;
    report::heading("NTP through the ring");
    report::figure(
        &format!("{sent} packets, {lost} counted as lost: events, M/s"),
        format!("{rate:.2}"),
        Some(">= 0.8"),
    );
    ensure!(
        events + lost == sent,
        "the books do not balance: {events} events and {lost} losses of {sent} packets"
    );
    Ok(())
}

fn lost(sensor: &Sensor) -> Result<u64> {
    Ok(sensor.losses()?.iter().map(|(_, count)| count).sum())
}
