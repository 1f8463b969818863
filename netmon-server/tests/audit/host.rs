//! A host that is measured: batches whose running totals are the sums of their deltas.

use std::collections::BTreeMap;

use netmon_common::wire::{
    BandwidthFrame, Batch, Counters, CpuTicks, Kind, NtpExchange, NtpFlag, StreamState,
    SystemSample,
};
use netmon_server::agent_id::AgentId;

use crate::{
    batch::{SECOND_NS, answered, frame},
    folding::fold,
};

/// Length of one frame of [`frame`], rounded up.
const FRAME_NS: i64 = SECOND_NS + 1_000;

pub struct Host {
    pub id: AgentId,
    /// The run.
    pub epoch: u64,
    /// Whose totals the next frames carry.
    pub attachment: u32,
    /// What its clock says.
    pub now_ns: i64,
    packets: u64,
    bytes: u64,
    /// The highest number given out, by kind.
    sealed: BTreeMap<i32, u64>,
}

impl Host {
    pub fn new(id: AgentId, now_ns: i64) -> Self {
        Self {
            id,
            epoch: epoch(now_ns),
            attachment: 7,
            now_ns,
            packets: 0,
            bytes: 0,
            sealed: BTreeMap::new(),
        }
    }

    /// Another run; the counters are pinned and go on.
    pub fn restart(&mut self) {
        self.now_ns += SECOND_NS;
        self.epoch = epoch(self.now_ns);
        self.sealed.clear();
    }

    /// The programs are attached anew: other counters, from zero.
    pub fn attach(&mut self) {
        self.attachment += 1;
        (self.packets, self.bytes) = (0, 0);
    }

    /// Traffic that no frame has.
    pub fn miss(&mut self) {
        self.packets += 3;
        self.bytes += 300;
    }

    fn frame(&mut self) -> BandwidthFrame {
        self.miss();
        let total = Counters {
            packets: self.packets,
            bytes: self.bytes,
            wire_packets: self.packets,
            wire_bytes: self.bytes,
        };
        let made = frame("eth0", self.now_ns);
        self.now_ns += FRAME_NS;
        BandwidthFrame {
            ingress_total: Some(total),
            egress_total: Some(total),
            attachment: self.attachment,
            ..made
        }
    }

    fn batch(&mut self, kind: Kind) -> Batch {
        let sequence = self.sealed.entry(kind.into()).or_default();
        *sequence += 1;
        Batch {
            epoch: self.epoch,
            sequence: *sequence,
            kind: kind.into(),
            sealed_at_unix_ns: self.now_ns,
            ..Batch::default()
        }
    }

    /// Two frames of eth0.
    pub fn bandwidth(&mut self) -> Batch {
        Batch {
            bandwidth: vec![self.frame(), self.frame()],
            ..self.batch(Kind::Bandwidth)
        }
    }

    /// Three answered requests.
    pub fn exchanges(&mut self) -> Batch {
        let exchanges = (1..=3).map(|n| answered(n, self.now_ns + i64::from(n)));
        Batch {
            exchanges: exchanges.collect(),
            ..self.batch(Kind::Exchanges)
        }
    }

    /// Two exchanges counted together, and another one.
    pub fn folds(&mut self) -> Batch {
        let good = |client: u8| NtpExchange {
            flags: NtpFlag::Good as u32,
            server_processing_ns: Some(20_000),
            ..answered(client, self.now_ns + i64::from(client))
        };
        let exchanges = vec![good(7)];
        let ntp_folds = vec![fold(&[good(8), good(9)])];
        Batch {
            exchanges,
            ntp_folds,
            ..self.batch(Kind::Exchanges)
        }
    }

    /// Two readings, a minute apart.
    pub fn system(&mut self) -> Batch {
        let reading = |at_unix_ns| SystemSample {
            at_unix_ns,
            interval_us: 10_000_000,
            cpu: Some(CpuTicks {
                user: 100,
                idle: 900,
                ..CpuTicks::default()
            }),
            context_switches: Some(1_000),
            ..SystemSample::default()
        };
        let system = vec![reading(self.now_ns), reading(self.now_ns + 60 * SECOND_NS)];
        Batch {
            system,
            ..self.batch(Kind::System)
        }
    }

    /// The next batch says that the agent holds none of its bandwidth up to a number any more.
    pub fn settled(&self, batch: Batch, through: u64) -> Batch {
        let state = StreamState {
            epoch: self.epoch,
            kind: Kind::Bandwidth.into(),
            settled_through: through,
            sealed_through: self.sealed[&Kind::Bandwidth.into()],
        };
        Batch {
            streams: vec![state],
            ..batch
        }
    }
}

fn epoch(now_ns: i64) -> u64 {
    (now_ns / 1_000_000) as u64 * 1024
}
