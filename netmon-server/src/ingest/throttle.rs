//! Keeps what a peer can repeat at will from filling the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lets a few lines through per period and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    began: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

const LINES: u32 = 5;
const PERIOD: Duration = Duration::from_secs(10);

impl Throttle {
    /// `Some` with the number of lines left out since the last one that was let through, or `None`
    /// to leave this one out too.
    pub(super) fn allow(&self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    fn allow_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .began
            .is_none_or(|began| now.duration_since(began) >= PERIOD)
        {
            state.began = Some(now);
            state.lines = 0;
        }
        if state.lines == LINES {
            state.suppressed += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_allowance_are_counted_and_told_later() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let allowed = |at| throttle.allow_at(at);
        assert_eq!((0..8).filter_map(|_| allowed(start)).count(), 5);
        assert_eq!(allowed(start + PERIOD), Some(3));
        assert_eq!(allowed(start + PERIOD), Some(0));
    }
}
