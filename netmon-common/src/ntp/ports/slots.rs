//! The set as kernel programs read it, and how it changes under their eyes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::NtpPorts;

const LANES_PER_WORD: usize = 4;
const LANE_BITS: usize = 16;
/// Bit 0 of every lane.
const LOWEST: u64 = 0x0001_0001_0001_0001;
/// Bit 15 of every lane.
const HIGHEST: u64 = 0x8000_8000_8000_8000;

/// The value of the kernel's `NTP_PORTS`: eight slots of 16 bits, four to a word, compared without a
/// branch for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortSlots {
    /// How many different ports the slots hold: [`Self::EMPTY`], [`Self::ONE`] or
    /// [`Self::SEVERAL`].
    pub state: u64,
    /// Slots that are not needed repeat one of the set, since a packet may have any number there is.
    pub words: [u64; 2],
}

impl PortSlots {
    /// NTP is not looked for.
    pub const EMPTY: u64 = 0;
    /// All slots are equal: comparing with the first is enough.
    pub const ONE: u64 = 1;
    /// All slots count.
    pub const SEVERAL: u64 = 2;

    /// As the kernel makes the map.
    pub const NONE: Self = Self {
        state: Self::EMPTY,
        words: [0; 2],
    };

    /// What the first slot holds, of the first word.
    #[inline(always)]
    pub const fn first_of(low: u64) -> u16 {
        low as u16
    }

    /// Whether a slot of the two words holds one of the two ports; the set must not be empty.
    #[inline(always)]
    pub const fn either(low: u64, high: u64, source: u16, destination: u16) -> bool {
        let (source, destination) = (source as u64, destination as u64);
        (equal(low, source) | equal(low, destination))
            | (equal(high, source) | equal(high, destination))
            != 0
    }

    /// What to write, one after the other, to put `ports` in force in the place of what is written
    /// here.
    ///
    /// A program that runs meanwhile may read some octets of one and some of the next. A port that is
    /// in both sets keeps its slot, and while slots change all of them count: so no packet on it is
    /// missed.
    #[must_use]
    pub fn steps_to(&self, ports: &NtpPorts) -> [Self; 3] {
        let between = match self.state {
            Self::EMPTY => Self::EMPTY,
            _ => Self::SEVERAL,
        };
        let state = match ports.len() {
            0 => Self::EMPTY,
            1 => Self::ONE,
            _ => Self::SEVERAL,
        };
        let words = self.words_for(ports);
        [(between, self.words), (between, words), (state, words)]
            .map(|(state, words)| Self { state, words })
    }

    /// Every port in the slot it has, where it has one.
    fn words_for(&self, ports: &NtpPorts) -> [u64; 2] {
        let Some(&filling) = ports.as_slice().first() else {
            return self.words;
        };
        let mut missing = *ports;
        let kept = self.lanes().map(|port| missing.take(port).then_some(port));
        let mut missing = missing.as_slice().iter().copied();
        let lanes = kept.map(|port| port.or_else(|| missing.next()).unwrap_or(filling));
        let (low, high) = lanes.split_at(LANES_PER_WORD);
        [low, high].map(|lanes| {
            lanes
                .iter()
                .rev()
                .fold(0, |word, port| word << LANE_BITS | u64::from(*port))
        })
    }

    fn lanes(&self) -> [u16; NtpPorts::MAX] {
        core::array::from_fn(|lane| {
            (self.words[lane / LANES_PER_WORD] >> (lane % LANES_PER_WORD * LANE_BITS)) as u16
        })
    }
}

/// Not 0 if one of the four lanes holds `port`: then it is 0 after the exclusive or, and only below
/// or at such a lane does the subtraction set a highest bit that was not there.
#[inline(always)]
const fn equal(word: u64, port: u64) -> u64 {
    let differences = word ^ port.wrapping_mul(LOWEST);
    differences.wrapping_sub(LOWEST) & !differences & HIGHEST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_force(ports: &[u16]) -> PortSlots {
        let set = NtpPorts::new(ports.iter().copied()).unwrap();
        PortSlots::NONE.steps_to(&set)[2]
    }

    fn either(slots: &PortSlots, source: u16, destination: u16) -> bool {
        PortSlots::either(slots.words[0], slots.words[1], source, destination)
    }

    /// What a program makes of it.
    fn finds(slots: &PortSlots, port: u16) -> bool {
        match slots.state {
            PortSlots::EMPTY => false,
            PortSlots::ONE => PortSlots::first_of(slots.words[0]) == port,
            _ => either(slots, port, port),
        }
    }

    #[test]
    fn slots_hold_the_set_and_nothing_else() {
        for set in [
            &[][..],
            &[123],
            &[123, 1123],
            &[1, 0x7fff, 0x8000, 0xffff, 0x0100, 0x00ff, 2, 3],
        ] {
            let slots = in_force(set);
            for port in 0..=u16::MAX {
                assert_eq!(
                    finds(&slots, port),
                    set.contains(&port),
                    "{port} of {set:?}"
                );
            }
        }
    }

    #[test]
    fn source_and_destination_are_looked_for_in_every_slot() {
        let slots = in_force(&[10, 20, 30, 40, 50, 60, 70, 80]);
        for port in (10..=80).step_by(10) {
            assert!(either(&slots, port, 0) && either(&slots, 0, port));
        }
        assert!(!either(&slots, 0, 90));
    }

    #[test]
    fn a_port_that_stays_is_found_at_every_moment_of_a_change() {
        let sets: [&[u16]; 6] = [
            &[123],
            &[123, 1123],
            &[1123],
            &[1123, 5, 6, 7, 8, 9, 10, 11],
            &[4, 11, 1123],
            &[4],
        ];
        for (from, to) in sets.iter().flat_map(|from| sets.map(|to| (*from, to))) {
            let before = in_force(from);
            let [first, second, third] =
                before.steps_to(&NtpPorts::new(to.iter().copied()).unwrap());
            let staying = || from.iter().filter(|port| to.contains(port));
            for (earlier, later) in [(before, first), (first, second), (second, third)] {
                // Any lanes of the one with the others of the other.
                for choice in 0..1_u32 << NtpPorts::MAX {
                    let torn = mixture(&earlier, &later, choice);
                    for state in [earlier.state, later.state] {
                        let seen = PortSlots { state, ..torn };
                        assert!(staying().all(|port| finds(&seen, *port)), "{from:?} {to:?}");
                    }
                }
            }
        }
    }

    fn mixture(earlier: &PortSlots, later: &PortSlots, choice: u32) -> PortSlots {
        let mask = |word: usize| {
            (0..LANES_PER_WORD)
                .filter(|lane| choice >> (word * LANES_PER_WORD + lane) & 1 != 0)
                .fold(0, |mask, lane| mask | 0xffff << (lane * LANE_BITS))
        };
        let words = core::array::from_fn(|word| {
            earlier.words[word] & !mask(word) | later.words[word] & mask(word)
        });
        PortSlots {
            state: later.state,
            words,
        }
    }
}
