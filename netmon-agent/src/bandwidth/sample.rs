//! One interface's counters from one reading to the next.

use std::ops::BitOr;

use netmon_common::{counters::Counters, wire::SampleFlag};

use crate::clock::Now;

/// The database's column is a signed 32-bit number. A host that was frozen for longer than this half
/// hour gets a sample that says so much.
const MAX_INTERVAL_US: u64 = i32::MAX as u64;

/// Why a sample is implausible: it counts in sums and is left out of rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Nothing to object.
    pub const NONE: Self = Self(0);
    /// The counter went back: the delta is not known and counts as 0.
    pub const COUNTER_WENT_BACK: Self = Self(SampleFlag::CounterWentBack as u32);
    /// More than twice what the link can carry.
    pub const ABOVE_LINK_SPEED: Self = Self(SampleFlag::AboveLinkSpeed as u32);
    /// The wall clock was stepped during the sample.
    pub const CLOCK_STEP: Self = Self(SampleFlag::ClockStep as u32);
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Running totals of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Received.
    pub ingress: Counters,
    /// Sent.
    pub egress: Counters,
}

/// What passed between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Length by the monotonic clock, µs.
    pub interval_us: u32,
    /// Received.
    pub ingress: Counters,
    /// Sent.
    pub egress: Counters,
    /// Whether the sample is plausible.
    pub flags: Flags,
}

/// Turns readings of one interface's counters into samples.
#[derive(Debug)]
pub struct Sampler {
    last: Totals,
    last_us: u64,
}

impl Sampler {
    /// Starts at zero: the keys were inserted into the kernel's map just now.
    pub fn new(now: Now) -> Self {
        Self {
            last: Totals::default(),
            last_us: now.monotonic_ns / 1000,
        }
    }

    /// Goes on from a reading of an earlier agent, taken `last`, on counters that never stopped.
    pub fn resume(last: Now, totals: Totals) -> Self {
        Self {
            last: totals,
            last_us: last.monotonic_ns / 1000,
        }
    }

    /// The totals of the last reading.
    pub fn totals(&self) -> Totals {
        self.last
    }

    /// The next sample. `link_speed_bps` is `None` when the link does not say.
    pub fn sample(
        &mut self,
        now: Now,
        totals: Totals,
        link_speed_bps: Option<u64>,
        clock_stepped: bool,
    ) -> Sample {
        // Whole microseconds on both ends, so that rounding does not add up over samples.
        let now_us = now.monotonic_ns / 1000;
        let interval_us = now_us.saturating_sub(self.last_us).min(MAX_INTERVAL_US) as u32;
        let ingress = totals.ingress.since(self.last.ingress);
        let egress = totals.egress.since(self.last.egress);
        let mut flags = Flags::NONE;
        if ingress.is_none() || egress.is_none() {
            flags = flags | Flags::COUNTER_WENT_BACK;
        }
        if clock_stepped {
            flags = flags | Flags::CLOCK_STEP;
        }
        let (ingress, egress) = (ingress.unwrap_or_default(), egress.unwrap_or_default());
        let above = |delta: Counters| {
            link_speed_bps.is_some_and(|speed| is_above_twice(delta.wire_bytes, interval_us, speed))
        };
        if above(ingress) || above(egress) {
            flags = flags | Flags::ABOVE_LINK_SPEED;
        }
        self.last = totals;
        self.last_us = now_us;
        Sample {
            interval_us,
            ingress,
            egress,
            flags,
        }
    }
}

fn is_above_twice(bytes: u64, interval_us: u32, link_speed_bps: u64) -> bool {
    let bits = u128::from(bytes) * 8 * 1_000_000;
    bits > 2 * u128::from(link_speed_bps) * u128::from(interval_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            monotonic_ns: ms * 1_000_000,
            unix_ns: 0,
        }
    }

    fn received(packets: u64, bytes: u64) -> Totals {
        Totals {
            ingress: Counters::from_words([packets, bytes, packets, bytes]),
            ..Totals::default()
        }
    }

    #[test]
    fn a_sample_is_what_was_added_since_the_last_one() {
        let mut sampler = Sampler::new(at(0));
        sampler.sample(at(500), received(2, 200), None, false);
        let sample = sampler.sample(at(1000), received(5, 800), None, false);
        assert_eq!((sample.interval_us, sample.flags), (500_000, Flags::NONE));
        assert_eq!((sample.ingress.packets, sample.ingress.bytes), (3, 600));
    }

    #[test]
    fn a_counter_that_goes_back_is_flagged_and_counts_as_zero() {
        let mut sampler = Sampler::new(at(0));
        sampler.sample(at(500), received(5, 800), None, false);
        let sample = sampler.sample(at(1000), received(1, 100), None, false);
        assert_eq!(sample.flags, Flags::COUNTER_WENT_BACK);
        assert_eq!(sample.ingress, Counters::default());
        let sample = sampler.sample(at(1500), received(2, 150), None, false);
        assert_eq!((sample.flags, sample.ingress.bytes), (Flags::NONE, 50));
    }

    #[test]
    fn only_more_than_twice_the_link_speed_is_flagged() {
        // 1 Mbit/s for half a second: 62,500 octets.
        for (bytes, flags) in [(125_000, Flags::NONE), (125_001, Flags::ABOVE_LINK_SPEED)] {
            let mut sampler = Sampler::new(at(0));
            let sample = sampler.sample(at(500), received(1, bytes), Some(1_000_000), false);
            assert_eq!(sample.flags, flags, "{bytes}");
            assert_eq!(sample.ingress.bytes, bytes, "sums stay whole");
        }
    }

    #[test]
    fn rounding_to_microseconds_does_not_add_up() {
        let mut sampler = Sampler::new(at(0));
        let step_ns = 333_333_333;
        let total: u64 = (1..=30)
            .map(|i| Now {
                monotonic_ns: i * step_ns,
                unix_ns: 0,
            })
            .map(|now| {
                u64::from(
                    sampler
                        .sample(now, Totals::default(), None, false)
                        .interval_us,
                )
            })
            .sum();
        assert_eq!(total, 30 * step_ns / 1000);
    }
}
