//! Batches that will never come, until a server has stored that they will not.

use netmon_common::wire::{Kind, Omission, OmissionCause};

/// Most ranges remembered; more are joined.
const MAX_RANGES: usize = 2048;

/// Most ranges in one batch.
const MAX_CARRIED: usize = 1024;

/// A range and the batch that tells the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pending {
    /// What will never come.
    pub omission: Omission,
    /// Number of the bandwidth batch of this run that says so.
    pub carrier: Option<u64>,
}

/// Every range no server is known to have stored.
#[derive(Clone, Debug, Default)]
pub struct Omissions {
    pending: Vec<Pending>,
}

impl Omissions {
    /// Adds a range, joined to one of the same stream and cause that it follows on.
    pub fn add(&mut self, omission: Omission) {
        let joins = |pending: &&mut Pending| {
            let before = &pending.omission;
            pending.carrier.is_none()
                && same_stream_and_cause(before, &omission)
                && omission.first_sequence <= before.last_sequence.saturating_add(1)
                && before.first_sequence <= omission.last_sequence.saturating_add(1)
        };
        match self.pending.iter_mut().rev().find(joins) {
            Some(pending) => pending.omission = joined(&pending.omission, &omission),
            None => self.pending.push(Pending {
                omission,
                carrier: None,
            }),
        }
        if self.pending.len() > MAX_RANGES {
            self.join_all();
        }
    }

    /// Joins all ranges of a stream and cause into one: what is stored of it stays stored.
    fn join_all(&mut self) {
        let mut all: Vec<Pending> = Vec::new();
        for Pending { omission, .. } in self.pending.drain(..) {
            let same = |other: &&mut Pending| same_stream_and_cause(&other.omission, &omission);
            match all.iter_mut().find(same) {
                Some(other) => other.omission = joined(&other.omission, &omission),
                None => all.push(Pending {
                    omission,
                    carrier: None,
                }),
            }
        }
        // Only an agent that starts anew thousands of times while its spool is full gets here.
        let excess = all.len().saturating_sub(MAX_RANGES);
        all.drain(..excess);
        self.pending = all;
    }

    /// Gives the batch `carrier` what no batch carries yet.
    pub fn carry(&mut self, carrier: u64) -> Vec<Omission> {
        let free = self.pending.iter_mut().filter(|p| p.carrier.is_none());
        free.take(MAX_CARRIED)
            .map(|pending| {
                pending.carrier = Some(carrier);
                pending.omission
            })
            .collect()
    }

    /// The batch `carrier` is stored; whether it carried something.
    pub fn stored(&mut self, carrier: u64) -> bool {
        let before = self.pending.len();
        self.pending.retain(|p| p.carrier != Some(carrier));
        self.pending.len() != before
    }

    /// The batches of this run in the range will not arrive: what they carried waits again.
    pub fn carriers_lost(&mut self, first: u64, last: u64) {
        for pending in &mut self.pending {
            if pending.carrier.is_some_and(|c| (first..=last).contains(&c)) {
                pending.carrier = None;
            }
        }
    }

    /// Whether some range has no batch yet.
    pub fn are_due(&self) -> bool {
        self.pending.iter().any(|p| p.carrier.is_none())
    }

    /// The lowest number of the stream in a range that no server is known to have stored and that
    /// the batch `carrier` does not carry.
    pub fn first_untold(&self, epoch: u64, kind: Kind, carrier: Option<u64>) -> Option<u64> {
        let of_stream = self.pending.iter().filter(|p| {
            (p.omission.epoch, p.omission.kind) == (epoch, kind as i32)
                && (carrier.is_none() || p.carrier != carrier)
        });
        of_stream.map(|p| p.omission.first_sequence).min()
    }

    /// Whether some range holds all of these.
    pub fn cover(&self, epoch: u64, kind: Kind, first: u64, last: u64) -> bool {
        self.pending.iter().any(|p| {
            (p.omission.epoch, p.omission.kind) == (epoch, kind as i32)
                && p.omission.first_sequence <= first
                && last <= p.omission.last_sequence
        })
    }

    /// Everything that is remembered.
    pub fn all(&self) -> &[Pending] {
        &self.pending
    }
}

fn same_stream_and_cause(a: &Omission, b: &Omission) -> bool {
    (a.epoch, a.kind, a.cause) == (b.epoch, b.kind, b.cause)
}

fn joined(a: &Omission, b: &Omission) -> Omission {
    Omission {
        first_sequence: a.first_sequence.min(b.first_sequence),
        last_sequence: a.last_sequence.max(b.last_sequence),
        batches: a.batches + b.batches,
        records: a.records + b.records,
        ..*a
    }
}

/// The causes an agent has, with their names in metrics.
pub const CAUSES: [(OmissionCause, &str); 4] = [
    (OmissionCause::SpoolFull, "spool_full"),
    (OmissionCause::TooOld, "too_old"),
    (OmissionCause::Corrupt, "corrupt"),
    (OmissionCause::NotSpooled, "not_spooled"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn range(kind: Kind, first: u64, last: u64) -> Omission {
        Omission {
            epoch: 1,
            kind: kind.into(),
            first_sequence: first,
            last_sequence: last,
            cause: OmissionCause::SpoolFull.into(),
            batches: last - first + 1,
            records: 10,
        }
    }

    #[test]
    fn ranges_that_follow_each_other_are_one_until_they_are_carried() {
        let mut omissions = Omissions::default();
        omissions.add(range(Kind::Exchanges, 1, 4));
        omissions.add(range(Kind::Exchanges, 5, 9));
        omissions.add(range(Kind::Flows, 10, 10));
        assert_eq!(omissions.all().len(), 2);
        assert_eq!(omissions.all()[0].omission.batches, 9);
        assert_eq!(omissions.carry(7).len(), 2);
        omissions.add(range(Kind::Exchanges, 10, 12));
        assert_eq!(
            omissions.all().len(),
            3,
            "what a batch says is not changed under it"
        );
    }

    #[test]
    fn what_a_lost_batch_carried_is_carried_again() {
        let mut omissions = Omissions::default();
        omissions.add(range(Kind::Exchanges, 1, 4));
        omissions.carry(7);
        assert!(!omissions.are_due());
        omissions.carriers_lost(5, 9);
        assert!(omissions.are_due());
        assert_eq!(omissions.carry(10).len(), 1);
        assert!(!omissions.stored(7) && omissions.stored(10));
        assert!(omissions.all().is_empty());
    }

    #[test]
    fn what_the_server_has_not_been_told_is_known() {
        let mut omissions = Omissions::default();
        omissions.add(range(Kind::Exchanges, 3, 4));
        let first =
            |omissions: &Omissions, carrier| omissions.first_untold(1, Kind::Exchanges, carrier);
        assert_eq!(first(&omissions, Some(7)), Some(3));
        omissions.carry(7);
        assert_eq!(first(&omissions, Some(7)), None, "this batch says it");
        assert_eq!(first(&omissions, Some(8)), Some(3), "7 may come later");
        assert_eq!(first(&omissions, None), Some(3));
    }

    #[test]
    fn thousands_of_ranges_become_one_of_each_stream() {
        let mut omissions = Omissions::default();
        for n in 0..MAX_RANGES as u64 + 1 {
            omissions.add(range(Kind::Exchanges, 3 * n + 1, 3 * n + 1));
        }
        assert_eq!(omissions.all().len(), 1);
        let omission = omissions.all()[0].omission;
        assert_eq!(omission.batches, MAX_RANGES as u64 + 1);
        assert_eq!(omission.last_sequence, 3 * MAX_RANGES as u64 + 1);
    }
}
