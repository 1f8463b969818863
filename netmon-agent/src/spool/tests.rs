//! The spool against a server that keeps books of its own.

mod backlog;
mod crash;
mod damage;
mod disk_broken;
mod disk_full;
mod offline;
mod restart;
mod server;

use std::{fmt, path::Path, time::Duration};

use netmon_common::wire::{
    BandwidthFrame, Counters, DirectionDeltas, Kind, MAX_STREAM_BATCHES, NtpExchange, SystemSample,
};

use self::server::Server;
use super::{
    book::Caps,
    directory::OpenError,
    intake::{Intake, Limits},
    keeper::{Keeper, Options, SyncPolicy},
    recovery::Recovered,
};
use crate::clock::{Now, Synchronisation};

/// What a test wants to see after each change on disk.
pub struct OnStep(pub Box<Step>);

type Step = dyn FnMut(&Path, &'static str) + Send;

impl fmt::Debug for OnStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnStep")
    }
}

const CLOCK: Synchronisation = Synchronisation {
    synchronised: true,
    maximum_error_us: 0,
    estimated_error_us: 0,
};

const CAPS: Caps = Caps {
    disk_bytes: 1 << 30,
    memory_bytes: 64 << 20,
    max_age: Duration::from_secs(60 * 24 * 3600),
    segment_bytes: 1 << 20,
};

/// The attachment whose counters outlive the agent.
const ATTACHMENT: (u32, u32) = (2, 77);

/// An agent of which only the spool is real. Every call of a `push_…` seals one batch.
struct Agent {
    keeper: Keeper,
    intake: Intake,
    now: Now,
    /// The counter in the frames that were pushed.
    packets: u64,
}

impl Agent {
    fn open(path: &Path, caps: Caps, epoch: u64) -> (Self, Recovered) {
        Self::try_open(Some(path), caps, epoch).unwrap()
    }

    fn try_open(
        path: Option<&Path>,
        caps: Caps,
        epoch: u64,
    ) -> Result<(Self, Recovered), OpenError> {
        let options = Options {
            directory: path.map(Path::to_owned),
            caps,
            sync: SyncPolicy::Never,
        };
        let now = Now {
            monotonic_ns: 1,
            unix_ns: 1_800_000_000_000_000_000 + (epoch as i64) * 1_000_000_000_000,
        };
        let (keeper, recovered) = Keeper::open(&options, epoch, now)?;
        let limits = Limits {
            max_records: usize::MAX,
            max_age: Duration::from_secs(1),
            max_queue_bytes: usize::MAX,
        };
        let totals = recovered.checkpoint.get(&ATTACHMENT);
        let agent = Self {
            keeper,
            intake: Intake::new(epoch, limits),
            now,
            packets: totals.map_or(0, |(totals, _)| totals.ingress.packets),
        };
        Ok((agent, recovered))
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic_ns += time.as_nanos() as u64;
        self.now.unix_ns += time.as_nanos() as i64;
    }

    /// A frame in which `packets` were counted.
    fn push_frame(&mut self, packets: u64) {
        self.packets += packets;
        let frame = BandwidthFrame {
            interface: "eth0".into(),
            ifindex: ATTACHMENT.0,
            attachment: ATTACHMENT.1,
            started_at_unix_ns: self.now.unix_ns,
            interval_us: vec![1_000_000],
            ingress: Some(DirectionDeltas {
                packets: vec![packets],
                ..DirectionDeltas::default()
            }),
            ingress_total: Some(Counters {
                packets: self.packets,
                ..Counters::default()
            }),
            ..BandwidthFrame::default()
        };
        self.pass(Duration::from_secs(1));
        self.intake.push_bandwidth(self.now, frame, CLOCK);
        self.turn();
    }

    fn push_exchange(&mut self, bytes: usize) {
        let exchange = NtpExchange {
            null_reason: "x".repeat(bytes),
            ..NtpExchange::default()
        };
        self.pass(Duration::from_millis(1));
        self.intake.push_exchange(self.now, exchange, CLOCK);
        self.turn();
    }

    fn push_system(&mut self) {
        self.pass(Duration::from_millis(1));
        let sample = SystemSample {
            at_unix_ns: self.now.unix_ns,
            ..SystemSample::default()
        };
        self.intake.push_system(self.now, sample, CLOCK);
        self.turn();
    }

    /// Seals what is open and gives the keeper its turn, as its thread does.
    fn turn(&mut self) {
        self.intake.seal(self.now, CLOCK);
        self.intake.seal_if_due(self.now, CLOCK);
        let (sealed, unspooled) = self.intake.take();
        self.keeper.take(self.now, sealed, &unspooled);
        self.keeper.end_turn(self.now);
        self.intake.set_report_due(self.keeper.reports_are_due());
    }

    /// Connects, and hands over until nothing is left to be sent or told.
    fn deliver(&mut self, server: &mut Server) {
        self.keeper.connect(self.now, MAX_STREAM_BATCHES);
        server.greeted(&self.keeper.hello_streams());
        for _ in 0..100 {
            self.exchange_with(server, usize::MAX);
            self.turn();
            if !self.keeper.reports_are_due() && self.keeper.status().waiting.0 == 0 {
                break;
            }
        }
        // The verdict on the last batch is in no report yet: one more says how far streams are.
        self.intake.seal_last(self.now, CLOCK);
        self.turn();
        self.exchange_with(server, usize::MAX);
        self.keeper.disconnect();
    }

    /// Sends up to `most` batches over the connection and takes their acknowledgements.
    fn exchange_with(&mut self, server: &mut Server, most: usize) {
        for _ in 0..most {
            let Some(message) = self.keeper.next_to_send(self.now) else {
                return;
            };
            let acknowledgement = server.receive(&message);
            self.keeper.acknowledged(self.now, &acknowledgement);
            self.keeper.end_turn(self.now);
        }
    }

    fn stop(mut self) {
        self.intake.seal_last(self.now, CLOCK);
        self.turn();
        self.keeper.stop(self.now);
    }

    fn omitted(&self, kind: Kind) -> u64 {
        let tally = self.keeper.book().tally();
        tally.omitted[super::rank(kind)].iter().sum()
    }
}
