//! When each request has waited for too long.

use std::{collections::VecDeque, time::Duration};

use super::{Path, after};

/// One queue for each time-out in use, each in the order of its times by itself. They are few: mostly
/// one, and never more than interfaces with a time-out of their own.
#[derive(Debug, Default)]
pub(super) struct Deadlines(Vec<Queue>);

#[derive(Debug)]
struct Queue {
    timeout: Duration,
    due: VecDeque<Due>,
}

/// When, and which request: its path and its number.
type Due = (u64, Path, u64);

impl Deadlines {
    /// Adds the newest request.
    pub(super) fn push(&mut self, timeout: Duration, sent_at_ns: u64, path: Path, number: u64) {
        let due = (after(sent_at_ns, timeout), path, number);
        if let Some(queue) = self.0.iter_mut().find(|queue| queue.timeout == timeout) {
            queue.due.push_back(due);
            return;
        }
        self.0.retain(|queue| !queue.due.is_empty());
        self.0.push(Queue {
            timeout,
            due: [due].into(),
        });
    }

    /// Takes the first of those whose time is over.
    pub(super) fn next_due(&mut self, now_ns: u64) -> Option<(Path, u64)> {
        let queues = self.0.iter_mut();
        let firsts = queues.filter_map(|queue| {
            let at_ns = queue.due.front()?.0;
            (at_ns <= now_ns).then_some((at_ns, queue))
        });
        let (_, queue) = firsts.min_by_key(|(at_ns, _)| *at_ns)?;
        let (_, path, number) = queue.due.pop_front()?;
        Some((path, number))
    }

    /// Forgets the requests up to a number: they stand first in each queue.
    pub(super) fn forget(&mut self, number: u64) {
        for Queue { due, .. } in &mut self.0 {
            while due.front().is_some_and(|(.., first)| *first <= number) {
                due.pop_front();
            }
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|queue| queue.due.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntp::packet::example::{self, S};

    fn path() -> Path {
        Path::of_request(&example::request(0, 40_000, 1))
    }

    fn taken(deadlines: &mut Deadlines, now_s: u64) -> Vec<u64> {
        let due = std::iter::from_fn(|| deadlines.next_due(now_s * S));
        due.map(|(_, number)| number).collect()
    }

    #[test]
    fn requests_with_different_time_outs_are_due_in_the_order_of_their_times() {
        let mut deadlines = Deadlines::default();
        for (number, timeout_s) in [(0, 5), (1, 1), (2, 5), (3, 60), (4, 1)] {
            let timeout = Duration::from_secs(timeout_s);
            deadlines.push(timeout, number * S, path(), number);
        }
        assert!(taken(&mut deadlines, 1).is_empty());
        assert_eq!(taken(&mut deadlines, 7), [1, 0, 4, 2]);
        assert!(taken(&mut deadlines, 62).is_empty());
        assert_eq!(taken(&mut deadlines, 63), [3]);
    }

    #[test]
    fn forgotten_requests_are_never_due_and_leave_no_queues_behind() {
        let mut deadlines = Deadlines::default();
        for number in 0..1000 {
            let timeout = Duration::from_millis(100 + number);
            deadlines.push(timeout, number, path(), number);
            deadlines.forget(number.saturating_sub(2));
            assert!(deadlines.0.len() <= 3, "{}", deadlines.0.len());
        }
        assert_eq!(taken(&mut deadlines, 99), [998, 999]);
        assert_eq!(deadlines.len(), 0);
    }
}
