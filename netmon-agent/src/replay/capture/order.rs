//! Byte order of a file or of a section of it.

/// The machine that wrote the numbers was of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) fn u16(self, octets: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(octets),
            Self::Big => u16::from_be_bytes(octets),
        }
    }

    pub(super) fn u32(self, octets: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        }
    }

    pub(super) fn u64(self, octets: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(octets),
            Self::Big => u64::from_be_bytes(octets),
        }
    }

    /// The number in four octets of a longer header; `at` must leave room for them.
    pub(super) fn word<const N: usize>(self, header: &[u8; N], at: usize) -> u32 {
        self.u32([header[at], header[at + 1], header[at + 2], header[at + 3]])
    }

    /// Likewise of two octets.
    pub(super) fn half<const N: usize>(self, header: &[u8; N], at: usize) -> u16 {
        self.u16([header[at], header[at + 1]])
    }
}
