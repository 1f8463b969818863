//! Finds the batch that spoils a group.

use std::ops::Range;

/// The parts of a group that have no verdict yet, the next one last.
#[derive(Debug)]
pub(super) struct Bisection(Vec<Range<usize>>);

impl Bisection {
    /// All of a group in one part.
    pub(super) fn of(batches: usize) -> Self {
        Self(Vec::from_iter((batches > 0).then_some(0..batches)))
    }

    /// The part to try next.
    pub(super) fn next(&self) -> Option<Range<usize>> {
        self.0.last().cloned()
    }

    /// Every batch of that part has a verdict.
    pub(super) fn done(&mut self) {
        self.0.pop();
    }

    /// Tries the halves of that part by themselves; `false` when it is a single batch.
    pub(super) fn halve(&mut self) -> bool {
        let Some(part) = self.0.pop() else {
            return false;
        };
        if part.len() < 2 {
            self.0.push(part);
            return false;
        }
        let middle = part.start + part.len() / 2;
        self.0.push(middle..part.end);
        self.0.push(part.start..middle);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_batch_of_many_is_found_in_few_attempts_and_the_others_pass() {
        for count in 1..=64 {
            for bad in 0..count {
                let mut parts = Bisection::of(count);
                let (mut stored, mut refused, mut attempts) = (Vec::new(), Vec::new(), 0);
                while let Some(part) = parts.next() {
                    attempts += 1;
                    if !part.contains(&bad) {
                        stored.extend(part);
                        parts.done();
                    } else if !parts.halve() {
                        refused.extend(part);
                        parts.done();
                    }
                }
                assert_eq!(refused, [bad]);
                assert!(stored.into_iter().eq((0..count).filter(|n| *n != bad)));
                assert!(attempts <= 13, "{attempts} for {bad} of {count}");
            }
        }
        assert_eq!(Bisection::of(0).next(), None);
    }
}
