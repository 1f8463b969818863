//! Packets that are counted for their interface and belong to no flow.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::counters::Counters;

/// Why a packet belongs to no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Untracked {
    /// It is not IP.
    NotIp = 0,
    /// Its headers cannot be read: cut, contradictory, too deep.
    Unparsed = 1,
    /// The flow is new and the map is full, or the kernel has no memory for it.
    MapFull = 2,
}

/// What became of no flow, by cause; per interface and direction.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct UntrackedCounters {
    /// See [`Untracked::NotIp`]; packets, bytes, wire packets, wire bytes.
    pub not_ip: [u64; 4],
    /// See [`Untracked::Unparsed`].
    pub unparsed: [u64; 4],
    /// See [`Untracked::MapFull`].
    pub map_full: [u64; 4],
}

const _: () = assert!(size_of::<UntrackedCounters>() == 96);

impl Untracked {
    /// Every cause, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::NotIp, Self::Unparsed, Self::MapFull];

    /// The name used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::Unparsed => "unparsed",
            Self::MapFull => "map_full",
        }
    }
}

impl UntrackedCounters {
    /// From the words of the kernel map's value.
    pub fn from_words(words: [u64; 12]) -> Self {
        let four = |at: usize| core::array::from_fn(|index| words[at + index]);
        Self {
            not_ip: four(0),
            unparsed: four(4),
            map_full: four(8),
        }
    }

    /// The counts of one cause.
    pub const fn of(&self, cause: Untracked) -> Counters {
        Counters::from_words(match cause {
            Untracked::NotIp => self.not_ip,
            Untracked::Unparsed => self.unparsed,
            Untracked::MapFull => self.map_full,
        })
    }

    /// All causes together.
    pub fn total(&self) -> Counters {
        Untracked::ALL
            .into_iter()
            .map(|cause| self.of(cause))
            .fold(Counters::default(), |a, b| a + b)
    }

    /// Counts a packet.
    #[inline(always)]
    pub const fn add(&mut self, cause: Untracked, passed: Counters) {
        let words = match cause {
            Untracked::NotIp => &mut self.not_ip,
            Untracked::Unparsed => &mut self.unparsed,
            Untracked::MapFull => &mut self.map_full,
        };
        words[0] = words[0].wrapping_add(passed.packets);
        words[1] = words[1].wrapping_add(passed.bytes);
        words[2] = words[2].wrapping_add(passed.wire_packets);
        words[3] = words[3].wrapping_add(passed.wire_bytes);
    }
}
