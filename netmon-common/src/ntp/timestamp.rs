//! 64-bit NTP timestamps and their differences (RFC 5905 section 6).

/// Seconds from 1900-01-01 (NTP) to 1970-01-01 (Unix).
const UNIX_EPOCH_S: i128 = 2_208_988_800;
const NS_PER_S: i128 = 1_000_000_000;

/// A raw 32.32 fixed-point timestamp: seconds since 1900-01-01 modulo 2³², and their fraction.
///
/// Equality is equality of the 64 bits, as pairing needs it. Zero means "unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpTimestamp(pub u64);

/// A signed difference of two timestamps, in units of 2⁻³² s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NtpDuration(pub i64);

impl NtpTimestamp {
    /// Whether the field is all zero: unknown or never set.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The timestamp of an instant in nanoseconds since 1970, in whatever era that falls.
    pub const fn from_unix_ns(unix_ns: i64) -> Self {
        Self(units_since_1900(unix_ns) as u64)
    }

    /// Nanoseconds since 1970 in the era that puts the timestamp nearest to `pivot_unix_ns`
    /// (within 68 years of it). `None` when that does not fit 64 bits.
    pub fn to_unix_ns(self, pivot_unix_ns: i64) -> Option<i64> {
        let NtpDuration(since_pivot) = self.since(Self::from_unix_ns(pivot_unix_ns));
        let units = units_since_1900(pivot_unix_ns) + since_pivot as i128;
        let since_1900_ns = (units * NS_PER_S) >> 32;
        i64::try_from(since_1900_ns - UNIX_EPOCH_S * NS_PER_S).ok()
    }

    /// This timestamp minus an earlier one, right across the end of an era.
    pub const fn since(self, earlier: Self) -> NtpDuration {
        NtpDuration(self.0.wrapping_sub(earlier.0) as i64)
    }
}

impl NtpDuration {
    /// In nanoseconds, rounded towards minus infinity. At most ±2³¹ s, so it always fits.
    pub const fn to_ns(self) -> i64 {
        ((self.0 as i128 * NS_PER_S) >> 32) as i64
    }
}

/// Units of 2⁻³² s since 1900, not wrapped. Rounded up, so that converting back by flooring gives
/// the same nanosecond.
const fn units_since_1900(unix_ns: i64) -> i128 {
    let since_1900_ns = unix_ns as i128 + UNIX_EPOCH_S * NS_PER_S;
    ((since_1900_ns << 32) + NS_PER_S - 1).div_euclid(NS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2036-02-07T06:28:16Z, the first instant of era 1.
    const ERA_1_UNIX_NS: i64 = 2_085_978_496 * 1_000_000_000;

    #[test]
    fn unix_nanoseconds_survive_the_round_trip() {
        for unix_ns in [
            0,
            1,
            999_999_999,
            1_700_000_000_123_456_789,
            ERA_1_UNIX_NS + 7,
        ] {
            let timestamp = NtpTimestamp::from_unix_ns(unix_ns);
            assert_eq!(
                timestamp.to_unix_ns(unix_ns + 5),
                Some(unix_ns),
                "{unix_ns}"
            );
        }
    }

    #[test]
    fn era_one_starts_at_zero() {
        assert_eq!(NtpTimestamp::from_unix_ns(ERA_1_UNIX_NS), NtpTimestamp(0));
    }

    #[test]
    fn differences_are_right_across_the_end_of_an_era() {
        let before = NtpTimestamp::from_unix_ns(ERA_1_UNIX_NS - 500_000_000);
        let after = NtpTimestamp::from_unix_ns(ERA_1_UNIX_NS + 500_000_000);
        assert_eq!(after.since(before).to_ns(), 1_000_000_000);
        assert_eq!(before.since(after).to_ns(), -1_000_000_000);
    }

    #[test]
    fn the_era_is_the_one_nearest_to_the_pivot() {
        let timestamp = NtpTimestamp(0x8000_0000_0000_0000);
        let pivot = ERA_1_UNIX_NS;
        let unix_ns = timestamp.to_unix_ns(pivot).unwrap();
        assert!((unix_ns - pivot).unsigned_abs() <= (1 << 31) * 1_000_000_000);
    }
}
