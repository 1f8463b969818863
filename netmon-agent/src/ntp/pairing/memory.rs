//! The requests that are remembered, in bounded tables.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use netmon_common::ntp::NtpTimestamp;

use super::{
    Limits, Path, after,
    conversation::{Conversation, Fit, Place, Request, State, answers},
    deadlines::Deadlines,
    prefix::Prefixes,
};
use crate::ntp::{Match, Packet, Remarks, Scope, Time};

/// A request is forgotten this long after it was sent, or twice its time-out if that is longer.
const LIFE: Duration = Duration::from_secs(64);
/// Most requests accepted from one path within [`LIFE`]: four a second for a minute.
const MAX_ACCEPTED_PER_PATH: usize = 256;

/// Why a request is not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Its network has too many that wait.
    Prefix,
    /// Its path has too many.
    Path,
}

/// A response's request at another path of its client.
pub(super) struct Elsewhere {
    pub(super) path: Path,
    pub(super) fit: Fit,
}

/// A client's port and what it wants to see again.
type Cookie = (SocketAddr, u32, [u16; 2], NtpTimestamp);

/// The newest request with a cookie, and how many there are.
#[derive(Debug)]
struct Bearer {
    path: Path,
    number: u64,
    count: u32,
}

/// When something is to be done with a request.
type Due = (u64, Path, u64);

/// Remembers requests by path, and when each has waited too long and is to be forgotten.
#[derive(Debug)]
pub(super) struct Memory {
    limits: Limits,
    paths: HashMap<Path, Conversation>,
    cookies: HashMap<Cookie, Bearer>,
    prefixes: Prefixes,
    remembered: usize,
    next_number: u64,
    timeouts: Deadlines,
    // In the order of the requests: one that is to be forgotten waits for those before it.
    removals: VecDeque<Due>,
}

impl Memory {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            paths: HashMap::new(),
            cookies: HashMap::new(),
            prefixes: Prefixes::new(limits.max_pending),
            remembered: 0,
            next_number: 0,
            timeouts: Deadlines::default(),
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

    /// The request that the origin timestamp names at another address of the server or another
    /// interface, if it is the only one of this client.
    pub(super) fn elsewhere(&self, path: &Path, response: &Packet<Time>) -> Option<Elsewhere> {
        let origin = response.content.header.origin_timestamp;
        let bearer = self.cookies.get(&cookie(path, origin))?;
        if bearer.count != 1 || origin.is_zero() {
            return None;
        }
        let conversation = self.paths.get(&bearer.path)?;
        let index = conversation.index_of(bearer.number)?;
        let fit = match answers(conversation.get(index)?, response) {
            Ok(Match::Basic) => Fit::Request(Place {
                index,
                how: Match::Basic,
            }),
            Ok(_) | Err(false) => return None,
            Err(true) => Fit::Forged,
        };
        Some(Elsewhere {
            path: bearer.path,
            fit,
        })
    }

    /// The request that waits on a path: the one with this transmit timestamp, at whatever
    /// interface, or the newest.
    pub(super) fn waiting(
        &self,
        path: &Path,
        transmit: Option<NtpTimestamp>,
    ) -> Option<(Path, u64)> {
        let here = self.paths.get(path);
        let Some(transmit) = transmit else {
            return Some((*path, here?.newest_waiting(|_| true)?));
        };
        let named = |request: &Request| request.packet.content.cookie() == transmit;
        if let Some(number) = here.and_then(|here| here.newest_waiting(named)) {
            return Some((*path, number));
        }
        let bearer = self.cookies.get(&cookie(path, transmit))?;
        let waits = self.paths.get(&bearer.path)?.waits(bearer.number);
        let same_server = bearer.path.server == path.server;
        (waits && same_server).then_some((bearer.path, bearer.number))
    }

    /// Makes room for one more request: the oldest goes, and is named if it still waited.
    pub(super) fn make_room(
        &mut self,
        path: &Path,
        mut lose: impl FnMut(Request),
    ) -> Result<(), Full> {
        let here = self.paths.get(path);
        if here.is_some_and(|here| here.accepted >= MAX_ACCEPTED_PER_PATH && !here.makes_room()) {
            return Err(Full::Path);
        }
        if self.prefixes.is_full(path.client.ip()) {
            return Err(Full::Prefix);
        }
        while self.removals.len() >= self.limits.max_pending {
            if let Some(lost) = self.forget_oldest() {
                lose(lost);
            }
        }
        Ok(())
    }

    /// Remembers a request for which there is room, and which waits for so long; earlier ones of its
    /// path that still wait are superseded. Returns its number, and the one that had to go although it
    /// waited.
    pub(super) fn insert(
        &mut self,
        path: Path,
        packet: Packet<Time>,
        remarks: Remarks,
        timeout: Duration,
    ) -> (u64, Option<Request>) {
        let number = self.next_number;
        self.next_number += 1;
        let sent_at_ns = packet.captured_at_ns;
        let life = LIFE.max(2 * timeout);
        self.timeouts.push(timeout, sent_at_ns, path, number);
        self.removals
            .push_back((after(sent_at_ns, life), path, number));
        let bearer = self.cookies.entry(cookie(&path, packet.content.cookie()));
        bearer
            .and_modify(|bearer| {
                (bearer.path, bearer.number) = (path, number);
                bearer.count += 1;
            })
            .or_insert(Bearer {
                path,
                number,
                count: 1,
            });
        self.prefixes.add(path.client.ip());
        self.remembered += 1;
        let conversation = self.paths.entry(path).or_default();
        conversation.accepted += 1;
        let evicted = conversation.push(Request {
            number,
            packet,
            remarks,
            state: State::Waiting { superseded: false },
        });
        let evicted = evicted.inspect(|evicted| self.forgotten(&path, evicted));
        (number, evicted.filter(Request::waits))
    }

    /// A request on a path got what it waited for.
    pub(super) fn no_longer_waits(&mut self, path: &Path) {
        self.prefixes.remove(path.client.ip());
    }

    /// The next request whose time is over by `now_ns` without an answer.
    pub(super) fn next_timed_out(&mut self, now_ns: u64) -> Option<(Packet<Time>, Remarks)> {
        while let Some((path, number)) = self.timeouts.next_due(now_ns) {
            let conversation = self.paths.get_mut(&path);
            let request = conversation.and_then(|conversation| conversation.numbered(number));
            if let Some(request) = request.filter(|request| request.waits()) {
                request.state = State::TimedOut;
                let found = (request.packet, request.remarks);
                self.prefixes.remove(path.client.ip());
                return Some(found);
            }
        }
        None
    }

    /// Forgets what is old by `now_ns`.
    pub(super) fn forget(&mut self, now_ns: u64) {
        while self.removals.front().is_some_and(|due| due.0 <= now_ns) {
            self.forget_oldest();
        }
    }

    /// Returns the request if it still waited.
    fn forget_oldest(&mut self) -> Option<Request> {
        let (_, path, number) = self.removals.pop_front()?;
        self.timeouts.forget(number);
        let conversation = self.paths.get_mut(&path)?;
        conversation.accepted -= 1;
        let removed = conversation.remove(number);
        if conversation.accepted == 0 {
            self.paths.remove(&path);
        }
        let removed = removed?;
        self.forgotten(&path, &removed);
        Some(removed).filter(Request::waits)
    }

    fn forgotten(&mut self, path: &Path, request: &Request) {
        self.remembered -= 1;
        if request.waits() {
            self.prefixes.remove(path.client.ip());
        }
        let cookie = cookie(path, request.packet.content.cookie());
        if let Some(bearer) = self.cookies.get_mut(&cookie) {
            bearer.count -= 1;
            if bearer.count == 0 {
                self.cookies.remove(&cookie);
            }
        }
    }

    /// Forgets what was asked on paths that do not stay; returns what still waited, the oldest first.
    pub(super) fn withdraw(
        &mut self,
        stays: impl Fn(&Path) -> bool,
    ) -> Vec<(Packet<Time>, Remarks)> {
        let goes = |path: &&Path| !stays(path);
        let paths: Vec<_> = self.paths.keys().filter(goes).copied().collect();
        let mut waiting = Vec::new();
        for path in paths {
            // The conversation itself goes with the last entry of a queue that names it.
            let requests = self.paths.get_mut(&path).map(Conversation::take_requests);
            for request in requests.into_iter().flatten() {
                self.forgotten(&path, &request);
                if request.waits() {
                    waiting.push(request);
                }
            }
        }
        waiting.sort_by_key(|request| request.number);
        let waiting = waiting.into_iter();
        waiting.map(|r| (r.packet, r.remarks)).collect()
    }

    /// Forgets everything; returns what still waited, the oldest first.
    pub(super) fn drain(&mut self) -> Vec<(Packet<Time>, Remarks)> {
        let paths = std::mem::take(&mut self.paths).into_values();
        let mut waiting: Vec<_> = paths
            .flat_map(Conversation::into_requests)
            .filter(Request::waits)
            .collect();
        waiting.sort_by_key(|request| request.number);
        *self = Self::new(self.limits);
        waiting
            .into_iter()
            .map(|request| (request.packet, request.remarks))
            .collect()
    }

    /// Entries of the longest table, for tests of its bound.
    #[cfg(test)]
    pub(super) fn longest(&self) -> usize {
        [
            self.removals.len(),
            self.timeouts.len(),
            self.paths.len(),
            self.cookies.len(),
            self.prefixes.len(),
        ]
        .into_iter()
        .max()
        .unwrap()
    }
}

fn cookie(path: &Path, cookie: NtpTimestamp) -> Cookie {
    let Scope {
        namespace, vlans, ..
    } = path.scope;
    (path.client, namespace, vlans, cookie)
}
