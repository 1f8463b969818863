//! Reading octets, and what ends it.

use std::io::{self, Read};

use super::Damage;

/// A stream that is read in order and never held in memory.
pub(super) struct Source<R>(pub(super) R);

impl<R: Read> Source<R> {
    /// Fills `to`. `false`: the stream ended right before it.
    pub(super) fn read(&mut self, to: &mut [u8]) -> Result<bool, Damage> {
        let mut filled = 0;
        while let Some(rest) = to.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read(rest) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(Damage::Cut),
                Ok(octets) => filled += octets,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// As `read`, where the stream must not end.
    pub(super) fn read_all(&mut self, to: &mut [u8]) -> Result<(), Damage> {
        if self.read(to)? || to.is_empty() {
            Ok(())
        } else {
            Err(Damage::Cut)
        }
    }

    /// The next octets.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let mut octets = [0; N];
        self.read_all(&mut octets)?;
        Ok(octets)
    }

    /// Leaves octets out.
    pub(super) fn skip(&mut self, octets: u64) -> Result<(), Damage> {
        let skipped = io::copy(&mut self.0.by_ref().take(octets), &mut io::sink())?;
        if skipped == octets {
            Ok(())
        } else {
            Err(Damage::Cut)
        }
    }
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        // A gzip stream that ends early.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Cut
        } else {
            Self::Unreadable(error)
        }
    }
}
