//! `NTP_PORTS`: where NTP is looked for, as user space says at any moment.

use aya_ebpf::{macros::map, maps::Array};
use netmon_common::{ntp::PortSlots, packet::PortSet};

use crate::array::Slots as _;

/// One value, which user space changes while programs run: it is asked each time, and copied.
#[map]
static NTP_PORTS: Array<PortSlots> = Array::with_max_entries(1, 0);

/// The ports in force.
pub struct InForce;

impl InForce {
    /// Whether there is none: then nothing is NTP, and nothing can be lost of it.
    #[inline(always)]
    pub fn is_empty() -> bool {
        NTP_PORTS
            .slot(0)
            .is_none_or(|slots| state(slots) == PortSlots::EMPTY)
    }

    /// As [`PortSet::has_either`], by two comparisons where there is one port.
    #[inline(always)]
    pub fn has_either_quickly(source: u16, destination: u16) -> bool {
        let Some(slots) = NTP_PORTS.slot(0) else {
            return false;
        };
        match state(slots) {
            PortSlots::EMPTY => false,
            PortSlots::ONE => {
                let first = PortSlots::first_of(low(slots));
                source == first || destination == first
            }
            _ => PortSlots::either(low(slots), high(slots), source, destination),
        }
    }
}

impl PortSet for InForce {
    /// All slots without a branch: the verifier goes on from here once, not once for each port.
    #[inline(always)]
    fn has_either(&self, source: u16, destination: u16) -> bool {
        let Some(slots) = NTP_PORTS.slot(0) else {
            return false;
        };
        let is_in_slot = PortSlots::either(low(slots), high(slots), source, destination);
        is_in_slot & (state(slots) != PortSlots::EMPTY)
    }
}

#[inline(always)]
fn state(slots: *const PortSlots) -> u64 {
    // SAFETY: the map returned a valid pointer; user space may write at any moment, so each word is
    // read once and as it is.
    unsafe { (&raw const (*slots).state).read_volatile() }
}

#[inline(always)]
fn low(slots: *const PortSlots) -> u64 {
    // SAFETY: as above.
    unsafe { (&raw const (*slots).words[0]).read_volatile() }
}

#[inline(always)]
fn high(slots: *const PortSlots) -> u64 {
    // SAFETY: as above.
    unsafe { (&raw const (*slots).words[1]).read_volatile() }
}
