//! Batches that wait for a writer: taken from one agent after the other, so that an agent with a
//! year of backlog gets its turn and no more while others wait.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::agent_id::AgentId;

/// What an agent may hand over in one turn beyond its first batch. The rows of one agent lie side by
/// side in every index, and what is told once per agent and group is told less often: with one batch a
/// turn a group would hold a little of everybody.
const TURN: Size = Size {
    rows: 64,
    bytes: 64 << 10,
};

/// When a group is complete.
#[derive(Clone, Copy, Debug)]
pub struct Flush {
    /// How long a batch may wait for others to join it; zero: not at all.
    pub interval: Duration,
    /// Rows of a group, about.
    pub rows: usize,
    /// Octets of its messages, about; its rows take about ten times as many.
    pub bytes: usize,
}

/// What batches weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            bytes: self.bytes + other.bytes,
        }
    }

    fn is_within(self, rows: usize, bytes: usize) -> bool {
        self.rows <= rows && self.bytes <= bytes
    }
}

/// Why a group was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Rows,
    Bytes,
    Time,
}

/// Whether there is a group to take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready {
    Now(Cause),
    At(Instant),
    Empty,
}

/// Items in turns.
#[derive(Debug)]
pub(super) struct Fair<T> {
    /// Agents that have items, the next one first.
    turns: VecDeque<AgentId>,
    waiting: HashMap<AgentId, Line<T>>,
    size: Size,
    count: usize,
    /// Since when something has been waiting.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Line<T> {
    /// Where the agent's rows go; the items of a group have it in common.
    shard: i64,
    items: VecDeque<(Size, T)>,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self {
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            size: Size::default(),
            count: 0,
            since: None,
        }
    }
}

impl<T> Fair<T> {
    /// Puts an item at the end of its agent's line.
    pub(super) fn push(&mut self, agent: AgentId, shard: i64, size: Size, item: T, now: Instant) {
        let line = self.waiting.entry(agent).or_insert_with(|| {
            self.turns.push_back(agent);
            Line {
                shard,
                items: VecDeque::new(),
            }
        });
        line.items.push_back((size, item));
        self.size.rows += size.rows;
        self.size.bytes += size.bytes;
        self.count += 1;
        self.since.get_or_insert(now);
    }

    /// Items that wait, and what they weigh.
    #[cfg(test)]
    fn load(&self) -> (usize, Size) {
        (self.count, self.size)
    }

    /// Whether a writer that is free is to take a group now.
    pub(super) fn ready(&self, flush: &Flush, now: Instant) -> Ready {
        let Some(since) = self.since else {
            return Ready::Empty;
        };
        let due = since + flush.interval;
        if self.size.rows >= flush.rows {
            Ready::Now(Cause::Rows)
        } else if self.size.bytes >= flush.bytes {
            Ready::Now(Cause::Bytes)
        } else if due <= now {
            Ready::Now(Cause::Time)
        } else {
            Ready::At(due)
        }
    }

    /// Takes a group: a turn of each agent and so on, until the group is complete. It has at least one
    /// item, if there is any, and all of one shard.
    pub(super) fn take(&mut self, flush: &Flush) -> Vec<T> {
        let mut group = Vec::new();
        let mut size = Size::default();
        let mut shard = None;
        let mut passed_over = VecDeque::new();
        while let Some(agent) = self.turns.pop_front() {
            let Some(line) = self.waiting.get_mut(&agent) else {
                continue;
            };
            if *shard.get_or_insert(line.shard) != line.shard {
                passed_over.push_back(agent);
                continue;
            }
            let mut turn = Size::default();
            let is_complete = loop {
                let Some((next, _)) = line.items.front() else {
                    break false;
                };
                if !group.is_empty() && !size.plus(*next).is_within(flush.rows, flush.bytes) {
                    break true;
                }
                let is_first = turn == Size::default();
                if !is_first && !turn.plus(*next).is_within(TURN.rows, TURN.bytes) {
                    break false;
                }
                let Some((next, item)) = line.items.pop_front() else {
                    break false;
                };
                turn = turn.plus(next);
                size = size.plus(next);
                group.push(item);
            };
            if line.items.is_empty() {
                self.waiting.remove(&agent);
            } else if turn == Size::default() {
                // Its turn is still to come.
                self.turns.push_front(agent);
            } else {
                self.turns.push_back(agent);
            }
            if is_complete {
                break;
            }
        }
        while let Some(agent) = passed_over.pop_back() {
            self.turns.push_front(agent);
        }
        self.size.rows -= size.rows;
        self.size.bytes -= size.bytes;
        self.count -= group.len();
        if self.count == 0 {
            self.since = None;
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: Flush = Flush {
        interval: Duration::from_millis(10),
        rows: 100,
        bytes: 1000,
    };
    const SMALL: Size = Size { rows: 1, bytes: 10 };

    fn agent(number: i64) -> AgentId {
        AgentId::from_bigint(number)
    }

    /// Items named after their agent and number.
    fn queue(counts: &[(i64, usize)]) -> Fair<(i64, usize)> {
        let mut queue = Fair::default();
        for (number, count) in counts {
            for n in 0..*count {
                queue.push(agent(*number), 0, SMALL, (*number, n), Instant::now());
            }
        }
        queue
    }

    #[test]
    fn ten_thousand_batches_of_one_agent_do_not_delay_another_beyond_the_next_group() {
        let mut queue = queue(&[(1, 10_000)]);
        assert_eq!(queue.take(&FLUSH).len(), 100);
        queue.push(agent(2), 0, SMALL, (2, 0), Instant::now());
        let group = queue.take(&FLUSH);
        let at = group.iter().position(|item| *item == (2, 0));
        assert_eq!(at, Some(TURN.rows), "behind one turn");
    }

    #[test]
    fn agents_share_a_group_turn_by_turn_and_each_keeps_its_order() {
        let half = TURN.rows / 2;
        let mut queue = Fair::default();
        for (number, count) in [(1, 5), (2, 1), (3, 3)] {
            let size = Size {
                rows: half,
                bytes: 1,
            };
            for n in 0..count {
                queue.push(agent(number), 0, size, (number, n), Instant::now());
            }
        }
        let all = [
            [(1, 0), (1, 1), (2, 0)].as_slice(),
            &[(3, 0), (3, 1), (1, 2), (1, 3), (3, 2), (1, 4)],
        ];
        let flush = Flush {
            rows: 10 * half,
            ..FLUSH
        };
        assert_eq!(queue.take(&flush), all.concat());
        assert_eq!(queue.load(), (0, Size::default()));
        assert!(queue.take(&FLUSH).is_empty());
    }

    #[test]
    fn a_turn_that_fills_a_group_is_over() {
        let mut queue = queue(&[(1, 200), (2, 1)]);
        let flush = Flush { rows: 10, ..FLUSH };
        let group = queue.take(&flush);
        assert_eq!((group[0], group.len()), ((1, 0), 10));
        assert_eq!(queue.take(&flush)[..2], [(2, 0), (1, 10)]);
    }

    #[test]
    fn a_group_ends_before_its_limit_and_holds_at_least_one() {
        let mut queue = Fair::default();
        for (n, bytes) in [(0, 5000), (1, 600), (2, 600)] {
            queue.push(agent(1), 0, Size { rows: 1, bytes }, n, Instant::now());
        }
        assert_eq!(queue.take(&FLUSH), [0]);
        assert_eq!(queue.take(&FLUSH), [1]);
        assert_eq!(queue.take(&FLUSH), [2]);
    }

    #[test]
    fn a_group_is_due_when_it_is_full_or_has_waited() {
        let now = Instant::now();
        let mut queue = Fair::default();
        assert_eq!(queue.ready(&FLUSH, now), Ready::Empty);
        queue.push(agent(1), 0, SMALL, 1, now);
        let due = now + FLUSH.interval;
        assert_eq!(queue.ready(&FLUSH, now), Ready::At(due));
        assert_eq!(queue.ready(&FLUSH, due), Ready::Now(Cause::Time));
        let large = Size {
            rows: 1,
            bytes: 990,
        };
        queue.push(agent(2), 0, large, 2, now);
        assert_eq!(queue.ready(&FLUSH, now), Ready::Now(Cause::Bytes));
        let many = Size { rows: 98, bytes: 1 };
        queue.push(agent(3), 0, many, 3, now);
        assert_eq!(queue.ready(&FLUSH, now), Ready::Now(Cause::Rows));
        let at_once = Flush {
            interval: Duration::ZERO,
            ..FLUSH
        };
        queue.take(&FLUSH);
        queue.take(&FLUSH);
        queue.push(agent(1), 0, SMALL, 4, now);
        assert_eq!(queue.ready(&at_once, now), Ready::Now(Cause::Time));
    }

    #[test]
    fn a_group_holds_agents_of_one_shard_and_the_others_keep_their_turn() {
        let mut queue = Fair::default();
        for (number, shard) in [(1, 7), (2, 8), (3, 7), (4, 8)] {
            queue.push(agent(number), shard, SMALL, number, Instant::now());
            queue.push(agent(number), shard, SMALL, number + 10, Instant::now());
        }
        assert_eq!(queue.take(&FLUSH), [1, 11, 3, 13]);
        assert_eq!(queue.take(&FLUSH), [2, 12, 4, 14]);
    }
}
