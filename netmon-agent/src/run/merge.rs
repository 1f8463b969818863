//! Packets of several rings in the order of their time, as if there were one ring.
//!
//! Copies of a datagram come from the rings of both ends of a cable, and a response must not be seen
//! before its request. Each ring is in order, and each turn takes a part of it: what is later than
//! the end of any such part waits for the next turn.

use std::collections::BTreeMap;

use super::namespace::Number;

/// Packets that may wait. Beyond it only the ring that all wait for is taken from: what finds no
/// room in the others meanwhile is counted by the kernel.
const MAX_HELD: usize = 65_536;

/// What waits, and for whom.
#[derive(Debug)]
pub struct Merge<P> {
    /// With their times.
    held: Vec<(u64, P)>,
    /// Up to when the rings were read that have more.
    behind: BTreeMap<Number, u64>,
    passed_ns: u64,
}

impl<P> Merge<P> {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.behind.is_empty()
    }

    /// Whether this ring may be taken from. If not, it counts as read up to where all are.
    pub fn may_take(&mut self, number: Number) -> bool {
        if self.held.len() < MAX_HELD {
            return true;
        }
        let passed_ns = self.passed_ns;
        let at_ns = *self.behind.entry(number).or_insert(passed_ns);
        self.behind.values().all(|other_ns| at_ns <= *other_ns)
    }

    /// A packet of a ring.
    pub fn push(&mut self, at_ns: u64, packet: P) {
        self.held.push((at_ns, packet));
    }

    /// A part of a ring was taken, up to a moment if it has more.
    pub fn took(&mut self, number: Number, more_since_ns: Option<u64>) {
        match more_since_ns {
            Some(at_ns) => self.behind.insert(number, at_ns),
            None => self.behind.remove(&number),
        };
    }

    /// Passes on what nothing older can come of. `now_ns`: before the first ring of this turn was
    /// taken from.
    pub fn pass(&mut self, now_ns: u64, mut each: impl FnMut(P)) {
        let until_ns = self.behind.values().copied().min().unwrap_or(now_ns);
        // Runs that are in order already: next to nothing to do.
        self.held.sort_by_key(|(at_ns, _)| *at_ns);
        let ready = self.held.partition_point(|(at_ns, _)| *at_ns <= until_ns);
        self.held
            .drain(..ready)
            .for_each(|(_, packet)| each(packet));
        self.passed_ns = self.passed_ns.max(until_ns);
    }

    /// Passes on everything: no ring has anything more.
    pub fn flush(&mut self, each: impl FnMut(P)) {
        self.behind.clear();
        self.pass(u64::MAX, each);
    }
}

impl<P> Default for Merge<P> {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            behind: BTreeMap::new(),
            passed_ns: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Number = 0;
    const BLUE: Number = 1;

    /// A turn: what each ring gave, and whether it has more; then what passes.
    fn turn(merge: &mut Merge<u64>, now_ns: u64, rings: &[(Number, &[u64], bool)]) -> Vec<u64> {
        for (number, times, has_more) in rings {
            for at_ns in *times {
                merge.push(*at_ns, *at_ns);
            }
            merge.took(*number, times.last().copied().filter(|_| *has_more));
        }
        let mut passed = Vec::new();
        merge.pass(now_ns, |at_ns| passed.push(at_ns));
        passed
    }

    #[test]
    fn rings_that_are_empty_pass_everything_in_the_order_of_time() {
        let mut merge = Merge::default();
        let rings = [(HOME, &[1, 4, 5][..], false), (BLUE, &[2, 3], false)];
        assert_eq!(turn(&mut merge, 10, &rings), [1, 2, 3, 4, 5]);
        assert!(merge.is_empty());
    }

    #[test]
    fn what_came_while_the_rings_were_read_waits_for_the_next_turn() {
        let mut merge = Merge::default();
        // 11 came to one ring after the other had been read: 10 may be in that.
        let rings = [(HOME, &[1][..], false), (BLUE, &[11], false)];
        assert_eq!(turn(&mut merge, 9, &rings), [1]);
        let rings = [(HOME, &[10][..], false), (BLUE, &[], false)];
        assert_eq!(turn(&mut merge, 20, &rings), [10, 11]);
    }

    #[test]
    fn a_ring_with_more_holds_up_what_is_later_in_the_others() {
        let mut merge = Merge::default();
        let rings = [(HOME, &[1, 2, 3][..], true), (BLUE, &[2, 8], false)];
        assert_eq!(turn(&mut merge, 10, &rings), [1, 2, 2, 3]);
        assert!(!merge.is_empty());
        let rings = [(HOME, &[4, 9][..], false), (BLUE, &[], false)];
        assert_eq!(turn(&mut merge, 11, &rings), [4, 8, 9]);
    }

    #[test]
    fn a_namespace_that_is_gone_holds_up_nobody() {
        let mut merge = Merge::default();
        turn(&mut merge, 10, &[(BLUE, &[1, 2], true)]);
        let rings = [(HOME, &[3][..], false), (BLUE, &[], false)];
        assert_eq!(turn(&mut merge, 11, &rings), [3]);
    }

    #[test]
    fn a_flood_in_one_ring_leaves_the_others_in_theirs() {
        let mut merge = Merge::default();
        merge.took(HOME, Some(5));
        for at_ns in 0..MAX_HELD as u64 {
            assert!(merge.may_take(BLUE));
            merge.push(6 + at_ns, at_ns);
        }
        merge.took(BLUE, Some(6 + MAX_HELD as u64));
        assert!(merge.may_take(HOME), "all wait for it");
        assert!(!merge.may_take(BLUE));
        merge.took(HOME, None);
        merge.pass(u64::MAX, drop);
        assert!(merge.may_take(BLUE));
    }

    #[test]
    fn a_ring_that_was_passed_over_may_have_anything_since() {
        let mut merge = Merge::default();
        merge.pass(4, |_: u64| {});
        merge.took(HOME, Some(5));
        (0..MAX_HELD as u64).for_each(|at_ns| merge.push(100 + at_ns, at_ns));
        // Read to the end before, so that it was not waited for; now nobody knows.
        assert!(merge.may_take(BLUE), "it is the one that all wait for");
        merge.took(BLUE, None);
        merge.took(HOME, Some(50));
        assert!(merge.may_take(HOME));
    }
}
