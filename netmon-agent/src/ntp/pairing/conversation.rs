//! The requests of one path, and which of them a response answers.

use std::collections::VecDeque;

use crate::ntp::{Match, Packet, Remarks, Time};

/// Most requests remembered between one client port and one server port.
const MAX_REQUESTS: usize = 8;
/// Two zero timestamps say nothing: for longer nobody believes that they belong together.
const WEAK_WITHIN_NS: u64 = 2_000_000_000;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) packet: Packet<Time>,
    pub(super) remarks: Remarks,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Waiting { superseded: bool },
    Answered { digest: u64 },
    TimedOut,
    Refused,
}

/// The requests of one path, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    requests: VecDeque<Request>,
    /// Entries of the memory's queues that name this path.
    pub(super) accepted: usize,
}

/// What a response is to the requests of a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fit {
    Request(Place),
    /// It names one, but lacks what the client's NTS wants to see again.
    Forged,
    Nothing,
}

/// Which request, and by what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) how: Match,
}

impl Request {
    pub(super) fn waits(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered { .. })
    }
}

/// What a response says of the request that it answers: its kind of match, or `Err` with whether it
/// names the request and yet must not answer it. What was seen before the request is no answer.
pub(super) fn answers(request: &Packet<Time>, response: &Packet<Time>) -> Result<Match, bool> {
    if response.captured_at_ns < request.captured_at_ns {
        return Err(false);
    }
    let origin = response.content.header.origin_timestamp;
    let asked = &request.content;
    let how = if origin.is_zero() {
        let waited_ns = response
            .captured_at_ns
            .saturating_sub(request.captured_at_ns);
        (asked.cookie().is_zero() && waited_ns <= WEAK_WITHIN_NS).then_some(Match::Weak)
    } else if origin == asked.cookie() {
        Some(Match::Basic)
    } else if asked.header.version < 5
        && origin == asked.header.receive_timestamp
        && !asked.header.origin_timestamp.is_zero()
    {
        Some(Match::Interleaved)
    } else {
        None
    };
    let Some(how) = how else { return Err(false) };
    if response.content.identifier.answers(asked.identifier) {
        Ok(how)
    } else {
        Err(true)
    }
}

impl Conversation {
    /// Whether the same packet was there less than `within_ns` before.
    pub(super) fn holds_copy(&self, packet: &Packet<Time>, within_ns: u64) -> bool {
        self.requests.iter().any(|request| {
            let earlier = &request.packet;
            earlier.digest == packet.digest
                && earlier.length == packet.length
                && packet.captured_at_ns.abs_diff(earlier.captured_at_ns) < within_ns
        })
    }

    /// Whether the client sends this transmit timestamp again and again: it did before and got its
    /// answer, or it is a whole second, which no clock shows by chance.
    pub(super) fn is_constant(&self, packet: &Packet<Time>) -> bool {
        let cookie = packet.content.cookie();
        !cookie.is_zero()
            && self.requests.iter().any(|request| {
                request.packet.content.cookie() == cookie
                    && (request.is_answered() || cookie.0 as u32 == 0)
            })
    }

    /// Which request a response answers: one that waits, by transmit timestamp, by receive timestamp,
    /// or by order; else one that was answered, else one that is given up. Of several the newest,
    /// unless their timestamps say nothing: then the oldest.
    pub(super) fn fit(&self, response: &Packet<Time>) -> Fit {
        let mut forged = false;
        let mut best: Option<(u8, Place)> = None;
        for (index, request) in self.requests.iter().enumerate() {
            let how = match answers(&request.packet, response) {
                Ok(how) => how,
                Err(names) => {
                    forged |= names;
                    continue;
                }
            };
            let by = match how {
                Match::Basic => 0,
                Match::Interleaved => 1,
                _ => 2,
            };
            let rank = match request.state {
                State::Waiting { .. } => by,
                State::Answered { digest } if digest == response.digest => 3,
                State::Answered { .. } => 4,
                State::TimedOut | State::Refused => 5,
            };
            let oldest_first = request.remarks.constant_transmit || how == Match::Weak;
            let is_better = best.is_none_or(|(other, _)| {
                rank < other || (rank == other && !(oldest_first && request.waits()))
            });
            if is_better {
                best = Some((rank, Place { index, how }));
            }
        }
        match best {
            Some((_, place)) => Fit::Request(place),
            None if forged => Fit::Forged,
            None => Fit::Nothing,
        }
    }

    pub(super) fn request_mut(&mut self, index: usize) -> Option<&mut Request> {
        self.requests.get_mut(index)
    }

    /// What was asked by one of them.
    pub(super) fn get(&self, index: usize) -> Option<&Packet<Time>> {
        self.requests.get(index).map(|request| &request.packet)
    }

    pub(super) fn index_of(&self, number: u64) -> Option<usize> {
        self.requests
            .iter()
            .position(|request| request.number == number)
    }

    pub(super) fn numbered(&mut self, number: u64) -> Option<&mut Request> {
        let index = self.index_of(number)?;
        self.requests.get_mut(index)
    }

    /// The newest that waits, or the newest of those that `wanted` takes.
    pub(super) fn newest_waiting(&self, wanted: impl Fn(&Request) -> bool) -> Option<u64> {
        let mut newest_first = self.requests.iter().rev();
        let found = newest_first.find(|request| request.waits() && wanted(request))?;
        Some(found.number)
    }

    pub(super) fn waits(&self, number: u64) -> bool {
        self.index_of(number)
            .and_then(|index| self.requests.get(index))
            .is_some_and(Request::waits)
    }

    pub(super) fn supersede(&mut self, number: u64) {
        if let Some(request) = self.numbered(number)
            && let State::Waiting { superseded } = &mut request.state
        {
            *superseded = true;
        }
    }

    /// Whether the oldest has its answer: a path may fill its share with such ones only, and with
    /// those that were withdrawn.
    pub(super) fn makes_room(&self) -> bool {
        self.requests.front().is_none_or(Request::is_answered)
    }

    /// Adds the newest; earlier ones that still wait are superseded. Returns the one that had to go.
    pub(super) fn push(&mut self, request: Request) -> Option<Request> {
        for earlier in &mut self.requests {
            if let State::Waiting { superseded } = &mut earlier.state {
                // A client that sends the same again waits for the first answer.
                *superseded = earlier.packet.content.cookie() != request.packet.content.cookie()
                    || *superseded;
            }
        }
        let evicted = if self.requests.len() >= MAX_REQUESTS {
            self.requests.pop_front()
        } else {
            None
        };
        self.requests.push_back(request);
        evicted
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Request> {
        let index = self.index_of(number)?;
        self.requests.remove(index)
    }

    /// Takes out all requests; the memory's queues still name the path.
    pub(super) fn take_requests(&mut self) -> VecDeque<Request> {
        std::mem::take(&mut self.requests)
    }

    pub(super) fn into_requests(self) -> impl Iterator<Item = Request> {
        self.requests.into_iter()
    }
}
