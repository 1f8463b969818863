//! Sets of sequence numbers, as ranges.

/// An inclusive range of sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first number.
    pub first: i64,
    /// The last number, not below the first.
    pub last: i64,
}

/// Numbers as disjoint ranges in order, those that touch joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range>);

impl Range {
    /// From `first` to `last`, both inside; `None` when that holds no number.
    pub fn new(first: i64, last: i64) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// How many numbers it holds.
    pub fn count(self) -> u64 {
        self.last.abs_diff(self.first).saturating_add(1)
    }

    /// What both hold.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }
}

impl FromIterator<Range> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.first <= last.last.saturating_add(1) => {
                    last.last = last.last.max(range.last);
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }
}

impl Ranges {
    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        self.0.iter().copied()
    }

    /// How many numbers they hold.
    pub fn count(&self) -> u64 {
        self.iter().map(Range::count).sum()
    }

    /// What the set and the range both hold.
    pub fn within(&self, bounds: Range) -> Self {
        self.iter()
            .filter_map(|range| range.intersection(bounds))
            .collect()
    }

    /// What the set holds and `other` does not.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut others = other.iter().peekable();
        for mut range in self.iter() {
            let mut whole = true;
            while let Some(taken) = others.peek().copied() {
                if taken.first > range.last {
                    break;
                }
                if taken.last >= range.first {
                    left.extend(Range::new(range.first, taken.first - 1));
                    let next = taken.last.checked_add(1);
                    match next.and_then(|next| Range::new(next, range.last)) {
                        Some(rest) => range = rest,
                        None => {
                            whole = false;
                            break;
                        }
                    }
                }
                others.next();
            }
            if whole {
                left.push(range);
            }
        }
        Self(left)
    }

    /// What both hold.
    pub fn intersection(&self, other: &Self) -> Self {
        self.without(&self.without(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(i64, i64)]) -> Ranges {
        ranges
            .iter()
            .map(|&(first, last)| Range { first, last })
            .collect()
    }

    #[test]
    fn ranges_that_touch_or_overlap_are_one() {
        assert_eq!(set(&[(5, 6), (1, 2), (3, 4)]), set(&[(1, 6)]));
        assert_eq!(set(&[(1, 9), (2, 3)]), set(&[(1, 9)]));
        assert_eq!(set(&[(1, 2), (4, 5)]).count(), 4);
    }

    #[test]
    fn sets_are_subtracted_and_intersected_by_number() {
        type Case<'a> = (&'a [(i64, i64)], &'a [(i64, i64)]);
        let cases: &[Case<'_>] = &[
            (&[(1, 10)], &[]),
            (&[(1, 10)], &[(1, 10)]),
            (&[(1, 10)], &[(3, 4), (7, 7)]),
            (&[(1, 3), (5, 8)], &[(2, 6)]),
            (&[(1, 3), (5, 8), (12, 12)], &[(0, 1), (8, 20)]),
            (&[(4, 6)], &[(1, 3), (7, 9)]),
            (&[(1, 2), (4, 5), (7, 8)], &[(1, 8)]),
            (&[(i64::MAX - 1, i64::MAX)], &[(i64::MAX, i64::MAX)]),
        ];
        for (left, right) in cases {
            let (left, right) = (set(left), set(right));
            let numbers = |set: &Ranges| -> Vec<i64> {
                set.iter()
                    .flat_map(|range| range.first..=range.last)
                    .collect()
            };
            let (mut without, mut both) = (numbers(&left), numbers(&left));
            without.retain(|n| !numbers(&right).contains(n));
            both.retain(|n| numbers(&right).contains(n));
            assert_eq!(
                numbers(&left.without(&right)),
                without,
                "{left:?} {right:?}"
            );
            assert_eq!(
                numbers(&left.intersection(&right)),
                both,
                "{left:?} {right:?}"
            );
        }
    }
}
