//! How many findings without a request of ours become rows: whoever sends such responses chooses
//! how many, and must not push what was measured out of the spool.

/// Rows a second in the long run.
const PER_SECOND: u64 = 200;
/// Rows at once after a quiet time.
const BURST: u64 = 1000;
const NS_PER_ROW: u64 = 1_000_000_000 / PER_SECOND;

/// A token bucket on the clock of the packets.
#[derive(Debug)]
pub struct Throttle {
    tokens: u64,
    filled_at_ns: u64,
}

impl Throttle {
    /// A full bucket.
    pub fn new(now_ns: u64) -> Self {
        Self {
            tokens: BURST,
            filled_at_ns: now_ns,
        }
    }

    /// Whether one more row is allowed.
    pub fn allow(&mut self, now_ns: u64) -> bool {
        let rows = now_ns.saturating_sub(self.filled_at_ns) / NS_PER_ROW;
        self.tokens = BURST.min(self.tokens + rows);
        self.filled_at_ns += rows * NS_PER_ROW;
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_its_burst_and_then_its_rate() {
        let mut throttle = Throttle::new(0);
        let allowed = (0..100_000_u64)
            .filter(|n| throttle.allow(n * 100_000))
            .count() as u64;
        let expected = BURST + 10 * PER_SECOND;
        assert!(allowed.abs_diff(expected) <= 1, "{allowed} in ten seconds");
    }
}
