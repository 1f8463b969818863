//! What one node lacks, decided without a database.

use time::{Duration, OffsetDateTime};

const HOUR_SECONDS: i64 = 3600;

/// A node as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) first_seen: OffsetDateTime,
    pub(super) last_seen: OffsetDateTime,
    pub(super) communications: i64,
}

/// The communications that are there, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) first_seen: OffsetDateTime,
    pub(super) last_seen: OffsetDateTime,
    pub(super) count: i64,
}

/// A communication to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Communication {
    pub(super) bucket: OffsetDateTime,
    pub(super) first_seen: OffsetDateTime,
    pub(super) last_seen: OffsetDateTime,
    pub(super) count: i64,
}

/// A node as it should be, and the communications that it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mended {
    pub(super) node: Node,
    pub(super) added: Vec<Communication>,
}

/// Makes node and communications fit together, when communications are kept since `since`.
///
/// Where both know something, both are believed: the node was seen at the first and at the last time
/// that either says, and as often as the larger number. Sightings whose hour nobody knows any more are
/// put into the hour of the last one. Of a node that was seen first before `since` nobody knows how
/// many of its sightings came after: one, that at the last time, is written, no more.
pub(super) fn mend(node: Node, found: Option<Sum>, since: OffsetDateTime) -> Mended {
    let mut mended = node;
    let mut added = Vec::new();
    let mut count = 0;
    if let Some(found) = found {
        count = found.count;
        mended.first_seen = node.first_seen.min(found.first_seen);
        mended.last_seen = node.last_seen.max(found.last_seen);
    }
    let is_whole = mended.first_seen >= since;
    let lacks_first = is_whole && found.is_none_or(|found| found.first_seen > mended.first_seen);
    let lacks_last = found.is_none_or(|found| found.last_seen < mended.last_seen);
    if lacks_last {
        add(&mut added, mended.last_seen, 1);
        count += 1;
    }
    // Once: a node that was seen a single time was seen first and last at the same.
    if lacks_first && !(lacks_last && mended.first_seen == mended.last_seen) {
        add(&mut added, mended.first_seen, 1);
        count += 1;
    }
    if is_whole && count < mended.communications {
        add(&mut added, mended.last_seen, mended.communications - count);
        count = mended.communications;
    }
    mended.communications = mended.communications.max(count);
    Mended {
        node: mended,
        added,
    }
}

/// Adds sightings at a time to the communication of its hour.
fn add(added: &mut Vec<Communication>, at: OffsetDateTime, count: i64) {
    let bucket = hour_of(at);
    match added.iter_mut().find(|of| of.bucket == bucket) {
        Some(of) => {
            of.first_seen = of.first_seen.min(at);
            of.last_seen = of.last_seen.max(at);
            of.count += count;
        }
        None => added.push(Communication {
            bucket,
            first_seen: at,
            last_seen: at,
            count,
        }),
    }
}

fn hour_of(at: OffsetDateTime) -> OffsetDateTime {
    let into = at.unix_timestamp().rem_euclid(HOUR_SECONDS);
    at - Duration::seconds(into) - Duration::nanoseconds(i64::from(at.nanosecond()))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const SINCE: OffsetDateTime = datetime!(2026-11-01 0:00 UTC);
    const EARLY: OffsetDateTime = datetime!(2026-11-10 8:20:30.5 UTC);
    const LATE: OffsetDateTime = datetime!(2026-11-12 9:40 UTC);

    fn node(first_seen: OffsetDateTime, last_seen: OffsetDateTime, communications: i64) -> Node {
        Node {
            first_seen,
            last_seen,
            communications,
        }
    }

    fn sum(first_seen: OffsetDateTime, last_seen: OffsetDateTime, count: i64) -> Option<Sum> {
        Some(Sum {
            first_seen,
            last_seen,
            count,
        })
    }

    /// The communications that were there and those that were added fit to the node.
    fn assert_fits(mended: &Mended, found: Option<Sum>) {
        let added = mended.added.iter();
        let count: i64 = added.clone().map(|of| of.count).sum();
        let firsts = added.clone().map(|of| of.first_seen);
        let lasts = added.clone().map(|of| of.last_seen);
        let first = firsts.chain(found.map(|of| of.first_seen)).min().unwrap();
        let last = lasts.chain(found.map(|of| of.last_seen)).max().unwrap();
        assert_eq!(last, mended.node.last_seen, "{mended:?}");
        let total = count + found.map_or(0, |of| of.count);
        if mended.node.first_seen >= SINCE {
            assert_eq!(first, mended.node.first_seen, "{mended:?}");
            assert_eq!(total, mended.node.communications, "{mended:?}");
        } else {
            assert!(total <= mended.node.communications, "{mended:?}");
        }
        for of in added {
            assert!(
                of.bucket <= of.first_seen && of.first_seen <= of.last_seen,
                "{of:?}"
            );
            assert!(
                of.last_seen < of.bucket + Duration::HOUR && of.count > 0,
                "{of:?}"
            );
        }
    }

    #[test]
    fn a_node_without_communications_gets_what_its_row_says() {
        let hour =
            |at: OffsetDateTime| at.replace_time(time::Time::from_hms(at.hour(), 0, 0).unwrap());
        for (case, of, rows) in [
            ("once", node(LATE, LATE, 1), vec![(LATE, 1)]),
            ("often within an hour", node(LATE, LATE, 7), vec![(LATE, 7)]),
            (
                "over days",
                node(EARLY, LATE, 7),
                vec![(LATE, 6), (EARLY, 1)],
            ),
            (
                "a counter that is too small for two times",
                node(EARLY, LATE, 1),
                vec![(LATE, 1), (EARLY, 1)],
            ),
            ("a counter of nothing", node(LATE, LATE, 0), vec![(LATE, 1)]),
            (
                "from before retention",
                node(SINCE - Duration::SECOND, LATE, 9),
                vec![(LATE, 1)],
            ),
        ] {
            let mended = mend(of, None, SINCE);
            let found: Vec<_> = mended
                .added
                .iter()
                .map(|of| (of.bucket, of.count))
                .collect();
            let expected: Vec<_> = rows.iter().map(|(at, count)| (hour(*at), *count)).collect();
            assert_eq!(found, expected, "{case}");
            assert_fits(&mended, None);
        }
    }

    #[test]
    fn counters_and_times_follow_whoever_knows_more() {
        for (of, found, counter) in [
            // Part of the communications lacks.
            (node(EARLY, LATE, 9), sum(EARLY, LATE, 4), 9),
            // The counter is too small.
            (node(EARLY, LATE, 3), sum(EARLY, LATE, 4), 4),
            // The last sighting lacks, and with it more than the counter knows.
            (node(EARLY, LATE, 4), sum(EARLY, EARLY, 4), 5),
            // The first one lacks.
            (node(EARLY, LATE, 9), sum(LATE, LATE, 4), 9),
            // The node's times are too narrow.
            (node(LATE, LATE, 2), sum(EARLY, LATE, 2), 2),
            (node(EARLY, EARLY, 2), sum(EARLY, LATE, 2), 2),
            (
                node(SINCE - Duration::DAY, EARLY, 2),
                sum(EARLY, LATE, 5),
                5,
            ),
            (
                node(SINCE - Duration::DAY, LATE, 20),
                sum(EARLY, EARLY, 5),
                20,
            ),
        ] {
            let mended = mend(of, found, SINCE);
            assert_fits(&mended, found);
            assert_eq!(mended.node.communications, counter, "{of:?} {found:?}");
        }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let of = node(EARLY, LATE, 5);
        let mended = mend(of, sum(EARLY, LATE, 5), SINCE);
        assert_eq!((mended.node, mended.added), (of, Vec::new()));
        let of = node(SINCE - Duration::DAY, LATE, 50);
        assert_eq!(mend(of, sum(EARLY, LATE, 5), SINCE).added, []);
    }

    #[test]
    fn mending_twice_changes_nothing_more() {
        for of in [
            node(EARLY, LATE, 7),
            node(EARLY, LATE, 1),
            node(LATE, LATE, 3),
        ] {
            let mended = mend(of, None, SINCE);
            let added = &mended.added;
            let now = Sum {
                first_seen: added.iter().map(|of| of.first_seen).min().unwrap(),
                last_seen: added.iter().map(|of| of.last_seen).max().unwrap(),
                count: added.iter().map(|of| of.count).sum(),
            };
            let again = mend(mended.node, Some(now), SINCE);
            assert_eq!((again.node, again.added), (mended.node, Vec::new()));
        }
    }
}
