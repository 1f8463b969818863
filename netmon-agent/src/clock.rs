//! The host's clocks: monotonic for durations, wall for dates, and how good the wall clock is.

mod moment;
mod shift;

use nix::time::{ClockId, clock_gettime};

pub use self::moment::{Moment, boot};
use self::shift::shift_ns;

/// More than this between two measurements of the offset is a step: a clock that is slewed takes
/// the monotonic clock along, so that only reading them one after the other tells them apart.
const STEP_NS: u64 = 5_000_000;

/// Nothing waits longer than this between a network driver and our hook: beyond, the clock was stepped
/// in between.
const LONGEST_QUEUE_NS: i64 = 100_000_000;

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_MONOTONIC`, ns.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970.
    pub unix_ns: i64,
}

impl Now {
    /// Wall clock minus monotonic clock.
    fn offset_ns(self) -> i64 {
        self.unix_ns.wrapping_sub(self.monotonic_ns as i64)
    }
}

/// International Atomic Time minus UTC as the kernel has it: whole seconds, 0 on a host whose time
/// daemon does not set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaiOffset {
    seconds: i64,
    shift_ns: i64,
}

impl TaiOffset {
    /// Both clocks show the same.
    pub const NONE: Self = Self {
        seconds: 0,
        shift_ns: 0,
    };

    /// Asks the kernel.
    pub fn measure() -> Self {
        let ahead_ns = read(ClockId::CLOCK_TAI) - read(ClockId::CLOCK_REALTIME);
        Self {
            seconds: (ahead_ns + 500_000_000).div_euclid(1_000_000_000),
            shift_ns: shift_ns(),
        }
    }

    /// The wall clock at a moment of `CLOCK_TAI`.
    pub fn unix_ns(self, tai_ns: u64) -> i64 {
        (tai_ns as i64)
            .wrapping_sub(self.seconds * 1_000_000_000)
            .wrapping_add(self.shift_ns)
    }

    /// How long before a moment of `CLOCK_TAI` one of `CLOCK_REALTIME` was that the kernel wrote down
    /// for the same packet, ns; 0 if it wrote none, or none that can be.
    pub fn queued_ns(self, tai_ns: u64, stamp_unix_ns: u64) -> u64 {
        let unix_ns = (tai_ns as i64).wrapping_sub(self.seconds * 1_000_000_000);
        let queued_ns = unix_ns.wrapping_sub(stamp_unix_ns as i64);
        if (0..=LONGEST_QUEUE_NS).contains(&queued_ns) {
            queued_ns as u64
        } else {
            0
        }
    }
}

/// Reads both clocks as one instant: the wall clock between two monotonic reads, best of three.
pub fn now() -> Now {
    let shift_ns = shift_ns();
    let bracketed = || {
        let before = read(ClockId::CLOCK_MONOTONIC);
        let unix_ns = read(ClockId::CLOCK_REALTIME) + shift_ns;
        let after = read(ClockId::CLOCK_MONOTONIC);
        let monotonic_ns = (before + (after - before) / 2) as u64;
        (
            after - before,
            Now {
                monotonic_ns,
                unix_ns,
            },
        )
    };
    let readings = [bracketed(), bracketed(), bracketed()];
    readings
        .into_iter()
        .min_by_key(|(width, _)| *width)
        .map(|(_, now)| now)
        .expect("three readings")
}

fn read(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("Linux has both clocks");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// Notices steps of the wall clock.
#[derive(Debug, Default)]
pub struct StepDetector {
    last_offset_ns: Option<i64>,
}

impl StepDetector {
    /// Whether the wall clock was stepped since the last call.
    pub fn observe(&mut self, now: Now) -> bool {
        let offset_ns = now.offset_ns();
        let last = self.last_offset_ns.replace(offset_ns);
        last.is_some_and(|last| offset_ns.abs_diff(last) > STEP_NS)
    }
}

/// What the kernel thinks of the wall clock (adjtimex(2), read-only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synchronisation {
    /// Whether some time daemon keeps the clock.
    pub synchronised: bool,
    /// Upper bound of the error, µs.
    pub maximum_error_us: u64,
    /// The daemon's estimate of the error, µs.
    pub estimated_error_us: u64,
}

/// Asks the kernel.
pub fn synchronisation() -> Synchronisation {
    // SAFETY: all-zero is a valid timex, and modes = 0 makes the call read-only.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    Synchronisation {
        synchronised: state >= 0 && timex.status & libc::STA_UNSYNC == 0,
        maximum_error_us: timex.maxerror.max(0) as u64,
        estimated_error_us: timex.esterror.max(0) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_atomic_time_less_whole_seconds() {
        let offset = TaiOffset {
            seconds: 37,
            shift_ns: 0,
        };
        assert_eq!(offset.unix_ns(1_000_037_000_000_123), 1_000_000_000_000_123);
        let (tai, wall) = (read(ClockId::CLOCK_TAI) as u64, now().unix_ns);
        assert!(TaiOffset::measure().unix_ns(tai).abs_diff(wall) < 500_000_000);
    }

    #[test]
    fn a_packet_has_waited_since_the_kernel_stamped_it() {
        let offset = TaiOffset {
            seconds: 37,
            // Does not concern the kernel's own stamps.
            shift_ns: 5_000_000_000,
        };
        let at_ns = 1_795_272_397_000_080_000;
        let tai_ns = at_ns + 37_000_000_000;
        assert_eq!(offset.queued_ns(tai_ns, at_ns - 80_000), 80_000);
        assert_eq!(offset.queued_ns(tai_ns, at_ns), 0);
        // Not stamped; stamped by a clock that was stepped since, back or ahead.
        for stamp_ns in [0, at_ns + 1, at_ns - 1_000_000_000, u64::MAX] {
            assert_eq!(offset.queued_ns(tai_ns, stamp_ns), 0, "{stamp_ns}");
        }
    }

    #[test]
    fn what_is_left_of_reading_two_clocks_is_not_a_step() {
        let mut detector = StepDetector::default();
        assert!(!detector.observe(Now {
            monotonic_ns: 0,
            unix_ns: 0
        }));
        assert!(!detector.observe(Now {
            monotonic_ns: 1_000_000_000,
            unix_ns: 1_000_500_000
        }));
        assert!(detector.observe(Now {
            monotonic_ns: 2_000_000_000,
            unix_ns: 3_000_000_000
        }));
        assert!(!detector.observe(Now {
            monotonic_ns: 3_000_000_000,
            unix_ns: 4_000_000_000
        }));
    }

    #[test]
    fn the_two_clocks_are_read_close_together() {
        let (first, second) = (now(), now());
        assert!(second.monotonic_ns >= first.monotonic_ns);
        assert!(second.offset_ns().abs_diff(first.offset_ns()) < 10_000_000);
    }
}
