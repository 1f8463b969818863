//! The counters of every attachment after the last frame that is in a sealed batch: from there the
//! next agent goes on counting when the kernel's counters outlive this one.

use std::collections::BTreeMap;

use netmon_common::{
    counters::Counters,
    wire::{self, BandwidthFrame},
};
use prost::Message;

use crate::bandwidth::{Totals, counters_message};

/// Totals and the end of the frame they follow, wall clock in ns, by (interface index, attachment).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// After the last sealed frame of each attachment.
    pub totals: BTreeMap<(u32, u32), (Totals, i64)>,
    /// Wall clock at the end of the last sealed frame of all.
    pub last_frame_end_unix_ns: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Saved {
    #[prost(message, repeated, tag = "1")]
    attachments: Vec<Attachment>,
    #[prost(int64, optional, tag = "2")]
    last_frame_end_unix_ns: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Attachment {
    #[prost(uint32, tag = "1")]
    ifindex: u32,
    #[prost(uint32, tag = "2")]
    attachment: u32,
    #[prost(message, optional, tag = "3")]
    ingress: Option<wire::Counters>,
    #[prost(message, optional, tag = "4")]
    egress: Option<wire::Counters>,
    #[prost(int64, tag = "5")]
    ended_unix_ns: i64,
}

impl Checkpoint {
    /// Takes over a frame's totals.
    pub fn observe(&mut self, frame: &BandwidthFrame) {
        let totals = Totals {
            ingress: counters(frame.ingress_total.as_ref()),
            egress: counters(frame.egress_total.as_ref()),
        };
        self.totals
            .insert((frame.ifindex, frame.attachment), (totals, end_of(frame)));
        self.last_frame_end_unix_ns = self.last_frame_end_unix_ns.max(Some(end_of(frame)));
    }

    /// Forgets an attachment that is gone.
    pub fn forget(&mut self, ifindex: u32, attachment: u32) {
        self.totals.remove(&(ifindex, attachment));
    }

    /// Takes over whatever another one knows later: totals of an attachment only grow.
    pub fn merge(&mut self, other: &Self) {
        for (key, theirs) in &other.totals {
            let ours = self.totals.entry(*key).or_insert(*theirs);
            if is_later(theirs.0, ours.0) {
                *ours = *theirs;
            }
        }
        self.last_frame_end_unix_ns = self
            .last_frame_end_unix_ns
            .max(other.last_frame_end_unix_ns);
    }

    /// As bytes for a record or the state file.
    pub fn encode(&self) -> Vec<u8> {
        let attachments = self.totals.iter().map(|(key, (totals, ended))| Attachment {
            ifindex: key.0,
            attachment: key.1,
            ingress: Some(counters_message(totals.ingress)),
            egress: Some(counters_message(totals.egress)),
            ended_unix_ns: *ended,
        });
        Saved {
            attachments: attachments.collect(),
            last_frame_end_unix_ns: self.last_frame_end_unix_ns,
        }
        .encode_to_vec()
    }

    /// What [`Checkpoint::encode`] wrote; the bytes have a checksum of their own.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let saved = Saved::decode(bytes).ok()?;
        let totals = saved.attachments.into_iter().map(|saved| {
            let totals = Totals {
                ingress: counters(saved.ingress.as_ref()),
                egress: counters(saved.egress.as_ref()),
            };
            (
                (saved.ifindex, saved.attachment),
                (totals, saved.ended_unix_ns),
            )
        });
        Some(Self {
            totals: totals.collect(),
            last_frame_end_unix_ns: saved.last_frame_end_unix_ns,
        })
    }
}

/// Wall clock at the end of a frame.
pub fn end_of(frame: &BandwidthFrame) -> i64 {
    let length_us: i64 = frame.interval_us.iter().map(|us| i64::from(*us)).sum();
    frame.started_at_unix_ns.saturating_add(length_us * 1000)
}

fn counters(message: Option<&wire::Counters>) -> Counters {
    message.map_or_else(Counters::default, |m| {
        Counters::from_words([m.packets, m.bytes, m.wire_packets, m.wire_bytes])
    })
}

fn is_later(a: Totals, b: Totals) -> bool {
    a.ingress.packets >= b.ingress.packets && a.egress.packets >= b.egress.packets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ifindex: u32, attachment: u32, packets: u64) -> BandwidthFrame {
        BandwidthFrame {
            ifindex,
            attachment,
            started_at_unix_ns: 1_000,
            interval_us: vec![2, 3],
            ingress_total: Some(wire::Counters {
                packets,
                ..wire::Counters::default()
            }),
            ..BandwidthFrame::default()
        }
    }

    #[test]
    fn a_checkpoint_survives_its_bytes() {
        let mut checkpoint = Checkpoint::default();
        checkpoint.observe(&frame(2, 7, 40));
        checkpoint.observe(&frame(3, 9, 50));
        assert_eq!(checkpoint.last_frame_end_unix_ns, Some(6_000));
        assert_eq!(Checkpoint::decode(&checkpoint.encode()), Some(checkpoint));
    }

    #[test]
    fn the_later_totals_of_an_attachment_win() {
        let (mut a, mut b) = (Checkpoint::default(), Checkpoint::default());
        a.observe(&frame(2, 7, 40));
        b.observe(&frame(2, 7, 30));
        b.observe(&frame(2, 8, 1));
        a.merge(&b);
        assert_eq!(a.totals[&(2, 7)].0.ingress.packets, 40);
        assert_eq!(a.totals[&(2, 8)].0.ingress.packets, 1);
        a.forget(2, 7);
        assert_eq!(a.totals.len(), 1);
    }
}
