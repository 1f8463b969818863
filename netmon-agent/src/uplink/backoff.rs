//! Growing pauses with full jitter, so that a fleet does not come back in one moment.

use std::time::Duration;

/// Pauses between connection attempts.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    current: Duration,
}

impl Backoff {
    /// Starts at `first`, doubles up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            current: first,
        }
    }

    /// An attempt has succeeded.
    pub fn reset(&mut self) {
        self.current = self.first;
    }

    /// How long to wait now: anything up to the current pause.
    pub fn next_pause(&mut self) -> Duration {
        let pause = jitter(self.current);
        self.current = (self.current * 2).min(self.longest);
        pause
    }
}

/// Any time up to `longest`, each as likely as the other: agents that lost their server in the same
/// moment come back evenly spread, which pauses around a common length would not achieve.
pub fn jitter(longest: Duration) -> Duration {
    longest.mul_f64(rand::random_range(0.0..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest);
        for whole in [1, 2, 4, 5, 5].map(Duration::from_secs) {
            assert_eq!(backoff.current, whole);
            assert!(backoff.next_pause() <= whole);
        }
        backoff.reset();
        assert!(backoff.next_pause() <= first);
    }

    #[test]
    fn pauses_are_spread_over_the_whole_range() {
        let mut quarters = [0; 4];
        for _ in 0..4000 {
            let pause = jitter(Duration::from_secs(4));
            quarters[(pause.as_secs() as usize).min(3)] += 1;
        }
        assert!(quarters.iter().all(|n| *n > 800), "{quarters:?}");
    }
}
