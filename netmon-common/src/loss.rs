//! Why a packet that was, or may have been, NTP did not become an event.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_causes_is_in_array_order() {
        for (index, loss) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(loss as usize, index);
        }
    }
}
