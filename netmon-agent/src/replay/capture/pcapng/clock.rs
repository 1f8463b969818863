//! What an interface's time stamps count.

const NS_PER_S: i128 = 1_000_000_000;
const POWER_OF_TWO: u8 = 0x80;

/// Units and origin of time stamps; microseconds since 1970 if the file does not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// A negative power of ten, or of two.
    exponent: u8,
    base_two: bool,
    /// Added to every time stamp, s.
    pub(super) offset_s: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            exponent: 6,
            base_two: false,
            offset_s: 0,
        }
    }
}

impl Clock {
    /// As the option says it.
    pub(super) fn set_resolution(&mut self, value: u8) {
        self.base_two = value & POWER_OF_TWO != 0;
        self.exponent = value & !POWER_OF_TWO;
    }

    /// Nanoseconds since 1970, rounded down; `None`: further away than 64 bits reach.
    pub(super) fn unix_ns(&self, ticks: u64) -> Option<i64> {
        let (ticks, exponent) = (i128::from(ticks), u32::from(self.exponent));
        let since_origin_ns = if self.base_two {
            // 64 bits of ticks and 30 of nanoseconds fit; a shift further than that leaves nothing.
            (ticks * NS_PER_S).checked_shr(exponent).unwrap_or(0)
        } else {
            // Finer than 10^-38 s: 64 bits of ticks are less than a nanosecond.
            10_i128
                .checked_pow(exponent)
                .map_or(0, |units| ticks * NS_PER_S / units)
        };
        i64::try_from(since_origin_ns + i128::from(self.offset_s) * NS_PER_S).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resolution_gives_nanoseconds() {
        let cases = [
            (6, 1_000_001, Some(1_000_001_000)),
            (9, 7, Some(7)),
            (0, 3, Some(3_000_000_000)),
            (12, 1_999, Some(1)),
            (0x80 | 10, 1024 + 512, Some(1_500_000_000)),
            (0x80 | 32, 1 << 31, Some(500_000_000)),
            (0x80, 2, Some(2_000_000_000)),
            (127, u64::MAX, Some(0)),
            (0xff, u64::MAX, Some(0)),
            (0, u64::MAX, None),
        ];
        for (resolution, ticks, expected) in cases {
            let mut clock = Clock::default();
            clock.set_resolution(resolution);
            assert_eq!(clock.unix_ns(ticks), expected, "{resolution}");
        }
    }

    #[test]
    fn the_offset_is_in_seconds_and_may_be_negative() {
        let mut clock = Clock {
            offset_s: -2,
            ..Clock::default()
        };
        assert_eq!(clock.unix_ns(1), Some(-1_999_999_000));
        clock.offset_s = i64::MAX;
        assert_eq!(clock.unix_ns(1), None);
    }
}
