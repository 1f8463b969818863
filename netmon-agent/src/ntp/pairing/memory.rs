//! The requests that are remembered, in bounded tables.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use netmon_common::ntp::NtpTimestamp;

use super::Limits;
use crate::ntp::{Packet, Scope};

/// A request is forgotten this long after it was sent.
const LIFE: Duration = Duration::from_secs(64);
/// Most requests remembered between one client port and one server port.
const MAX_PER_PATH: usize = 8;
/// Most requests accepted from one path within [`LIFE`]: four a second for a minute.
const MAX_ACCEPTED_PER_PATH: usize = 256;

/// One client's port, one server's port, and where they were seen talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Path {
    pub(super) scope: Scope,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

#[derive(Debug)]
pub(super) struct Request {
    id: u64,
    pub(super) packet: Packet,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Waiting { superseded: bool },
    Answered { response: Box<Packet> },
    TimedOut,
}

#[derive(Debug, Default)]
pub(super) struct Conversation {
    requests: VecDeque<Request>,
    /// Entries of `Memory::removals` that name this path.
    accepted: usize,
}

/// Remembers requests by path, and when each has waited too long and is to be forgotten.
#[derive(Debug)]
pub(super) struct Memory {
    limits: Limits,
    paths: HashMap<Path, Conversation>,
    remembered: usize,
    next_id: u64,
    // In the order of their times, since both waits are the same for every request.
    timeouts: VecDeque<(u64, Path, u64)>,
    removals: VecDeque<(u64, Path, u64)>,
}

impl Request {
    fn waits(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }
}

impl Conversation {
    /// The newest request.
    pub(super) fn newest(&self) -> Option<&Request> {
        self.requests.back()
    }

    /// The request that a response with this origin timestamp answers: the newest that still waits,
    /// else the newest of all. Zero is not a timestamp and answers nothing.
    pub(super) fn named_by(&mut self, origin: NtpTimestamp) -> Option<&mut Request> {
        if origin.is_zero() {
            return None;
        }
        let fits = |request: &Request| request.packet.header.transmit_timestamp == origin;
        let index = self
            .requests
            .iter()
            .rposition(|request| fits(request) && request.waits())
            .or_else(|| self.requests.iter().rposition(fits))?;
        self.requests.get_mut(index)
    }

    fn waits(&self, id: u64) -> bool {
        self.requests
            .iter()
            .any(|request| request.id == id && request.waits())
    }

    /// One path may fill its share with answered requests only.
    fn is_full(&self) -> bool {
        let answered = |oldest: &Request| matches!(oldest.state, State::Answered { .. });
        self.accepted >= MAX_ACCEPTED_PER_PATH && !self.requests.front().is_some_and(answered)
    }
}

impl Memory {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            paths: HashMap::new(),
            remembered: 0,
            next_id: 0,
            timeouts: VecDeque::new(),
            removals: VecDeque::new(),
        }
    }

    /// How many requests are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.remembered
    }

    pub(super) fn conversation(&self, path: &Path) -> Option<&Conversation> {
        self.paths.get(path)
    }

    pub(super) fn conversation_mut(&mut self, path: &Path) -> Option<&mut Conversation> {
        self.paths.get_mut(path)
    }

    /// Whether one more request can be remembered: those that wait for nothing any more make room,
    /// the oldest first.
    pub(super) fn make_room(&mut self, path: &Path) -> bool {
        let waiting = self.timeouts.len();
        if waiting >= self.limits.max_pending
            || self.paths.get(path).is_some_and(Conversation::is_full)
        {
            return false;
        }
        while self.removals.len() >= self.limits.max_pending {
            let Some((_, oldest, id)) = self.removals.front() else {
                return false;
            };
            if self
                .paths
                .get(oldest)
                .is_some_and(|conversation| conversation.waits(*id))
            {
                return false;
            }
            self.forget_oldest();
        }
        true
    }

    /// Remembers a request for which there is room; earlier ones of its path that still wait are
    /// superseded. Returns whether one of them had to go.
    pub(super) fn insert(&mut self, path: Path, packet: Packet) -> bool {
        let id = self.next_id;
        self.next_id += 1;
        let sent_at_ns = packet.captured_at_ns;
        let life = LIFE.max(2 * self.limits.timeout);
        self.timeouts
            .push_back((after(sent_at_ns, self.limits.timeout), path, id));
        self.removals.push_back((after(sent_at_ns, life), path, id));
        let conversation = self.paths.entry(path).or_default();
        conversation.accepted += 1;
        let requests = &mut conversation.requests;
        for earlier in requests.iter_mut() {
            if let State::Waiting { superseded } = &mut earlier.state {
                *superseded = true;
            }
        }
        let evicted = if requests.len() >= MAX_PER_PATH {
            requests.pop_front()
        } else {
            None
        };
        requests.push_back(Request {
            id,
            packet,
            state: State::Waiting { superseded: false },
        });
        self.remembered += 1 - usize::from(evicted.is_some());
        evicted.is_some_and(|evicted| evicted.waits())
    }

    /// The next request whose time is over by `now_ns` without an answer.
    pub(super) fn next_timed_out(&mut self, now_ns: u64) -> Option<(Path, Packet)> {
        while self
            .timeouts
            .front()
            .is_some_and(|(deadline_ns, ..)| *deadline_ns <= now_ns)
        {
            let (_, path, id) = self.timeouts.pop_front()?;
            let Some(conversation) = self.paths.get_mut(&path) else {
                continue;
            };
            let mut requests = conversation.requests.iter_mut();
            if let Some(request) = requests.find(|request| request.id == id && request.waits()) {
                request.state = State::TimedOut;
                return Some((path, request.packet.clone()));
            }
        }
        None
    }

    /// Forgets what is old by `now_ns`.
    pub(super) fn forget(&mut self, now_ns: u64) {
        while self
            .removals
            .front()
            .is_some_and(|(deadline_ns, ..)| *deadline_ns <= now_ns)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, path, id)) = self.removals.pop_front() else {
            return;
        };
        let Some(conversation) = self.paths.get_mut(&path) else {
            return;
        };
        let before = conversation.requests.len();
        conversation.requests.retain(|request| request.id != id);
        self.remembered -= before - conversation.requests.len();
        conversation.accepted -= 1;
        if conversation.accepted == 0 {
            self.paths.remove(&path);
        }
    }

    /// Forgets everything; returns what still waited.
    pub(super) fn drain(&mut self) -> Vec<(Path, Packet)> {
        self.timeouts.clear();
        self.removals.clear();
        self.remembered = 0;
        let waiting = |(path, conversation): (Path, Conversation)| {
            let requests = conversation.requests.into_iter().filter(Request::waits);
            requests.map(move |request| (path, request.packet))
        };
        self.paths.drain().flat_map(waiting).collect()
    }

    /// Entries of the longest table, for tests of its bound.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.removals.len().max(self.timeouts.len())
    }

    /// Paths that are known, for tests of their bound.
    #[cfg(test)]
    pub(super) fn paths(&self) -> usize {
        self.paths.len()
    }
}

/// A moment and a wait, both in ns.
pub(super) fn after(at_ns: u64, wait: Duration) -> u64 {
    at_ns.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
}
