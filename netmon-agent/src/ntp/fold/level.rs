//! When exchanges are folded: always, never, or by their rate.

use serde::{Deserialize, Serialize};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Seconds whose exchanges are remembered, and that folding lasts at least.
const LONG: usize = 60;
/// Seconds of whose mean a higher rate is noticed.
const SHORT: usize = 5;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// By rate.
    Automatic,
    /// Every exchange.
    Exchanges,
    /// Folds.
    Folded,
}

/// The level there is.
#[derive(Debug)]
pub(super) struct Level {
    detail: Detail,
    /// Exchanges a second.
    above: u32,
    /// Exchanges of single seconds, by the second's number.
    seconds: [u32; LONG],
    /// The one that runs.
    current: u64,
    /// The rate is high, since that second.
    high_since: Option<u64>,
}

impl Level {
    pub(super) fn new(detail: Detail, above: u32) -> Self {
        Self {
            detail,
            above,
            seconds: [0; LONG],
            current: 0,
            high_since: None,
        }
    }

    pub(super) fn is_folding(&self) -> bool {
        match self.detail {
            Detail::Automatic => self.high_since.is_some(),
            Detail::Exchanges => false,
            Detail::Folded => true,
        }
    }

    /// An exchange came.
    pub(super) fn count(&mut self, now_ns: u64) {
        self.advance(now_ns);
        let second = place(self.current);
        self.seconds[second] = self.seconds[second].saturating_add(1);
    }

    /// Time passes.
    pub(super) fn advance(&mut self, now_ns: u64) {
        let now = now_ns / NS_PER_SECOND;
        if now.saturating_sub(self.current) > 2 * LONG as u64 {
            self.seconds = [0; LONG];
            self.current = now - 1;
        }
        while self.current < now {
            self.end_second();
        }
    }

    /// Up at once: a flood must not wait. Down only when the mean of a minute is below half: a rate
    /// that goes up and down is a high one.
    fn end_second(&mut self) {
        let (short, long) = (self.mean(SHORT), self.mean(LONG));
        self.current += 1;
        self.seconds[place(self.current)] = 0;
        match self.high_since {
            None if short > u64::from(self.above) => self.high_since = Some(self.current),
            Some(since)
                if self.current - since >= LONG as u64 && long < u64::from(self.above) / 2 =>
            {
                self.high_since = None;
            }
            _ => {}
        }
    }

    /// Exchanges a second over so many seconds up to the one that is about to end.
    fn mean(&self, seconds: usize) -> u64 {
        let last = (0..seconds as u64).map(|back| place(self.current.wrapping_sub(back)));
        let sum: u64 = last.map(|at| u64::from(self.seconds[at])).sum();
        sum / seconds as u64
    }
}

fn place(second: u64) -> usize {
    (second % LONG as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exchanges at a rate through some seconds; the seconds at whose end the level was folding.
    fn run(level: &mut Level, from: u64, seconds: u64, rate: u64) -> Vec<bool> {
        let second = |second: u64| {
            for n in 0..rate {
                level.count(second * NS_PER_SECOND + n * NS_PER_SECOND / rate);
            }
            level.advance((second + 1) * NS_PER_SECOND);
            level.is_folding()
        };
        (from..from + seconds).map(second).collect()
    }

    #[test]
    fn a_rate_switches_folding_on_within_seconds_and_off_after_a_minute() {
        let mut level = Level::new(Detail::Automatic, 2000);
        assert_eq!(run(&mut level, 90, 30, 1900), [false; 30]);
        assert_eq!(run(&mut level, 120, 10, 100), [false; 10]);
        let rising = run(&mut level, 130, 10, 5000);
        assert!(!rising[0] && rising[4..].iter().all(|on| *on), "{rising:?}");
        // Neither a rate between the bounds nor a short pause ends it.
        assert_eq!(run(&mut level, 140, 300, 1900), [true; 300]);
        assert_eq!(run(&mut level, 440, 20, 1), [true; 20]);
        let falling = run(&mut level, 460, 60, 1);
        assert!(falling[0] && !falling[59], "{falling:?}");
        assert_eq!(falling.windows(2).filter(|w| w[0] != w[1]).count(), 1);
    }

    #[test]
    fn a_flood_is_folded_after_its_first_second() {
        let mut level = Level::new(Detail::Automatic, 2000);
        run(&mut level, 7, 1, 200_000);
        assert!(level.is_folding());
        // And for a minute, however short it was.
        assert_eq!(run(&mut level, 8, 59, 1), [true; 59]);
        level.advance(1000 * NS_PER_SECOND);
        assert!(!level.is_folding());
    }

    #[test]
    fn what_is_configured_holds_whatever_the_rate() {
        for (detail, expected) in [(Detail::Exchanges, false), (Detail::Folded, true)] {
            let mut level = Level::new(detail, 10);
            assert_eq!(level.is_folding(), expected);
            assert_eq!(run(&mut level, 0, 2, 10_000), [expected; 2]);
        }
    }
}
