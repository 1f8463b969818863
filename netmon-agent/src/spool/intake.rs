//! Records become batches: one open batch per kind, sealed by count, size or age, and numbered.
//!
//! Pure bookkeeping on (record, now). A sealed batch waits here until the spool's thread has taken
//! it; when the disk keeps the thread waiting for long, the least valuable go, by name.

use std::{collections::VecDeque, time::Duration};

use netmon_common::wire::{
    self, BandwidthFrame, ClockState, Gap, Interface, KINDS, Kind, NtpControl, NtpExchange,
    NtpFold, Sighting, SystemSample,
};
use prost::Message as _;

use super::rank;
use crate::clock::{Moment, Now, Synchronisation};

/// A batch is sealed early rather than grow beyond this many bytes, well below the protocol's
/// limit for a message.
const SOFT_LIMIT_BYTES: usize = wire::MAX_UPLINK_BYTES / 2;

/// When batches are sealed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At this many records …
    pub max_records: usize,
    /// … or at this age.
    pub max_age: Duration,
    /// Most bytes of sealed batches that the spool has not taken yet.
    pub max_queue_bytes: usize,
}

/// A sealed batch on its way into the spool.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Complete but for the reports.
    pub batch: wire::Batch,
    /// Its kind.
    pub kind: Kind,
    /// Frames, samples or exchanges in it.
    pub records: u64,
    /// About its size.
    pub bytes: usize,
    /// Whether the reports on streams ride in it in any case.
    pub must_report: bool,
    /// Attachments that are gone, once the batch's frames are known.
    pub forget: Vec<(u32, u32)>,
    /// When it was sealed.
    pub at: Moment,
}

/// Batches of one stream that were sealed and that the spool never took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unspooled {
    /// Of which stream.
    pub kind: Kind,
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
    /// How many batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
}

#[derive(Debug, Default)]
struct Open {
    batch: wire::Batch,
    bytes: usize,
    records: usize,
    since_ns: Option<u64>,
    forget: Vec<(u32, u32)>,
}

/// The open batches and the queue of sealed ones.
#[derive(Debug)]
pub struct Intake {
    epoch: u64,
    limits: Limits,
    open: [Open; KINDS.len()],
    sealed: [u64; KINDS.len()],
    queue: VecDeque<Sealed>,
    queue_bytes: usize,
    unspooled: Vec<Unspooled>,
    report_due: bool,
}

impl Intake {
    /// The run that numbers the batches.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Nothing yet, in a new epoch.
    pub fn new(epoch: u64, limits: Limits) -> Self {
        Self {
            epoch,
            limits,
            open: Default::default(),
            sealed: [0; KINDS.len()],
            queue: VecDeque::new(),
            queue_bytes: 0,
            unspooled: Vec::new(),
            report_due: false,
        }
    }

    /// Adds a frame of samples.
    pub fn push_bandwidth(&mut self, now: Now, frame: BandwidthFrame, clock: Synchronisation) {
        let bytes = frame.encoded_len();
        self.add(now, Kind::Bandwidth, bytes, clock, |open| {
            open.bandwidth.push(frame)
        });
    }

    /// Adds an exchange.
    pub fn push_exchange(&mut self, now: Now, exchange: NtpExchange, clock: Synchronisation) {
        let bytes = exchange.encoded_len();
        self.add(now, Kind::Exchanges, bytes, clock, |open| {
            open.exchanges.push(exchange)
        });
    }

    /// Adds exchanges that were counted together.
    pub fn push_fold(&mut self, now: Now, fold: NtpFold, clock: Synchronisation) {
        let bytes = fold.encoded_len();
        self.add(now, Kind::Exchanges, bytes, clock, |open| {
            open.ntp_folds.push(fold)
        });
    }

    /// Adds a question of NTP's modes 6 and 7 and its answer.
    pub fn push_control(&mut self, now: Now, control: NtpControl, clock: Synchronisation) {
        let bytes = control.encoded_len();
        self.add(now, Kind::Exchanges, bytes, clock, |open| {
            open.ntp_controls.push(control)
        });
    }

    /// Adds what was seen of a watched address.
    pub fn push_sighting(&mut self, now: Now, sighting: Sighting, clock: Synchronisation) {
        let bytes = sighting.encoded_len();
        self.add(now, Kind::Sightings, bytes, clock, |open| {
            open.sightings.push(sighting)
        });
    }

    /// Adds a reading of the host.
    pub fn push_system(&mut self, now: Now, sample: SystemSample, clock: Synchronisation) {
        let bytes = sample.encoded_len();
        self.add(now, Kind::System, bytes, clock, |open| {
            open.system.push(sample)
        });
    }

    /// Adds an interface that appeared or changed.
    pub fn push_interface(&mut self, now: Now, interface: Interface, clock: Synchronisation) {
        let bytes = interface.encoded_len();
        self.add(now, Kind::Bandwidth, bytes, clock, |open| {
            open.interfaces.push(interface)
        });
    }

    /// Adds a time in which nothing was measured.
    pub fn push_gap(&mut self, now: Now, gap: Gap, clock: Synchronisation) {
        let bytes = gap.encoded_len();
        self.add(now, Kind::Bandwidth, bytes, clock, |open| {
            open.gaps.push(gap)
        });
    }

    /// An attachment is gone, and its last frame has been pushed: nobody will take over from its
    /// totals.
    pub fn forget_attachment(&mut self, ifindex: u32, attachment: u32) {
        let open = &mut self.open[rank(Kind::Bandwidth)];
        open.forget.push((ifindex, attachment));
    }

    fn add(
        &mut self,
        now: Now,
        kind: Kind,
        bytes: usize,
        clock: Synchronisation,
        push: impl FnOnce(&mut wire::Batch),
    ) {
        if self.open[rank(kind)].bytes + bytes > SOFT_LIMIT_BYTES {
            self.seal_kind(now, kind, clock, false);
        }
        let open = &mut self.open[rank(kind)];
        push(&mut open.batch);
        // Tag and length of an embedded message take at most six octets here.
        open.bytes += bytes + 6;
        open.records += 1;
        open.since_ns.get_or_insert(now.monotonic_ns);
        if open.records >= self.limits.max_records {
            self.seal_kind(now, kind, clock, false);
        }
    }

    /// Seals every open batch that is old enough, and one for reports if some are due.
    pub fn seal_if_due(&mut self, now: Now, clock: Synchronisation) {
        for kind in KINDS {
            let since_ns = self.open[rank(kind)].since_ns;
            let is_due = since_ns.is_some_and(|since_ns| {
                let age_ns = u128::from(now.monotonic_ns.saturating_sub(since_ns));
                age_ns >= self.limits.max_age.as_nanos()
            });
            let reports = kind == Kind::Bandwidth && self.report_due;
            if is_due || reports {
                self.seal_kind(now, kind, clock, reports);
            }
        }
    }

    /// Seals every open batch that is not empty.
    pub fn seal(&mut self, now: Now, clock: Synchronisation) {
        for kind in KINDS {
            self.seal_kind(now, kind, clock, false);
        }
    }

    /// The last batches of the run: those of bandwidth say how far each stream has come.
    pub fn seal_last(&mut self, now: Now, clock: Synchronisation) {
        for kind in KINDS.into_iter().rev() {
            self.seal_kind(now, kind, clock, kind == Kind::Bandwidth);
        }
    }

    fn seal_kind(&mut self, now: Now, kind: Kind, clock: Synchronisation, must_report: bool) {
        let open = &mut self.open[rank(kind)];
        if open.since_ns.is_none() && !must_report {
            return;
        }
        let Open {
            batch,
            bytes,
            forget,
            ..
        } = std::mem::take(open);
        let sealed = &mut self.sealed[rank(kind)];
        *sealed += 1;
        let is_first = *sealed == 1;
        let batch = wire::Batch {
            epoch: self.epoch,
            sequence: *sealed,
            kind: kind.into(),
            sealed_at_unix_ns: now.unix_ns,
            clock: Some(ClockState {
                synchronised: clock.synchronised,
                maximum_error_us: clock.maximum_error_us,
                estimated_error_us: clock.estimated_error_us,
            }),
            ..batch
        };
        let records = batch.bandwidth.len()
            + batch.exchanges.len()
            + batch.ntp_controls.len()
            + batch.ntp_folds.len()
            + batch.system.len()
            + batch.sightings.len();
        self.queue_bytes += bytes;
        self.queue.push_back(Sealed {
            records: records as u64,
            kind,
            bytes,
            must_report: must_report || is_first,
            forget,
            batch,
            at: Moment::of(now),
        });
        if kind == Kind::Bandwidth {
            self.report_due = false;
        }
        self.make_room();
    }

    /// The newest batch always stays.
    fn make_room(&mut self) {
        while self.queue_bytes > self.limits.max_queue_bytes && self.queue.len() > 1 {
            let all_but_newest = self.queue.iter().take(self.queue.len() - 1).enumerate();
            let victim = all_but_newest
                .max_by_key(|(at, sealed)| (rank(sealed.kind), usize::MAX - at))
                .map(|(at, _)| at);
            let Some(sealed) = victim.and_then(|at| self.queue.remove(at)) else {
                return;
            };
            self.queue_bytes -= sealed.bytes;
            let open = &mut self.open[rank(Kind::Bandwidth)];
            open.forget.extend(sealed.forget);
            self.give_up(sealed.kind, sealed.batch.sequence, sealed.records);
        }
    }

    fn give_up(&mut self, kind: Kind, sequence: u64, records: u64) {
        let before = self
            .unspooled
            .iter_mut()
            .find(|range| range.kind == kind && range.last + 1 == sequence);
        match before {
            Some(range) => {
                range.last = sequence;
                range.batches += 1;
                range.records += records;
            }
            None => self.unspooled.push(Unspooled {
                kind,
                first: sequence,
                last: sequence,
                batches: 1,
                records,
            }),
        }
    }

    /// Everything sealed, in order, and what had to go.
    pub fn take(&mut self) -> (VecDeque<Sealed>, Vec<Unspooled>) {
        self.queue_bytes = 0;
        (
            std::mem::take(&mut self.queue),
            std::mem::take(&mut self.unspooled),
        )
    }

    /// Whether there is something to take.
    pub fn has_sealed(&self) -> bool {
        !self.queue.is_empty() || !self.unspooled.is_empty()
    }

    /// Whether nothing is open and nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        !self.has_sealed() && self.open.iter().all(|open| open.since_ns.is_none())
    }

    /// Whether reports wait for a batch of their own.
    pub fn set_report_due(&mut self, due: bool) {
        self.report_due = due;
    }
}
