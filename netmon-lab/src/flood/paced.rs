//! Frames that differ each time they are sent, at a rate.

use std::{
    hint, io, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{AT_ONCE, Flood, Sent, messages::Messages, on_cpu};
use crate::cpus::stay_on;

/// A sleep may last this much longer: the rest is waited for on the CPU.
const OVERSLEPT: Duration = Duration::from_micros(150);
/// What was missed in so much time is made up for at once, and no more: that would be another test.
const MADE_UP: Duration = Duration::from_millis(5);

/// How fast, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Frames a second, if the CPU can send so many.
    pub rate: f64,
    /// Frames that are sent one behind the other: at most 256.
    pub burst: usize,
    /// For how long.
    pub time: Duration,
}

impl Flood {
    /// Sends the frames, `pace.burst` after `pace.burst` and again from the first, each time after
    /// `renew` has changed those that are next. The sending thread stays on `cpu`, as in
    /// [`Flood::send_for`]. `frames` is a multiple of `pace.burst`.
    ///
    /// # Errors
    /// When the interface does not take the frames.
    pub fn send_paced(
        &self,
        frames: &mut [Vec<u8>],
        pace: Pace,
        cpu: Option<usize>,
        renew: impl FnMut(&mut [Vec<u8>]) + Send,
    ) -> Result<Sent> {
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                if let Some(cpu) = cpu {
                    stay_on(cpu)?;
                }
                self.send_renewed(frames, pace, renew)
            });
            sending.join().expect("sending does not panic")
        })
        .context("cannot send a frame")
    }

    fn send_renewed(
        &self,
        frames: &mut [Vec<u8>],
        pace: Pace,
        mut renew: impl FnMut(&mut [Vec<u8>]),
    ) -> io::Result<Sent> {
        let burst = pace.burst.clamp(1, AT_ONCE);
        let apart = Duration::from_secs_f64(burst as f64 / pace.rate);
        let began = Instant::now();
        let cpu_before = on_cpu()?;
        let mut due = began;
        let mut sent = 0;
        'all: loop {
            for part in frames.chunks_mut(burst) {
                wait_for(due);
                if began.elapsed() >= pace.time {
                    break 'all;
                }
                renew(part);
                self.send_all(part)?;
                sent += part.len() as u64;
                let earliest = Instant::now().checked_sub(MADE_UP);
                due = (due + apart).max(earliest.unwrap_or(due));
            }
            if frames.is_empty() {
                break;
            }
        }
        Ok(Sent {
            frames: sent,
            elapsed: began.elapsed(),
            cpu: on_cpu()? - cpu_before,
        })
    }

    /// Hands all frames over, one behind the other.
    fn send_all(&self, frames: &[Vec<u8>]) -> io::Result<()> {
        let mut messages = Messages::new(frames);
        let mut sent = 0;
        while sent < messages.len() {
            sent += messages.hand_over(&self.0, sent..messages.len())?;
        }
        Ok(())
    }
}

fn wait_for(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > OVERSLEPT {
            thread::sleep(left - OVERSLEPT);
        } else {
            hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        InterfaceStatistics, Namespace,
        link::{End, Mac, veth},
    };

    #[test]
    fn frames_are_renewed_before_they_leave_and_leave_at_the_rate() -> Result<()> {
        let (here, there) = (Namespace::new()?, Namespace::new()?);
        let end = |place, name, number| End {
            place,
            name,
            mac: Mac::local(number),
        };
        veth(end(&here, "out", 1), end(&there, "in", 2))?;
        let mut frame = [0x02, 0, 0, 0, 0, 9, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5].to_vec();
        frame.resize(60, 0);
        let mut frames = vec![frame; 40];
        let pace = Pace {
            rate: 10_000.0,
            burst: 20,
            time: Duration::from_millis(200),
        };
        let mut renewed = 0;
        let sent = Flood::open(&here, "out")?.send_paced(&mut frames, pace, None, |part| {
            renewed += part.len() as u64;
        })?;
        assert_eq!(sent.frames, renewed);
        assert!((20..=2020).contains(&sent.frames), "{sent:?}");
        let arrived = InterfaceStatistics::read(&there, "in")?.rx_packets;
        assert_eq!(arrived, sent.frames);
        Ok(())
    }
}
