//! Pauses between attempts.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(2);

/// Growing pauses with jitter, until patience is at its end.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    until: Instant,
}

impl Pauses {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            next: FIRST,
            until: Instant::now() + patience,
        }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let left = self.until.checked_duration_since(Instant::now())?;
        // Those who failed together shall not try together.
        let pause = self.next.mul_f64(rand::random_range(0.5..1.5));
        self.next = (self.next * 2).min(LONGEST);
        Some(pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_end() {
        let mut pauses = Pauses::new(Duration::from_secs(3600));
        let all: Vec<_> = pauses.by_ref().take(20).collect();
        assert!(all[0] < FIRST * 2, "{all:?}");
        assert!(
            all[19] >= LONGEST / 2 && all[19] <= LONGEST * 3 / 2,
            "{all:?}"
        );
        assert_eq!(Pauses::new(Duration::ZERO).nth(1), None);
    }
}
