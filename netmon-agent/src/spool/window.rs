//! Which batches of a connection are on their way, and whether another may follow.

use std::{collections::HashMap, time::Duration};

use netmon_common::wire::Kind;

use super::segment::Size;

/// Most batches on their way at a time: enough to fill a long path, and little to send again.
pub const MAX_IN_FLIGHT: usize = 32;

/// Of these, no sort takes more while another has something to send: neither a backlog nor what is
/// new starves the other, and bandwidth waits for no other kind.
const SHARE: usize = 24;

/// A batch whose successors have their verdicts for so long was lost in the server.
const PASSED_OVER: Duration = Duration::from_secs(60);

/// A server that lives and says nothing at all for so long is not worth waiting for: another one
/// may do better. A database that is away for a while is no reason.
const SILENCE: Duration = Duration::from_secs(600);

/// What names a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchKey {
    /// Its stream's kind.
    pub kind: Kind,
    /// Its stream's epoch.
    pub epoch: u64,
    /// Its number in the stream.
    pub sequence: u64,
}

/// Where a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Sealed while the connection stood.
    Fresh,
    /// Older.
    Backlog,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    sort: Sort,
    size: Size,
    order: u64,
    sent_ns: u64,
    passed_over_ns: Option<u64>,
}

/// The batches of one connection that have no verdict yet.
#[derive(Debug, Default)]
pub struct Window {
    flights: HashMap<BatchKey, Flight>,
    sent: u64,
    heard_ns: u64,
}

impl Window {
    /// Nothing is on its way.
    pub fn new(now_ns: u64) -> Self {
        Self {
            heard_ns: now_ns,
            ..Self::default()
        }
    }

    /// Whether a batch may be sent; `contended` when batches of the other sort wait as well.
    pub fn has_room(&self, sort: Sort, kind: Kind, contended: bool) -> bool {
        let count = |is: &dyn Fn(&BatchKey, &Flight) -> bool| {
            self.flights.iter().filter(|(key, f)| is(key, f)).count()
        };
        let share_is_free = |is: &dyn Fn(&BatchKey, &Flight) -> bool| count(is) < SHARE;
        self.flights.len() < MAX_IN_FLIGHT
            && (kind == Kind::Bandwidth || share_is_free(&|key, _| key.kind != Kind::Bandwidth))
            && match sort {
                Sort::Backlog => share_is_free(&|_, flight| flight.sort == Sort::Backlog),
                Sort::Fresh => {
                    let urgent = kind == Kind::Bandwidth;
                    !contended
                        || share_is_free(&|key, flight| {
                            flight.sort == Sort::Fresh && (!urgent || key.kind == kind)
                        })
                }
            }
    }

    /// A batch was sent.
    pub fn sent(&mut self, now_ns: u64, key: BatchKey, sort: Sort, size: Size) {
        if self.flights.is_empty() {
            self.heard_ns = now_ns;
        }
        self.sent += 1;
        self.flights.insert(
            key,
            Flight {
                sort,
                size,
                order: self.sent,
                sent_ns: now_ns,
                passed_over_ns: None,
            },
        );
    }

    /// The server has spoken on a batch; what it was, if it was on its way.
    pub fn answered(&mut self, now_ns: u64, key: BatchKey) -> Option<Size> {
        self.heard_ns = now_ns;
        let flight = self.flights.remove(&key)?;
        for (other, waiting) in &mut self.flights {
            if other.kind == key.kind && waiting.order < flight.order {
                waiting.passed_over_ns.get_or_insert(now_ns);
            }
        }
        Some(flight.size)
    }

    /// What a batch is, if it is on its way.
    pub fn size_of(&self, batch: BatchKey) -> Option<Size> {
        self.flights.get(&batch).map(|flight| flight.size)
    }

    /// Drops every batch that is settled by other means.
    pub fn retain(&mut self, waits: impl Fn(BatchKey) -> bool) {
        self.flights.retain(|key, _| waits(*key));
    }

    /// Why the connection is of no more use, if it is not.
    pub fn fault(&self, now_ns: u64) -> Option<&'static str> {
        let for_longer = |since_ns: u64, span: Duration| {
            u128::from(now_ns.saturating_sub(since_ns)) > span.as_nanos()
        };
        let lost = |flight: &Flight| {
            flight
                .passed_over_ns
                .is_some_and(|since_ns| for_longer(since_ns, PASSED_OVER))
        };
        let oldest_ns = self.flights.values().map(|flight| flight.sent_ns).min()?;
        if self.flights.values().any(lost) {
            Some("a batch has had no answer for a minute while later ones had theirs")
        } else if for_longer(oldest_ns.max(self.heard_ns), SILENCE) {
            Some("no batch has had an answer for ten minutes")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn key(kind: Kind, sequence: u64) -> BatchKey {
        BatchKey {
            kind,
            epoch: 1,
            sequence,
        }
    }

    fn filled(sort: Sort, kind: Kind, contended: bool) -> (Window, u64) {
        let mut window = Window::default();
        let mut sent = 0;
        while window.has_room(sort, kind, contended) {
            sent += 1;
            window.sent(0, key(kind, sent), sort, Size::default());
        }
        (window, sent)
    }

    #[test]
    fn a_backlog_leaves_room_for_what_is_new() {
        let (window, sent) = filled(Sort::Backlog, Kind::Bandwidth, false);
        assert_eq!(sent, 24);
        assert!(window.has_room(Sort::Fresh, Kind::Exchanges, true));
    }

    #[test]
    fn what_is_new_leaves_room_for_a_backlog_if_there_is_one() {
        let (window, sent) = filled(Sort::Fresh, Kind::Bandwidth, true);
        assert_eq!(sent, 24);
        assert!(window.has_room(Sort::Backlog, Kind::Exchanges, true));
        assert_eq!(filled(Sort::Fresh, Kind::Bandwidth, false).1, 32);
    }

    #[test]
    fn bandwidth_waits_for_no_other_kind() {
        let (window, sent) = filled(Sort::Fresh, Kind::Exchanges, false);
        assert_eq!(sent, 24);
        assert!(!window.has_room(Sort::Backlog, Kind::Flows, true));
        assert!(window.has_room(Sort::Fresh, Kind::Bandwidth, true));
    }

    #[test]
    fn a_database_that_is_away_does_not_end_a_connection_for_a_while() {
        let mut window = Window::new(0);
        window.sent(0, key(Kind::Bandwidth, 1), Sort::Fresh, Size::default());
        assert_eq!(window.fault(599 * SECOND_NS), None);
        assert!(window.fault(601 * SECOND_NS).is_some());
    }

    #[test]
    fn a_batch_that_was_passed_over_for_a_minute_ends_the_connection() {
        for (later, faulty) in [(Kind::Bandwidth, true), (Kind::Exchanges, false)] {
            let mut window = Window::new(0);
            window.sent(0, key(Kind::Bandwidth, 1), Sort::Fresh, Size::default());
            window.sent(0, key(later, 2), Sort::Fresh, Size::default());
            window.answered(SECOND_NS, key(later, 2));
            assert_eq!(window.fault(60 * SECOND_NS), None);
            assert_eq!(window.fault(62 * SECOND_NS).is_some(), faulty, "{later:?}");
        }
    }
}
