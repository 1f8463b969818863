//! Places in the vectors of [`Rows`].

use super::{RAW, Rows};
use crate::store::copy::{self, CopyBuffer};

/// The place after a batch's rows, in every vector.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) copies: [copy::Mark; RAW.len()],
    pub(super) names: usize,
    pub(super) interfaces: usize,
    pub(super) sightings: usize,
    pub(super) observed: usize,
    pub(super) observed_folds: usize,
    pub(super) streams: usize,
    pub(super) omissions: usize,
    pub(super) gaps: usize,
    pub(super) watched: usize,
    pub(super) days: usize,
    pub(super) hours: usize,
}

impl Rows {
    /// After the rows there are, for [`Self::cut`].
    pub(super) fn mark(&self) -> Mark {
        Mark {
            copies: self.copies.each_ref().map(CopyBuffer::mark),
            names: self.names.mark(),
            interfaces: self.interfaces.len(),
            sightings: self.sightings.len(),
            observed: self.observed.len(),
            observed_folds: self.observed_folds.len(),
            streams: self.streams.len(),
            omissions: self.omissions.len(),
            gaps: self.gaps.len(),
            watched: self.watched.len(),
            days: self.days.len(),
            hours: self.hours.len(),
        }
    }

    /// Forgets the rows after a mark.
    pub(super) fn cut(&mut self, mark: Mark) {
        for (copy, mark) in self.copies.iter_mut().zip(mark.copies) {
            copy.cut(mark);
        }
        self.names.cut(mark.names);
        self.interfaces.truncate(mark.interfaces);
        self.sightings.truncate(mark.sightings);
        self.observed.truncate(mark.observed);
        self.observed_folds.truncate(mark.observed_folds);
        self.streams.truncate(mark.streams);
        self.omissions.truncate(mark.omissions);
        self.gaps.truncate(mark.gaps);
        self.watched.truncate(mark.watched);
        self.days.truncate(mark.days);
        self.hours.truncate(mark.hours);
    }
}
