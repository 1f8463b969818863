//! Growing pauses with jitter, so that a fleet does not come back in one moment.

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

    /// How long to wait now: between half of the current pause and the whole of it.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.current.mul_f64(rand::random_range(0.5..=1.0));
        self.current = (self.current * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest);
        for whole in [1, 2, 4, 5, 5].map(Duration::from_secs) {
            let pause = backoff.next_pause();
            assert!(
                whole / 2 <= pause && pause <= whole,
                "{pause:?} of {whole:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_pause() <= first);
    }
}
