//! A thread of its own that reads the host at every interval: a driver that takes its time must
//! hold up nobody.

use std::{
    thread,
    time::{Duration, Instant},
};

use netmon_common::wire::SystemSample;
use tokio::sync::mpsc;

use super::{Host, Sampler, Source};
use crate::clock;

/// Samples that wait for the agent; beyond, the thread waits.
const WAITING: usize = 4;

/// Gives a sample at every interval.
#[derive(Debug)]
pub struct Collector {
    samples: Option<mpsc::Receiver<Collected>>,
}

/// A sample, and what was missing of it.
#[derive(Debug)]
pub struct Collected {
    /// What was read.
    pub sample: SystemSample,
    /// What could not be read.
    pub missing: Vec<Source>,
}

impl Collector {
    /// Begins with a first reading at once; `None` reads nothing, ever.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(interval: Option<Duration>, kinds: Vec<String>) -> std::io::Result<Self> {
        let Some(interval) = interval else {
            return Ok(Self { samples: None });
        };
        let (send, samples) = mpsc::channel(WAITING);
        thread::Builder::new()
            .name("system".to_owned())
            .spawn(move || collect(interval, kinds, &send))?;
        Ok(Self {
            samples: Some(samples),
        })
    }

    /// The next sample; pending for ever when nothing is read.
    pub async fn next(&mut self) -> Collected {
        let received = match &mut self.samples {
            Some(samples) => samples.recv().await,
            None => None,
        };
        match received {
            Some(collected) => collected,
            None => std::future::pending().await,
        }
    }
}

/// Until nobody listens any more.
fn collect(interval: Duration, kinds: Vec<String>, samples: &mpsc::Sender<Collected>) {
    let mut host = Host::new(kinds);
    let mut sampler = Sampler::default();
    let mut due = Instant::now();
    loop {
        let (reading, missing) = host.read(clock::now());
        let sample = sampler.sample(reading);
        if samples
            .blocking_send(Collected { sample, missing })
            .is_err()
        {
            return;
        }
        // Turns that were missed are left out.
        let late = due.elapsed();
        let turns = late.as_nanos() / interval.as_nanos().max(1) + 1;
        due += interval.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX));
        while let Some(left) = due
            .checked_duration_since(Instant::now())
            .filter(|d| !d.is_zero())
        {
            // In pieces, so that the end of the agent is noticed.
            thread::sleep(left.min(Duration::from_secs(1)));
            if samples.is_closed() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_sample_has_the_interval() {
        let mut collector = Collector::start(Some(Duration::from_millis(200)), vec![]).unwrap();
        let first = collector.next().await.sample;
        let second = collector.next().await.sample;
        assert_eq!(first.interval_us, 0);
        assert!(
            (150_000..2_000_000).contains(&second.interval_us),
            "{}",
            second.interval_us
        );
        assert!(second.cpu.is_some());
    }

    #[tokio::test]
    async fn turned_off_it_gives_nothing() {
        let mut collector = Collector::start(None, vec![]).unwrap();
        let none = tokio::time::timeout(Duration::from_millis(50), collector.next()).await;
        assert!(none.is_err());
    }
}
