//! What the server is told of streams and omissions, and in which batch.

use netmon_common::wire::{Kind, Omission, StreamState};

use super::Book;

impl Book {
    /// How far a stream has come, up to what the server may know: nothing is called settled whose
    /// omission has not arrived, or does not ride in the same batch.
    fn tellable(&self, epoch: u64, kind: Kind, carrier: Option<u64>) -> StreamState {
        let untold = self.omissions.first_untold(epoch, kind, carrier);
        let settled = self.settled_through(epoch, kind);
        StreamState {
            epoch,
            kind: kind.into(),
            settled_through: untold.map_or(settled, |first| settled.min(first - 1)),
            sealed_through: self.sealed_through(epoch, kind),
        }
    }

    /// The streams a server is told of when it is greeted, newest epochs first.
    pub fn hello_streams(&self, most: usize) -> Vec<StreamState> {
        let newest_first = self.streams.keys().rev().take(most);
        newest_first
            .map(|(epoch, kind)| self.tellable(*epoch, *kind, None))
            .collect()
    }

    /// Whether reports should not wait for the next batch of bandwidth.
    pub fn reports_are_due(&self) -> bool {
        self.omissions.are_due()
    }

    /// The reports that ride in the bandwidth batch `carrier` of this run.
    pub fn carry_reports(
        &mut self,
        carrier: u64,
        most: usize,
    ) -> (Vec<Omission>, Vec<StreamState>) {
        // The batch is not in the books yet, and says so itself.
        let own = self
            .streams
            .entry((self.epoch, Kind::Bandwidth))
            .or_default();
        own.sealed_through = own.sealed_through.max(carrier - 1);
        let omissions = self.omissions.carry(carrier);
        let mut states = Vec::new();
        for (epoch, kind) in self.streams.keys().rev().copied().collect::<Vec<_>>() {
            let mut state = self.tellable(epoch, kind, Some(carrier));
            if (epoch, kind) == (self.epoch, Kind::Bandwidth) {
                state.sealed_through = carrier;
                state.settled_through = state.settled_through.min(carrier - 1);
            }
            let told = (state.settled_through, state.sealed_through);
            let stream = self.streams.entry((epoch, kind)).or_default();
            if states.len() < most && stream.reported != told {
                stream.reported = told;
                stream.carrier = carrier;
                states.push(state);
            }
        }
        (omissions, states)
    }

    /// What the batch `carrier` told has arrived.
    pub(super) fn reports_stored(&mut self, carrier: u64) {
        self.omissions.stored(carrier);
        for stream in self.streams.values_mut() {
            if stream.carrier == carrier {
                stream.stored = stream.reported;
                stream.carrier = 0;
            }
        }
        let finished: Vec<_> = self
            .streams
            .iter()
            .filter(|((epoch, kind), stream)| {
                *epoch != self.epoch
                    && stream.stored == (stream.sealed_through, stream.sealed_through)
                    && self.omissions.first_untold(*epoch, *kind, None).is_none()
            })
            .map(|(key, _)| *key)
            .collect();
        for key in finished {
            self.streams.remove(&key);
        }
    }

    /// These batches of this run will not arrive: what they carried is told again.
    pub(super) fn carriers_lost(&mut self, first: u64, last: u64) {
        self.omissions.carriers_lost(first, last);
        for stream in self.streams.values_mut() {
            if (first..=last).contains(&stream.carrier) {
                stream.carrier = 0;
                stream.reported = stream.stored;
            }
        }
    }
}
