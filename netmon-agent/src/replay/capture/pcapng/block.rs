//! A block: its length in front, its length behind, and what is between.

use std::io::Read;

use super::super::{Damage, MAX_RECORD, order::Order, source::Source};

/// Octets of type and both lengths.
const FRAME: u32 = 12;
/// Most octets kept of an option's value.
const MAX_OPTION: u16 = 256;

/// A block being read; nothing is read beyond its end.
pub(super) struct Block<'a, R> {
    source: &'a mut Source<R>,
    order: Order,
    length: u32,
    remaining: u32,
}

impl<'a, R: Read> Block<'a, R> {
    /// A block whose type and first length have been read.
    pub(super) fn new(
        source: &'a mut Source<R>,
        order: Order,
        length: u32,
    ) -> Result<Self, Damage> {
        if length < FRAME || !length.is_multiple_of(4) || length > MAX_RECORD {
            return Err(Damage::BlockLength);
        }
        Ok(Self {
            source,
            order,
            length,
            remaining: length - FRAME,
        })
    }

    /// Octets of the body that have not been read.
    pub(super) fn remaining(&self) -> u32 {
        self.remaining
    }

    /// To read a part of the body from, which is then [accounted for](Self::account_for).
    pub(super) fn source(&mut self) -> &mut Source<R> {
        self.source
    }

    /// So many octets of the body have been read.
    pub(super) fn account_for(&mut self, octets: u32) -> Result<(), Damage> {
        self.remaining = self
            .remaining
            .checked_sub(octets)
            .ok_or(Damage::BlockLength)?;
        Ok(())
    }

    /// The next octets; `None`: the body does not have as many.
    pub(super) fn take<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Damage> {
        if self.remaining < N as u32 {
            return Ok(None);
        }
        self.remaining -= N as u32;
        self.source.take().map(Some)
    }

    /// Leaves octets out.
    pub(super) fn skip(&mut self, octets: u32) -> Result<(), Damage> {
        self.account_for(octets)?;
        self.source.skip(octets.into())
    }

    /// The next option with the first octets of its value; `None`: there are no more.
    pub(super) fn option(&mut self) -> Result<Option<(u16, Vec<u8>)>, Damage> {
        let Some(header) = self.take::<4>()? else {
            return Ok(None);
        };
        let (code, length) = (self.order.half(&header, 0), self.order.half(&header, 2));
        let padded = u32::from(length).next_multiple_of(4);
        // The end of the options, or options that are not what they say.
        if code == 0 || u32::from(length) > self.remaining {
            return Ok(None);
        }
        let mut value = vec![0; length.min(MAX_OPTION).into()];
        self.source.read_all(&mut value)?;
        self.account_for(value.len() as u32)?;
        let rest = (padded - value.len() as u32).min(self.remaining);
        self.skip(rest)?;
        Ok(Some((code, value)))
    }

    /// Leaves out what is left and checks the second length: if it is another one, whatever follows
    /// cannot be found.
    pub(super) fn finish(mut self) -> Result<(), Damage> {
        self.skip(self.remaining)?;
        let behind = self.order.u32(self.source.take()?);
        if behind == self.length {
            Ok(())
        } else {
            Err(Damage::BlockLength)
        }
    }
}
