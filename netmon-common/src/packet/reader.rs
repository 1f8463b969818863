//! Access to the octets of a frame.

use crate::loss::Loss;

/// A frame from its link-layer header on.
pub trait Reader {
    /// The `N` octets at `offset`, or [`Loss::Truncated`] if the frame ends before them.
    fn read<const N: usize>(&self, offset: usize) -> Result<[u8; N], Loss>;

    /// One octet.
    #[inline(always)]
    fn read_u8(&self, offset: usize) -> Result<u8, Loss> {
        let [octet] = self.read(offset)?;
        Ok(octet)
    }

    /// A 16-bit number in network byte order.
    #[inline(always)]
    fn read_u16(&self, offset: usize) -> Result<u16, Loss> {
        Ok(u16::from_be_bytes(self.read(offset)?))
    }
}

/// A frame in memory.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a>(pub &'a [u8]);

impl Reader for Slice<'_> {
    #[inline]
    fn read<const N: usize>(&self, offset: usize) -> Result<[u8; N], Loss> {
        let rest = self.0.get(offset..).ok_or(Loss::Truncated)?;
        rest.first_chunk().copied().ok_or(Loss::Truncated)
    }
}
