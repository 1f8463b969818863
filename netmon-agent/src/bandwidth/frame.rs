//! Samples of one interface packed into the frames that are stored.

use std::time::Duration;

use netmon_common::{
    counters::Counters,
    wire::{self, BandwidthFrame, DirectionDeltas, MAX_FRAME_SAMPLES},
};

use super::{Flags, Sample, Totals};
use crate::clock::Now;

/// Collects samples until a frame is full.
#[derive(Debug)]
pub struct FrameBuilder {
    interface: String,
    ifindex: u32,
    attachment: u32,
    capacity: usize,
    started_at_unix_ns: i64,
    samples: Vec<Sample>,
}

impl FrameBuilder {
    /// A builder whose frames carry the totals of `attachment` and cover about `frame_interval` at one sample per `sample_interval`.
    pub fn new(
        interface: String,
        ifindex: u32,
        attachment: u32,
        frame_interval: Duration,
        sample_interval: Duration,
        now: Now,
    ) -> Self {
        let samples = frame_interval.as_nanos() / sample_interval.as_nanos().max(1);
        let capacity = usize::try_from(samples)
            .unwrap_or(usize::MAX)
            .clamp(1, MAX_FRAME_SAMPLES);
        Self {
            interface,
            ifindex,
            attachment,
            capacity,
            started_at_unix_ns: now.unix_ns,
            samples: Vec::new(),
        }
    }

    /// Adds a sample taken `now`; returns the frame that is full with it. A sample with a clock
    /// step ends its frame, since times after it belong to another clock.
    pub fn push(&mut self, now: Now, sample: Sample, totals: Totals) -> Option<BandwidthFrame> {
        self.samples.push(sample);
        let stepped = sample.flags.0 & Flags::CLOCK_STEP.0 != 0;
        if stepped || self.samples.len() >= self.capacity {
            self.finish(now, totals)
        } else {
            None
        }
    }

    /// The frame so far, if it holds a sample; the next one starts `now`.
    pub fn finish(&mut self, now: Now, totals: Totals) -> Option<BandwidthFrame> {
        let samples = std::mem::take(&mut self.samples);
        let started_at_unix_ns = std::mem::replace(&mut self.started_at_unix_ns, now.unix_ns);
        if samples.is_empty() {
            return None;
        }
        let flagged = samples.iter().any(|sample| sample.flags != Flags::NONE);
        Some(BandwidthFrame {
            interface: self.interface.clone(),
            ifindex: self.ifindex,
            started_at_unix_ns,
            interval_us: samples.iter().map(|sample| sample.interval_us).collect(),
            ingress: Some(deltas(samples.iter().map(|sample| sample.ingress))),
            egress: Some(deltas(samples.iter().map(|sample| sample.egress))),
            flags: if flagged {
                samples.iter().map(|sample| sample.flags.0).collect()
            } else {
                vec![]
            },
            ingress_total: Some(message(totals.ingress)),
            egress_total: Some(message(totals.egress)),
            attachment: self.attachment,
        })
    }
}

/// The counters as a message.
pub fn message(counters: Counters) -> wire::Counters {
    wire::Counters {
        packets: counters.packets,
        bytes: counters.bytes,
        wire_packets: counters.wire_packets,
        wire_bytes: counters.wire_bytes,
    }
}

fn deltas(samples: impl Iterator<Item = Counters> + Clone) -> DirectionDeltas {
    let segmented = samples
        .clone()
        .any(|d| (d.packets, d.bytes) != (d.wire_packets, d.wire_bytes));
    let wire = |value: fn(Counters) -> u64| {
        if segmented {
            samples.clone().map(value).collect()
        } else {
            vec![]
        }
    };
    DirectionDeltas {
        packets: samples.clone().map(|delta| delta.packets).collect(),
        bytes: samples.clone().map(|delta| delta.bytes).collect(),
        wire_packets: wire(|delta| delta.wire_packets),
        wire_bytes: wire(|delta| delta.wire_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(500);

    fn at(tick: u64) -> Now {
        Now {
            monotonic_ns: tick * 500_000_000,
            unix_ns: 1_000 + tick as i64 * 500_000_000,
        }
    }

    fn sample(packets: u64, wire_packets: u64, flags: Flags) -> Sample {
        let ingress =
            Counters::from_words([packets, packets * 100, wire_packets, wire_packets * 100]);
        Sample {
            interval_us: 500_000,
            ingress,
            egress: Counters::default(),
            flags,
        }
    }

    #[test]
    fn a_frame_is_full_after_its_interval() {
        let mut builder = FrameBuilder::new("eth0".into(), 2, 7, 4 * TICK, TICK, at(0));
        for tick in 1..4 {
            assert!(
                builder
                    .push(at(tick), sample(1, 1, Flags::NONE), Totals::default())
                    .is_none()
            );
        }
        let frame = builder
            .push(at(4), sample(2, 2, Flags::NONE), Totals::default())
            .unwrap();
        assert_eq!(frame.started_at_unix_ns, 1_000);
        assert_eq!(frame.ingress.unwrap().packets, [1, 1, 1, 2]);
        assert!(frame.flags.is_empty());
        let next = builder
            .push(at(5), sample(1, 1, Flags::CLOCK_STEP), Totals::default())
            .unwrap();
        assert_eq!(next.started_at_unix_ns, at(4).unix_ns);
    }

    #[test]
    fn wire_counts_are_sent_only_where_they_differ() {
        let mut builder = FrameBuilder::new("eth0".into(), 2, 7, 2 * TICK, TICK, at(0));
        builder.push(at(1), sample(1, 1, Flags::NONE), Totals::default());
        let frame = builder
            .push(at(2), sample(1, 9, Flags::NONE), Totals::default())
            .unwrap();
        assert_eq!(frame.ingress.unwrap().wire_packets, [1, 9]);
        assert!(frame.egress.unwrap().wire_packets.is_empty());
    }

    #[test]
    fn a_clock_step_ends_the_frame() {
        let mut builder = FrameBuilder::new("eth0".into(), 2, 7, 20 * TICK, TICK, at(0));
        builder.push(at(1), sample(1, 1, Flags::NONE), Totals::default());
        let frame = builder
            .push(at(2), sample(1, 1, Flags::CLOCK_STEP), Totals::default())
            .unwrap();
        assert_eq!(frame.flags, [0, Flags::CLOCK_STEP.0]);
    }

    #[test]
    fn a_frame_never_holds_more_than_the_protocol_allows() {
        let mut builder = FrameBuilder::new("eth0".into(), 2, 7, 600 * TICK, TICK, at(0));
        let full = (1..)
            .find_map(|tick| builder.push(at(tick), sample(1, 1, Flags::NONE), Totals::default()));
        assert_eq!(full.unwrap().interval_us.len(), MAX_FRAME_SAMPLES);
    }
}
