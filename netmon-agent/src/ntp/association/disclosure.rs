//! Whether a client's transmit timestamps are times or random numbers.

use crate::ntp::{Packet, Time};

/// A clock that is further off is none.
const WITHIN_NS: i64 = 86_400 * 1_000_000_000;
/// Differences to the sensor's clock that are this near to each other come from a clock.
const STABLE_WITHIN_NS: i64 = 1_000_000_000;
/// So many in a row are no chance.
const CERTAIN: u8 = 3;

/// The last difference to the sensor's clock, and how often it was about the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Disclosure {
    last_ns: i64,
    in_a_row: u8,
}

impl Disclosure {
    /// A request came.
    pub(super) fn asked(&mut self, request: &Packet<Time>) {
        let t1 = request.content.header.transmit_timestamp;
        let difference_ns = t1.since(request.stamp()).to_ns();
        let is_plausible = !t1.is_zero() && difference_ns.abs() < WITHIN_NS;
        self.in_a_row = if !is_plausible || request.content.header.version == 5 {
            0
        } else if self.in_a_row > 0
            && difference_ns.abs_diff(self.last_ns) < STABLE_WITHIN_NS as u64
        {
            self.in_a_row.saturating_add(1)
        } else {
            1
        };
        self.last_ns = difference_ns;
    }

    /// Whether they are times.
    pub(super) fn is_certain(&self) -> bool {
        self.in_a_row >= CERTAIN
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::ntp::NtpTimestamp;

    use super::*;
    use crate::ntp::packet::example::{EPOCH_UNIX_NS, MS, S, request};

    fn after(times: impl IntoIterator<Item = u64>) -> bool {
        let mut disclosure = Disclosure::default();
        for (n, transmit) in times.into_iter().enumerate() {
            disclosure.asked(&request(n as u64 * 64 * S, 1, transmit));
        }
        disclosure.is_certain()
    }

    #[test]
    fn three_stable_differences_are_a_clock() {
        // An hour and a bit behind.
        let clock = |n: u64| {
            let at_ns = EPOCH_UNIX_NS + (n * 64 * S) as i64 - 3600 * S as i64 - (n * MS) as i64;
            NtpTimestamp::from_unix_ns(at_ns).0
        };
        assert!(after((0..3).map(clock)));
        assert!(!after((0..2).map(clock)));
        assert!(!after((0..9).map(|n| clock(n % 2 * 50))));
    }

    #[test]
    fn random_numbers_zeros_and_constants_are_none() {
        let mut state = 1_u64;
        let random = (0..1000).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state
        });
        assert!(!after(random));
        assert!(!after([0; 9]));
        assert!(!after([0x83aa_7e80_0000_0000; 9]));
    }
}
