//! Batches turned into rows: everything that can be decided without the database.

mod batches;
mod key;
mod mark;
#[cfg(test)]
mod tests;
mod window;

use netmon_common::wire::{BandwidthFrame, Batch, NtpExchange};

pub use window::Window;

use self::{batches::Entry, mark::Mark};
use super::{
    Invalid, Series, bandwidth, controls,
    copy::CopyBuffer,
    decode::{Decoded, Decoder},
    exchanges, folds, interfaces,
    late::Hour,
    ledger::Key,
    names::Names,
    observed::{Observed, ObservedFold},
    partitions::Day,
    reports, sightings, system, watched,
};
use crate::agent_id::AgentId;

/// The series agents write.
pub(super) const RAW: [Series; 5] = [
    Series::Bandwidth,
    Series::Exchanges,
    Series::Folds,
    Series::System,
    Series::Controls,
];

/// Octets of encoded rows whose memory [`Rows::clear`] keeps.
const KEPT_BYTES: usize = 32 << 20;

/// Why a message cannot become rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is no message of the protocol.
    #[error("{0}")]
    Malformed(String),
    /// A row breaks a rule of its table.
    #[error(transparent)]
    Invalid(Invalid),
}

/// The rows of valid batches that may be stored together, the series already encoded for COPY.
///
/// Everything lies in few long vectors, batch after batch, so that a row costs no allocation, a
/// batch that turns out to be invalid is cut off again, and any part of the batches can be stored
/// without the others.
#[derive(Debug, Default)]
pub struct Rows {
    copies: [CopyBuffer; RAW.len()],
    pub(super) names: Names,
    pub(super) interfaces: Vec<interfaces::Sighting>,
    pub(super) sightings: Vec<sightings::Sighting>,
    observed: Vec<Observed>,
    observed_folds: Vec<ObservedFold>,
    pub(super) streams: Vec<reports::Stream>,
    pub(super) omissions: Vec<reports::Omission>,
    pub(super) gaps: Vec<reports::Gap>,
    pub(super) watched: Vec<watched::Seen>,
    /// The partitions the series need.
    days: Vec<(Series, Day)>,
    /// The hours in which samples begin.
    hours: Vec<(Series, Hour)>,
    batches: Vec<Entry>,
}

/// What every row of a batch carries, and what its times may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) key: Key,
    pub(super) window: Window,
}

impl Rows {
    /// The rows of one batch.
    ///
    /// # Errors
    /// [`Invalid`] for the first field that breaks a rule.
    pub fn new(agent: AgentId, batch: &Batch, window: Window) -> Result<Self, Invalid> {
        let mut rows = Self::default();
        rows.push(agent, batch, window)?;
        Ok(rows)
    }

    /// Checks every field of a batch and appends its rows. An invalid batch leaves nothing.
    ///
    /// # Errors
    /// [`Invalid`] for the first field that breaks a rule.
    pub fn push(&mut self, agent: AgentId, batch: &Batch, window: Window) -> Result<(), Invalid> {
        let (frames, exchanges) = (&batch.bandwidth, &batch.exchanges);
        self.add(|rows| rows.append(agent, batch, frames, exchanges, window))
    }

    /// The same for a batch that is still the message it came in.
    ///
    /// # Errors
    /// [`Rejected`] says whether it cannot be read or breaks a rule.
    pub fn push_message(
        &mut self,
        agent: AgentId,
        message: &[u8],
        window: Window,
        decoder: &mut Decoder,
    ) -> Result<(), Rejected> {
        let Decoded {
            batch,
            frames,
            exchanges,
        } = decoder.decode(message).map_err(Rejected::Malformed)?;
        self.add(|rows| rows.append(agent, &batch, frames, exchanges, window))
            .map_err(Rejected::Invalid)
    }

    /// Forgets all batches; the memory stays for the next ones, unless it is a lot.
    pub fn clear(&mut self) {
        if self.encoded_bytes() > KEPT_BYTES {
            *self = Self::default();
            return;
        }
        self.cut(Mark::default());
        self.batches.clear();
    }

    fn add(
        &mut self,
        append: impl FnOnce(&mut Self) -> Result<Key, Invalid>,
    ) -> Result<(), Invalid> {
        let start = self.mark();
        match append(self) {
            Ok(key) => {
                let end = self.mark();
                self.batches.push(Entry { key, end });
                Ok(())
            }
            Err(invalid) => {
                self.cut(start);
                Err(invalid)
            }
        }
    }

    /// How many batches there are; each has its place, counted from 0, in the order they came.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Octets of the encoded rows.
    pub fn encoded_bytes(&self) -> usize {
        self.copies.iter().map(CopyBuffer::len).sum()
    }

    /// Rows of all batches that go into partitioned tables.
    pub fn series_rows(&self) -> u64 {
        self.copies.iter().map(|copy| u64::from(copy.rows())).sum()
    }

    fn append(
        &mut self,
        agent: AgentId,
        batch: &Batch,
        frames: &[BandwidthFrame],
        ntp: &[NtpExchange],
        window: Window,
    ) -> Result<Key, Invalid> {
        let key = key::of(agent, batch, frames.len(), ntp.len())?;
        let origin = Origin { key, window };
        let sealed_at_us = window.microseconds("sealed_at_unix_ns", batch.sealed_at_unix_ns)?;
        interfaces::collect(self, batch, sealed_at_us)?;
        bandwidth::encode(self, origin, frames)?;
        exchanges::encode(self, origin, ntp, batch.clock)?;
        folds::encode(self, origin, &batch.ntp_folds, batch.clock)?;
        controls::encode(self, origin, &batch.ntp_controls)?;
        system::encode(self, origin, &batch.system)?;
        watched::collect(self, origin, &batch.sightings)?;
        reports::collect(self, origin, batch)?;
        Ok(origin.key)
    }

    /// Notes the times of a row: when it begins, which decides its partition, and when its last
    /// sample does, in microseconds since 1970.
    pub(super) fn touch(&mut self, series: Series, first_us: i64, last_us: i64) {
        let day = (series, Day::of_microseconds(first_us));
        if self.days.last() != Some(&day) {
            self.days.push(day);
        }
        let (mut hour, last) = (
            Hour::of_microseconds(first_us),
            Hour::of_microseconds(last_us),
        );
        while hour <= last {
            let of_series = (series.leader(), hour);
            if self.hours.last() != Some(&of_series) {
                self.hours.push(of_series);
            }
            hour = hour.plus(1);
        }
    }

    /// Notes for metrics what came.
    pub(super) fn observe(&mut self, observed: Observed) {
        self.observed.push(observed);
    }

    /// The same of exchanges that were counted together.
    pub(super) fn observe_fold(&mut self, observed: ObservedFold) {
        self.observed_folds.push(observed);
    }

    /// Where rows of a table are encoded.
    pub(super) fn buffer(&mut self, series: Series) -> &mut CopyBuffer {
        &mut self.copies[place(series)]
    }
}

/// The place of a series among those agents write.
fn place(series: Series) -> usize {
    RAW.iter()
        .position(|raw| *raw == series)
        .expect("only raw series are encoded")
}
