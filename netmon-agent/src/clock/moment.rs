//! An instant that means something to the next run of the agent.

use std::{fs, sync::LazyLock};

use super::Now;

/// An instant on both clocks, and the boot whose monotonic clock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since 1970, as the wall clock had it then.
    pub unix_ns: i64,
    /// `CLOCK_MONOTONIC`, ns.
    pub monotonic_ns: u64,
    /// Names the boot; 0 if the kernel does not say.
    pub boot: u32,
}

impl Moment {
    /// The moment of a reading in this boot.
    pub fn of(now: Now) -> Self {
        Self {
            unix_ns: now.unix_ns,
            monotonic_ns: now.monotonic_ns,
            boot: boot(),
        }
    }

    /// Where it lies on today's clocks. In the same boot the monotonic clock tells, whatever the wall
    /// clock has been set to since; after another boot only the wall clock can.
    pub fn seen_from(self, now: Now) -> Now {
        let passed_ns = if self.is_of(boot()) {
            now.monotonic_ns.saturating_sub(self.monotonic_ns)
        } else {
            u64::try_from(now.unix_ns.saturating_sub(self.unix_ns)).unwrap_or(0)
        };
        let passed = i64::try_from(passed_ns).unwrap_or(i64::MAX);
        Now {
            monotonic_ns: now.monotonic_ns.saturating_sub(passed_ns),
            unix_ns: now.unix_ns.saturating_sub(passed),
        }
    }

    /// The later of two.
    pub fn max(self, other: Self) -> Self {
        let is_later = if self.is_of(other.boot) {
            self.monotonic_ns > other.monotonic_ns
        } else {
            self.unix_ns > other.unix_ns
        };
        if is_later { self } else { other }
    }

    fn is_of(self, boot: u32) -> bool {
        self.boot == boot && boot != 0
    }
}

/// A number for this boot of the machine; 0 if the kernel does not say.
pub fn boot() -> u32 {
    static BOOT: LazyLock<u32> = LazyLock::new(|| {
        fs::read("/proc/sys/kernel/random/boot_id").map_or(0, |id| crc32fast::hash(&id))
    });
    *BOOT
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now {
        monotonic_ns: 1_000,
        unix_ns: 500_000,
    };

    #[test]
    fn a_wall_clock_that_was_set_back_does_not_hide_what_passed() {
        let moment = Moment {
            unix_ns: 900_000,
            monotonic_ns: 400,
            boot: boot(),
        };
        let seen = moment.seen_from(NOW);
        assert_eq!((seen.monotonic_ns, seen.unix_ns), (400, 499_400));
    }

    #[test]
    fn after_another_boot_the_wall_clock_tells() {
        let moment = Moment {
            unix_ns: 499_900,
            monotonic_ns: 77_000,
            boot: boot().wrapping_add(1),
        };
        assert_eq!(moment.seen_from(NOW).unix_ns, 499_900);
        let ahead = Moment {
            unix_ns: 600_000,
            ..moment
        };
        assert_eq!(ahead.seen_from(NOW), NOW, "nothing is in the future");
    }

    #[test]
    fn moments_of_one_boot_are_ordered_by_its_clock() {
        let earlier = Moment {
            unix_ns: 9,
            monotonic_ns: 1,
            boot: 5,
        };
        let later = Moment {
            unix_ns: 3,
            monotonic_ns: 2,
            boot: 5,
        };
        assert_eq!(earlier.max(later), later);
        assert_eq!(later.max(Moment { boot: 6, ..earlier }).unix_ns, 9);
    }
}
