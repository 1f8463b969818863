//! The batches of one simulated agent: the same number gives the same batch, whenever it is asked.
//!
//! What is alike in many batches is encoded once; a message is put together from such parts, since
//! protobuf takes fields in any order and messages one after the other.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use netmon_common::wire::{
    BandwidthFrame, Batch, ClockState, Counters, DirectionDeltas, Interface, Kind, Live,
    LiveInterface, StreamState, Uplink, uplink,
};
use prost::{Message, encoding::encode_varint};
use time::OffsetDateTime;

use crate::{exchanges, host};

/// Different frames; a batch takes the next one, round and round.
const BODIES: usize = 16;

const SAMPLE: Duration = Duration::from_millis(500);

/// What the batches of all agents of a fleet have in common.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Interfaces of every agent; a batch has a frame of each.
    pub interfaces: usize,
    /// Samples of a frame: 32 by default, as the real agent's, 60 at most.
    pub samples: usize,
    /// Exchanges of a batch, over so many clients, one after the other.
    pub exchanges: usize,
    pub clients: usize,
    /// The first batch begins so long before now.
    pub age: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            interfaces: 2,
            samples: 32,
            exchanges: 8,
            clients: 8,
            age: Duration::ZERO,
        }
    }
}

impl Shape {
    /// What one frame covers.
    pub fn frame(&self) -> Duration {
        SAMPLE * self.samples as u32
    }
}

/// Frames without their times and totals, encoded, with what they add to the totals.
#[derive(Debug)]
pub struct Bodies {
    frames: Vec<Bytes>,
    /// Ingress packets and octets, egress packets and octets of frames up to an index.
    through: Vec<[u64; 4]>,
}

impl Bodies {
    /// Made-up traffic of a busy host; wire counts equal the others, as without segmentation.
    pub fn new(shape: Shape) -> Arc<Self> {
        let mut bodies = Self {
            frames: Vec::new(),
            through: vec![[0; 4]],
        };
        let mut sum = [0; 4];
        for _ in 0..BODIES {
            let [ingress, egress] = [(); 2].map(|()| deltas(shape.samples));
            for (total, added) in sum.iter_mut().zip([&ingress.packets, &ingress.bytes]) {
                *total += added.iter().sum::<u64>();
            }
            for (total, added) in sum[2..].iter_mut().zip([&egress.packets, &egress.bytes]) {
                *total += added.iter().sum::<u64>();
            }
            bodies.through.push(sum);
            let frame = BandwidthFrame {
                // A tick is never exactly on time.
                interval_us: (0..shape.samples)
                    .map(|_| 500_000 + rand::random_range(0..200))
                    .collect(),
                ingress: Some(ingress),
                egress: Some(egress),
                attachment: 4711,
                ..BandwidthFrame::default()
            };
            bodies.frames.push(frame.encode_to_vec().into());
        }
        Arc::new(bodies)
    }

    /// Totals after so many frames.
    pub fn totals(&self, frames: u64) -> [u64; 4] {
        let rounds = frames / BODIES as u64;
        let [whole, rest] = [BODIES, (frames % BODIES as u64) as usize].map(|n| self.through[n]);
        std::array::from_fn(|i| whole[i] * rounds + rest[i])
    }
}

fn deltas(samples: usize) -> DirectionDeltas {
    let packets: Vec<u64> = (0..samples).map(|_| rand::random_range(50..5000)).collect();
    let bytes = packets.iter().map(|n| n * rand::random_range(64..1500));
    DirectionDeltas {
        bytes: bytes.collect(),
        packets,
        ..DirectionDeltas::default()
    }
}

/// Makes the messages of one agent in one epoch.
#[derive(Debug)]
pub struct Source {
    pub agent: usize,
    pub epoch: u64,
    pub shape: Shape,
    pub bodies: Arc<Bodies>,
    /// Start of the first frame.
    pub began_unix_ns: i64,
}

impl Source {
    /// The rows of series in a batch, and the samples in them.
    pub fn content(&self, kind: Kind) -> (u64, u64) {
        let interfaces = self.shape.interfaces as u64;
        match kind {
            Kind::Bandwidth => (interfaces, interfaces * self.shape.samples as u64),
            Kind::Exchanges => (self.shape.exchanges as u64, 0),
            Kind::System => (1, 0),
            Kind::Unspecified | Kind::Flows | Kind::Sightings => (0, 0),
        }
    }

    /// The message that carries a batch.
    pub fn message(&self, kind: Kind, sequence: u64, states: Vec<StreamState>) -> Bytes {
        let mut batch = Batch {
            epoch: self.epoch,
            sequence,
            kind: kind.into(),
            sealed_at_unix_ns: now_ns(),
            clock: Some(ClockState {
                synchronised: true,
                maximum_error_us: 1500,
                estimated_error_us: 20,
            }),
            ..Batch::default()
        };
        let mut frames = BytesMut::new();
        match kind {
            Kind::Bandwidth => {
                batch.streams = states;
                if sequence == 1 {
                    batch.interfaces = (0..self.shape.interfaces).map(description).collect();
                }
                for index in 0..self.shape.interfaces {
                    self.frame(index, sequence, &mut frames);
                }
            }
            Kind::Exchanges => {
                batch.exchanges = exchanges::of(self.agent, sequence, self.shape);
            }
            Kind::System => batch.system = vec![host::sample()],
            Kind::Unspecified | Kind::Flows | Kind::Sightings => {}
        }
        let mut message = BytesMut::with_capacity(64 + batch.encoded_len() + frames.len());
        // Uplink.batch
        field(1, batch.encoded_len() + frames.len(), &mut message);
        message.extend_from_slice(&batch.encode_to_vec());
        message.extend_from_slice(&frames);
        message.freeze()
    }

    fn frame(&self, index: usize, sequence: u64, out: &mut BytesMut) {
        let frame_ns = self.shape.frame().as_nanos() as i64;
        let [in_packets, in_bytes, out_packets, out_bytes] = self.bodies.totals(sequence);
        let own = BandwidthFrame {
            interface: name(index),
            ifindex: index as u32 + 2,
            started_at_unix_ns: self.began_unix_ns + (sequence as i64 - 1) * frame_ns,
            ingress_total: Some(counters(in_packets, in_bytes)),
            egress_total: Some(counters(out_packets, out_bytes)),
            ..BandwidthFrame::default()
        };
        let body = &self.bodies.frames[(sequence as usize - 1) % BODIES];
        // Batch.bandwidth
        field(6, own.encoded_len() + body.len(), out);
        out.extend_from_slice(&own.encode_to_vec());
        out.extend_from_slice(body);
    }

    /// The newest values of every interface.
    pub fn live(&self) -> Vec<u8> {
        let interface = |index: usize| LiveInterface {
            name: name(index),
            ifindex: index as u32 + 2,
            ingress: Some(counters(1000, 500_000)),
            egress: Some(counters(1000, 500_000)),
            ingress_total: Some(counters(1_000_000, 500_000_000)),
            egress_total: Some(counters(1_000_000, 500_000_000)),
            attach_mode: "tcx".to_owned(),
            ntp: None,
        };
        let live = Live {
            at_unix_ns: now_ns(),
            interfaces: (0..self.shape.interfaces).map(interface).collect(),
            interval_us: 1_000_000,
            ..Live::default()
        };
        Uplink {
            message: Some(uplink::Message::Live(live)),
        }
        .encode_to_vec()
    }
}

/// Tag and length of an embedded message.
fn field(number: u64, length: usize, out: &mut BytesMut) {
    out.put_u8((number << 3 | 2) as u8);
    encode_varint(length as u64, out);
}

fn counters(packets: u64, bytes: u64) -> Counters {
    Counters {
        packets,
        bytes,
        wire_packets: packets,
        wire_bytes: bytes,
    }
}

fn name(index: usize) -> String {
    format!("eth{index}")
}

fn description(index: usize) -> Interface {
    Interface {
        ifindex: index as u32 + 2,
        name: name(index),
        mac: vec![2, 0, 0, 0, 0, 1],
        mtu: 1500,
        link_speed_bps: 10_000_000_000,
        monitored: true,
    }
}

/// The wall clock, nanoseconds since 1970.
pub fn now_ns() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as i64
}
