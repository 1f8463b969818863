//! The counters of every attachment after the last frame that is in a sealed batch: from there the
//! next agent goes on counting when the kernel's counters outlive this one.

use std::collections::BTreeMap;

use netmon_common::{
    counters::Counters,
    wire::{self, BandwidthFrame},
};
use prost::Message;

use crate::{
    bandwidth::{Totals, counters_message},
    clock::Moment,
};

/// Totals and the end of the frame they follow, by (interface index, attachment).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// After the last sealed frame of each attachment.
    pub totals: BTreeMap<(u32, u32), (Totals, Moment)>,
    /// End of the last sealed frame of all; before the first one, the start of the first run.
    pub ended: Option<Moment>,
}

#[derive(Clone, PartialEq, Message)]
struct Saved {
    #[prost(message, repeated, tag = "1")]
    attachments: Vec<Attachment>,
    #[prost(message, optional, tag = "2")]
    ended: Option<SavedMoment>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedMoment {
    #[prost(int64, tag = "1")]
    unix_ns: i64,
    #[prost(uint64, tag = "2")]
    monotonic_ns: u64,
    #[prost(uint32, tag = "3")]
    boot: u32,
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
    #[prost(message, optional, tag = "5")]
    ended: Option<SavedMoment>,
}

impl Checkpoint {
    /// Takes over a frame's totals; `sealed` is when the batch it came in was.
    pub fn observe(&mut self, frame: &BandwidthFrame, sealed: Moment) {
        let totals = Totals {
            ingress: counters(frame.ingress_total.as_ref()),
            egress: counters(frame.egress_total.as_ref()),
        };
        let ended = end_of(frame, sealed);
        self.totals
            .insert((frame.ifindex, frame.attachment), (totals, ended));
        self.ended = Some(self.ended.map_or(ended, |last| last.max(ended)));
    }

    /// Takes note of counters that begin at zero now.
    pub fn begin(&mut self, ifindex: u32, attachment: u32, now: Moment) {
        self.totals
            .insert((ifindex, attachment), (Totals::default(), now));
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
        self.ended = match (self.ended, other.ended) {
            (Some(ours), Some(theirs)) => Some(ours.max(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
    }

    /// As bytes for a record or the state file.
    pub fn encode(&self) -> Vec<u8> {
        let attachments = self.totals.iter().map(|(key, (totals, ended))| Attachment {
            ifindex: key.0,
            attachment: key.1,
            ingress: Some(counters_message(totals.ingress)),
            egress: Some(counters_message(totals.egress)),
            ended: Some(saved(*ended)),
        });
        Saved {
            attachments: attachments.collect(),
            ended: self.ended.map(saved),
        }
        .encode_to_vec()
    }

    /// What [`Checkpoint::encode`] wrote; the bytes have a checksum of their own.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let saved = Saved::decode(bytes).ok()?;
        let totals = saved.attachments.into_iter().filter_map(|saved| {
            let totals = Totals {
                ingress: counters(saved.ingress.as_ref()),
                egress: counters(saved.egress.as_ref()),
            };
            let key = (saved.ifindex, saved.attachment);
            Some((key, (totals, moment(saved.ended?))))
        });
        Some(Self {
            totals: totals.collect(),
            ended: saved.ended.map(moment),
        })
    }
}

fn saved(moment: Moment) -> SavedMoment {
    SavedMoment {
        unix_ns: moment.unix_ns,
        monotonic_ns: moment.monotonic_ns,
        boot: moment.boot,
    }
}

fn moment(saved: SavedMoment) -> Moment {
    Moment {
        unix_ns: saved.unix_ns,
        monotonic_ns: saved.monotonic_ns,
        boot: saved.boot,
    }
}

/// The end of a frame: so long before its batch was sealed.
fn end_of(frame: &BandwidthFrame, sealed: Moment) -> Moment {
    let length_us: i64 = frame.interval_us.iter().map(|us| i64::from(*us)).sum();
    let unix_ns = frame.started_at_unix_ns.saturating_add(length_us * 1000);
    let before_ns = u64::try_from(sealed.unix_ns.saturating_sub(unix_ns)).unwrap_or(0);
    Moment {
        unix_ns,
        monotonic_ns: sealed.monotonic_ns.saturating_sub(before_ns),
        boot: sealed.boot,
    }
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

    const SEALED: Moment = Moment {
        unix_ns: 6_700,
        monotonic_ns: 1_000,
        boot: 4,
    };

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
        checkpoint.observe(&frame(2, 7, 40), SEALED);
        checkpoint.observe(&frame(3, 9, 50), SEALED);
        let ended = checkpoint.ended.unwrap();
        assert_eq!((ended.unix_ns, ended.monotonic_ns), (6_000, 300));
        assert_eq!(Checkpoint::decode(&checkpoint.encode()), Some(checkpoint));
    }

    #[test]
    fn the_later_totals_of_an_attachment_win() {
        let (mut a, mut b) = (Checkpoint::default(), Checkpoint::default());
        a.observe(&frame(2, 7, 40), SEALED);
        b.observe(&frame(2, 7, 30), SEALED);
        b.observe(&frame(2, 8, 1), SEALED);
        a.merge(&b);
        assert_eq!(a.totals[&(2, 7)].0.ingress.packets, 40);
        assert_eq!(a.totals[&(2, 8)].0.ingress.packets, 1);
        a.forget(2, 7);
        assert_eq!(a.totals.len(), 1);
    }
}
