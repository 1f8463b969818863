//! Why a packet that was, or may have been, NTP did not become an event.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A cause of loss: an index of the kernel's `LOSSES` array.
///
/// Every packet on the NTP port ends as an event or as one of these; packets that may hide an NTP
/// header (later fragments, chains too long to follow, truncated headers) are counted too, since
/// nobody can tell what they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Loss {
    /// The ring buffer was full: user space does not keep up.
    RingFull = 0,
    /// A later fragment of a UDP datagram: it has no ports.
    LaterFragment = 1,
    /// The frame ends within a header.
    Truncated = 2,
    /// A header contradicts itself: IPv4 header or UDP length below the minimum, wrong IP version.
    Malformed = 3,
    /// More than six IPv6 extension headers.
    ExtensionChain = 4,
    /// More than two VLAN tags.
    VlanDepth = 5,
    /// The kernel refused to copy bytes that the packet holds.
    Unreadable = 6,
}

impl Loss {
    /// Every cause, in the order of the array.
    pub const ALL: [Self; 7] = [
        Self::RingFull,
        Self::LaterFragment,
        Self::Truncated,
        Self::Malformed,
        Self::ExtensionChain,
        Self::VlanDepth,
        Self::Unreadable,
    ];

    /// The name used in metrics and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::LaterFragment => "later_fragment",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::ExtensionChain => "extension_chain",
            Self::VlanDepth => "vlan_depth",
            Self::Unreadable => "unreadable",
        }
    }
}

/// One lost packet, for the log: the record of the kernel's `LOST_PACKETS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LostPacket {
    /// The interface's index.
    pub ifindex: u32,
    /// [`Loss`] as a number.
    pub cause: u32,
}

impl LostPacket {
    /// Reads the bytes of a ring buffer record, or `None` if they are not one.
    pub fn parse(record: &[u8]) -> Option<(u32, Loss)> {
        let lost = Self::read_from_bytes(record).ok()?;
        let cause = usize::try_from(lost.cause).ok()?;
        Some((lost.ifindex, *Loss::ALL.get(cause)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_interface_and_cause_or_is_none() {
        let lost = |cause| LostPacket { ifindex: 7, cause };
        for cause in Loss::ALL {
            let record = lost(cause as u32);
            assert_eq!(LostPacket::parse(record.as_bytes()), Some((7, cause)));
        }
        assert_eq!(LostPacket::parse(lost(99).as_bytes()), None);
        assert_eq!(LostPacket::parse(&[0; 7]), None);
    }

    #[test]
    fn the_list_of_causes_is_in_array_order() {
        for (index, loss) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(loss as usize, index);
        }
    }
}
