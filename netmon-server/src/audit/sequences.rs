//! What became of every batch of a stream: ranges in, an account out.

use super::ranges::{Range, Ranges};

/// What the database knows of one stream, that is a kind of batch of one run of an agent.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Every batch up to this one has its verdict; its ledger row may be gone.
    pub floor: i64,
    /// The agent holds none up to this one any more, as it says.
    pub settled_through: i64,
    /// The highest number given out, as the agent says.
    pub sealed_through: i64,
    /// The run is over and the agent does not list the stream any more: nothing more will come.
    pub over: bool,
    /// Ledger rows of stored batches.
    pub stored: Ranges,
    /// Ledger rows of refused batches.
    pub refused: Ranges,
    /// Batches that will never come, as the agent says.
    pub omitted: Ranges,
}

/// Every batch above the floor, by what became of it. The ranges of one account never overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Stored.
    pub stored: Ranges,
    /// Refused once and for all, kept in `ingest_refusals`.
    pub refused: Ranges,
    /// Given up by the agent, which said so.
    pub omitted: Ranges,
    /// Not here yet: the agent still has them.
    pub outstanding: Ranges,
    /// Not here, and the agent has them no more: the books do not balance.
    pub lost: Ranges,
}

impl Stream {
    /// The highest sequence number anybody knows of.
    pub fn highest(&self) -> i64 {
        let ends = [&self.stored, &self.refused, &self.omitted];
        ends.into_iter()
            .filter_map(|ranges| ranges.iter().last())
            .map(|range| range.last)
            .chain([self.floor, self.settled_through, self.sealed_through])
            .max()
            .unwrap_or_default()
    }

    /// Gives every batch from the floor to the highest known number its place. A batch that is here
    /// is here, whatever the agent says of it.
    pub fn account(&self) -> Account {
        let Some(known) = Range::new(self.floor.saturating_add(1), self.highest()) else {
            return Account::default();
        };
        let stored = self.stored.within(known);
        let refused = self.refused.within(known).without(&stored);
        let missing = Ranges::from_iter([known])
            .without(&stored)
            .without(&refused);
        let omitted = missing.intersection(&self.omitted);
        let missing = missing.without(&self.omitted);
        let settled = match self.over {
            true => known.last,
            false => self.settled_through,
        };
        let lost: Ranges = Range::new(known.first, settled)
            .map(|settled| missing.within(settled))
            .unwrap_or_default();
        Account {
            outstanding: missing.without(&lost),
            stored,
            refused,
            omitted,
            lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(i64, i64)]) -> Ranges {
        let range = |&(first, last): &(i64, i64)| Range { first, last };
        ranges.iter().map(range).collect()
    }

    #[test]
    fn every_batch_has_one_place() {
        struct Case<'a> {
            name: &'a str,
            stream: Stream,
            omitted: &'a [(i64, i64)],
            outstanding: &'a [(i64, i64)],
            lost: &'a [(i64, i64)],
        }
        let base = || Stream {
            stored: set(&[(1, 3), (6, 8)]),
            settled_through: 3,
            sealed_through: 8,
            ..Stream::default()
        };
        let case = |name, stream| Case {
            name,
            stream,
            omitted: &[],
            outstanding: &[],
            lost: &[],
        };
        let cases = [
            case("nothing known", Stream::default()),
            Case {
                outstanding: &[(4, 5)],
                ..case("above what is settled", base())
            },
            Case {
                lost: &[(4, 5)],
                ..case(
                    "below what is settled",
                    Stream {
                        settled_through: 8,
                        ..base()
                    },
                )
            },
            Case {
                lost: &[(4, 4)],
                outstanding: &[(5, 5)],
                ..case(
                    "settled within the hole",
                    Stream {
                        settled_through: 4,
                        ..base()
                    },
                )
            },
            Case {
                lost: &[(4, 5)],
                ..case(
                    "the run is over",
                    Stream {
                        over: true,
                        ..base()
                    },
                )
            },
            Case {
                omitted: &[(4, 5)],
                ..case(
                    "given up",
                    Stream {
                        settled_through: 8,
                        omitted: set(&[(2, 5)]),
                        ..base()
                    },
                )
            },
            Case {
                omitted: &[(5, 5)],
                lost: &[(4, 4)],
                ..case(
                    "given up in part",
                    Stream {
                        settled_through: 8,
                        omitted: set(&[(5, 5)]),
                        ..base()
                    },
                )
            },
            case(
                "refused",
                Stream {
                    settled_through: 8,
                    refused: set(&[(4, 5)]),
                    ..base()
                },
            ),
            case(
                "below the floor",
                Stream {
                    floor: 8,
                    settled_through: 8,
                    ..base()
                },
            ),
            Case {
                lost: &[(9, 12)],
                ..case(
                    "given out, settled, never here",
                    Stream {
                        floor: 8,
                        settled_through: 12,
                        sealed_through: 12,
                        ..base()
                    },
                )
            },
            Case {
                outstanding: &[(4, 5), (9, 20)],
                ..case(
                    "given out and on its way",
                    Stream {
                        sealed_through: 20,
                        ..base()
                    },
                )
            },
            Case {
                omitted: &[(9, 30)],
                outstanding: &[(4, 5)],
                ..case(
                    "given up beyond all else",
                    Stream {
                        omitted: set(&[(9, 30)]),
                        ..base()
                    },
                )
            },
        ];
        for Case {
            name,
            stream,
            omitted,
            outstanding,
            lost,
        } in cases
        {
            let account = stream.account();
            assert_eq!(account.omitted, set(omitted), "{name}");
            assert_eq!(account.outstanding, set(outstanding), "{name}");
            assert_eq!(account.lost, set(lost), "{name}");
            let counted = [
                &account.stored,
                &account.refused,
                &account.omitted,
                &account.outstanding,
                &account.lost,
            ];
            let counted: u64 = counted.into_iter().map(Ranges::count).sum();
            assert_eq!(counted, (stream.highest() - stream.floor) as u64, "{name}");
        }
    }
}
