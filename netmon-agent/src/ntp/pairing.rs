//! Requests and the responses that belong to them.
//!
//! A response answers the request whose transmit timestamp it carries as origin timestamp
//! (RFC 5905 section 8), or in interleaved mode the receive timestamp (RFC 9769). Requests stay
//! remembered for a while after their answer or their time-out, so that a second or a late answer is
//! told from an unsolicited one. Every table is bounded: what does not fit is counted, and a flood of
//! spoofed requests cannot grow anything.

mod blind;
mod conversation;
mod deadlines;
mod held;
mod memory;
mod prefix;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use self::{
    blind::Blind,
    conversation::{Fit, State},
    held::Held,
    memory::{Full, Memory},
};
use super::{Exchange, Match, Packet, Refusal, Remarks, Scope, Tap, Time};

/// The same request again within this time is one packet that somebody sent twice, not a second
/// request.
const DUPLICATE_WITHIN_NS: u64 = 5_000_000;

/// Bounds of the pairing.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a request waits, where nothing else is said.
    pub timeout: Duration,
    /// Most requests remembered at a time.
    pub max_pending: usize,
}

/// What did not become an exchange, in running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests of a network that has as many waiting as one may have.
    pub prefix_full: u64,
    /// Requests on a path that has as many unanswered ones as one may have.
    pub path_full: u64,
    /// Waiting requests pushed out by newer ones.
    pub evicted: u64,
    /// Responses that fit nothing while the pairing may have missed their requests.
    pub unpaired_responses: u64,
    /// ICMP errors about nothing that waits.
    pub unpaired_refusals: u64,
}

/// One client's port, one server's port, and where they were seen talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    scope: Scope,
    client: SocketAddr,
    server: SocketAddr,
}

/// Names a request that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    path: Path,
    number: u64,
}

/// Pairs the packets of all interfaces.
#[derive(Debug)]
pub struct Pairing {
    timeout: Duration,
    /// Of interfaces where it is another.
    timeouts: HashMap<Tap, Duration>,
    memory: Memory,
    held: Held,
    blind: Blind,
    tally: Tally,
}

impl Path {
    fn of_request(packet: &Packet<Time>) -> Self {
        Self {
            scope: packet.scope,
            client: packet.source,
            server: packet.destination,
        }
    }

    fn of_response(packet: &Packet<Time>) -> Self {
        Self {
            scope: packet.scope,
            client: packet.destination,
            server: packet.source,
        }
    }
}

impl Pairing {
    /// Nothing remembered yet; requests from before `now_ns` were not seen.
    pub fn new(limits: Limits, now_ns: u64) -> Self {
        Self {
            timeout: limits.timeout,
            timeouts: HashMap::new(),
            memory: Memory::new(limits),
            held: Held::default(),
            blind: Blind::until(after(now_ns, limits.timeout)),
            tally: Tally::default(),
        }
    }

    /// Says where requests wait for another time than elsewhere, from now on.
    pub fn set_timeouts(&mut self, timeouts: HashMap<Tap, Duration>) {
        self.timeouts = timeouts;
    }

    fn timeout(&self, tap: Tap) -> Duration {
        if self.timeouts.is_empty() {
            return self.timeout;
        }
        self.timeouts.get(&tap).copied().unwrap_or(self.timeout)
    }

    /// From now on more is looked at than before: requests from before were not seen.
    pub fn begin(&mut self, tap: Tap, now_ns: u64) {
        let until_ns = after(now_ns, self.timeout(tap));
        self.blind.begin(tap, now_ns, until_ns);
    }

    /// Ends what was asked where no more is to be seen: requests that still wait are reported as by a
    /// sensor that stopped.
    pub fn withdraw(
        &mut self,
        stays: impl Fn(Scope, SocketAddr, SocketAddr) -> bool,
        emit: &mut impl FnMut(Exchange),
    ) {
        let stays = |path: &Path| stays(path.scope, path.client, path.server);
        for unfit in self.held.withdraw(stays) {
            emit(unfit);
        }
        for (request, remarks) in self.memory.withdraw(stays) {
            emit(stopped(request, remarks));
        }
    }

    /// What did not become an exchange so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How many requests are remembered.
    pub fn remembered(&self) -> usize {
        self.memory.remembered()
    }

    /// How many responses wait for a request that may still come.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether a request is the one before it once more.
    pub fn is_copy(&self, request: &Packet<Time>) -> bool {
        let earlier = self.memory.conversation(&Path::of_request(request));
        earlier.is_some_and(|earlier| earlier.holds_copy(request, DUPLICATE_WITHIN_NS))
    }

    /// Takes a request that is no copy; returns its name if it is remembered. `is_retry` is noted
    /// with it.
    pub fn request(
        &mut self,
        packet: Packet<Time>,
        is_retry: bool,
        emit: &mut impl FnMut(Exchange),
    ) -> Option<RequestId> {
        let path = Path::of_request(&packet);
        let earlier = self.memory.conversation(&path);
        let remarks = Remarks {
            retry: is_retry,
            constant_transmit: earlier.is_some_and(|earlier| earlier.is_constant(&packet)),
            ..Remarks::default()
        };
        let at_ns = packet.captured_at_ns;
        let timeout = self.timeout(path.scope.tap());
        let blind_until_ns = after(at_ns, timeout);
        let room = self.memory.make_room(&path, |lost| {
            self.tally.evicted += 1;
            self.blind
                .miss(lost.packet.source.ip(), at_ns, blind_until_ns);
        });
        match room {
            Ok(()) => {}
            Err(full) => {
                match full {
                    Full::Prefix => self.tally.prefix_full += 1,
                    Full::Path => self.tally.path_full += 1,
                }
                self.blind.miss(path.client.ip(), at_ns, blind_until_ns);
                return None;
            }
        }
        let (number, evicted) = self.memory.insert(path, packet, remarks, timeout);
        if let Some(evicted) = evicted {
            self.tally.evicted += 1;
            self.blind
                .miss(evicted.packet.source.ip(), at_ns, blind_until_ns);
        }
        let id = RequestId { path, number };
        let overtook = self.held.take_answer(&path, |response| {
            conversation::answers(&packet, response).is_ok()
        });
        if let Some(response) = overtook {
            self.answer(response, emit);
        }
        Some(id)
    }

    /// The client has asked again: whatever comes for this request now, it does not wait for it.
    pub fn supersede(&mut self, id: RequestId) {
        if let Some(conversation) = self.memory.conversation_mut(&id.path) {
            conversation.supersede(id.number);
        }
    }

    /// Whether a request still waits for its answer.
    pub fn waits(&self, id: RequestId) -> bool {
        let conversation = self.memory.conversation(&id.path);
        conversation.is_some_and(|conversation| conversation.waits(id.number))
    }

    /// Takes a response.
    pub fn response(&mut self, response: Packet<Time>, emit: &mut impl FnMut(Exchange)) {
        if let Some(unfit) = self.answer(response, emit) {
            let (tap, client) = (response.scope.tap(), response.destination.ip());
            let blind = self
                .blind
                .may_have_missed(tap, client, response.captured_at_ns);
            if blind {
                self.tally.unpaired_responses += 1;
            } else if let Some(overdue) = self.held.push(unfit) {
                emit(overdue);
            }
        }
    }

    /// Finds the request of a response; gives the finding back that it has none.
    fn answer(
        &mut self,
        response: Packet<Time>,
        emit: &mut impl FnMut(Exchange),
    ) -> Option<Exchange> {
        let path = Path::of_response(&response);
        let own = self.memory.conversation(&path);
        let is_known = own.is_some();
        let mut fit = own.map_or(Fit::Nothing, |own| own.fit(&response));
        let mut at = path;
        if matches!(fit, Fit::Nothing)
            && let Some(elsewhere) = self.memory.elsewhere(&path, &response)
        {
            at = elsewhere.path;
            fit = elsewhere.fit;
        }
        let place = match fit {
            Fit::Request(place) => place,
            Fit::Nothing | Fit::Forged => {
                let kind = if is_known || matches!(fit, Fit::Forged) {
                    Match::OriginMismatch
                } else {
                    Match::UnsolicitedResponse
                };
                let mut unfit = Exchange::of_response(kind, response);
                unfit.remarks.identifier_mismatch = matches!(fit, Fit::Forged);
                return Some(unfit);
            }
        };
        let timeout = self.timeout(at.scope.tap());
        // It was found there a moment ago.
        let request = self
            .memory
            .conversation_mut(&at)?
            .request_mut(place.index)?;
        let (asked, remarks) = (request.packet, request.remarks);
        let waited = request.waits();
        // Where time goes back, as between captures that were put together, nobody has looked yet.
        if waited && after(asked.captured_at_ns, timeout) <= response.captured_at_ns {
            request.state = State::TimedOut;
            emit(Exchange {
                remarks,
                ..Exchange::of_request(Match::Unanswered, asked)
            });
        }
        let kind = match request.state {
            // Of two requests with zeros nobody knows which one was answered.
            State::Waiting { superseded: true } if place.how != Match::Weak => Match::Superseded,
            State::Waiting { .. } => place.how,
            State::TimedOut | State::Refused => Match::Late,
            State::Answered { digest } if digest == response.digest => Match::DuplicateResponse,
            State::Answered { .. } => Match::ConflictingResponse,
        };
        if !kind.is_extra() {
            request.state = State::Answered {
                digest: response.digest,
            };
        }
        if waited {
            self.memory.no_longer_waits(&at);
        }
        let mut exchange = Exchange::of_pair(kind, asked, response);
        exchange.remarks.retry = remarks.retry;
        exchange.remarks.constant_transmit = remarks.constant_transmit;
        emit(exchange);
        None
    }

    /// Takes an ICMP error: the request that it quotes goes no further.
    pub fn refusal(&mut self, packet: Packet<Refusal>, emit: &mut impl FnMut(Exchange)) {
        let (client, server) = packet.content.ends();
        let path = Path {
            scope: packet.scope,
            client,
            server,
        };
        let quoted = packet.content.transmit;
        let Some((path, number)) = self.memory.waiting(&path, quoted) else {
            self.tally.unpaired_refusals += 1;
            return;
        };
        let request = self
            .memory
            .conversation_mut(&path)
            .and_then(|conversation| conversation.numbered(number));
        let Some(request) = request else { return };
        request.state = State::Refused;
        let (asked, remarks) = (request.packet, request.remarks);
        self.memory.no_longer_waits(&path);
        emit(Exchange {
            refusal: Some(packet),
            remarks,
            ..Exchange::of_request(Match::Refused, asked)
        });
    }

    /// Gives up requests that have waited too long and forgets old ones. Call it after the packets
    /// captured before `now_ns` have been observed.
    pub fn expire(&mut self, now_ns: u64, emit: &mut impl FnMut(Exchange)) {
        while let Some(unfit) = self.held.next_due(now_ns) {
            emit(unfit);
        }
        while let Some((request, remarks)) = self.memory.next_timed_out(now_ns) {
            emit(Exchange {
                remarks,
                ..Exchange::of_request(Match::Unanswered, request)
            });
        }
        self.memory.forget(now_ns);
    }

    /// Ends the pairing: requests that still wait are reported as such.
    pub fn stop(&mut self, emit: &mut impl FnMut(Exchange)) {
        while let Some(unfit) = self.held.next_due(u64::MAX) {
            emit(unfit);
        }
        for (request, remarks) in self.memory.drain() {
            emit(stopped(request, remarks));
        }
    }
}

/// A request whose answer nobody waits for any more.
fn stopped(request: Packet<Time>, remarks: Remarks) -> Exchange {
    Exchange {
        remarks,
        ..Exchange::of_request(Match::SensorStopped, request)
    }
}

/// A moment and a wait, both in ns.
fn after(at_ns: u64, wait: Duration) -> u64 {
    at_ns.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
}
