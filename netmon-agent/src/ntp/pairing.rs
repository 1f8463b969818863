//! Requests and the responses that belong to them.
//!
//! A response answers the request whose transmit timestamp it carries as origin timestamp
//! (RFC 5905 section 8). Requests stay remembered for a while after their answer or their time-out,
//! so that a second or a late answer is told from an unsolicited one. Every table is bounded: what
//! does not fit is counted, and a flood of spoofed requests cannot grow anything.

mod memory;
#[cfg(test)]
mod tests;

use std::time::Duration;

use netmon_common::ntp::Mode;

use self::memory::{Memory, Path, State, after};
use super::{Exchange, Match, Packet};

/// The same request again within this time is one packet seen twice, not a second request.
const DUPLICATE_WITHIN_NS: u64 = 5_000_000;

/// Bounds of the pairing.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a request waits.
    pub timeout: Duration,
    /// Most requests remembered at a time.
    pub max_pending: usize,
}

/// What did not become an exchange, in running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were one packet seen twice.
    pub duplicate_requests: u64,
    /// Requests that found the table full.
    pub untracked_requests: u64,
    /// Waiting requests pushed out by newer ones on the same path.
    pub evicted_requests: u64,
    /// Responses that fit nothing while the pairing may have missed their requests.
    pub unpaired_responses: u64,
}

/// Pairs the packets of all interfaces.
#[derive(Debug)]
pub struct Pairing {
    timeout: Duration,
    memory: Memory,
    // Until then a response that fits nothing may answer a request that was not remembered.
    blind_until_ns: u64,
    tally: Tally,
}

impl Pairing {
    /// Nothing remembered yet; requests from before `now_ns` were not seen.
    pub fn new(limits: Limits, now_ns: u64) -> Self {
        Self {
            timeout: limits.timeout,
            memory: Memory::new(limits),
            blind_until_ns: after(now_ns, limits.timeout),
            tally: Tally::default(),
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

    /// Takes a packet of mode 3 or 4; returns the exchange it completes.
    pub fn observe(&mut self, packet: Packet) -> Option<Exchange> {
        if packet.header.mode == Mode::Client {
            self.request(packet);
            None
        } else {
            self.response(packet)
        }
    }

    fn request(&mut self, packet: Packet) {
        let path = Path {
            scope: packet.scope,
            client: packet.source,
            server: packet.destination,
        };
        if self.is_duplicate(&path, &packet) {
            self.tally.duplicate_requests += 1;
            return;
        }
        let sent_at_ns = packet.captured_at_ns;
        if !self.memory.make_room(&path) {
            self.tally.untracked_requests += 1;
            self.blind_until_ns = after(sent_at_ns, self.timeout);
        } else if self.memory.insert(path, packet) {
            self.tally.evicted_requests += 1;
            self.blind_until_ns = after(sent_at_ns, self.timeout);
        }
    }

    fn is_duplicate(&self, path: &Path, packet: &Packet) -> bool {
        let newest = self
            .memory
            .conversation(path)
            .and_then(|conversation| conversation.newest());
        newest.is_some_and(|newest| {
            newest.packet.header == packet.header
                && packet.captured_at_ns.abs_diff(newest.packet.captured_at_ns)
                    < DUPLICATE_WITHIN_NS
        })
    }

    fn response(&mut self, response: Packet) -> Option<Exchange> {
        let path = Path {
            scope: response.scope,
            client: response.destination,
            server: response.source,
        };
        let exchange = |kind, request, response| path.exchange(kind, request, Some(response));
        let Some(conversation) = self.memory.conversation_mut(&path) else {
            return self.fits_nothing(exchange(Match::UnsolicitedResponse, None, response));
        };
        let Some(request) = conversation.named_by(response.header.origin_timestamp) else {
            return self.fits_nothing(exchange(Match::OriginMismatch, None, response));
        };
        let asked = request.packet.clone();
        let answered = State::Answered {
            response: Box::new(response.clone()),
        };
        Some(match &request.state {
            State::Waiting { superseded } => {
                let kind = if *superseded {
                    Match::Superseded
                } else {
                    Match::Basic
                };
                request.state = answered;
                exchange(kind, Some(asked), response)
            }
            State::Answered { response: first } => {
                let same = first.header == response.header;
                let kind = if same {
                    Match::DuplicateResponse
                } else {
                    Match::ConflictingResponse
                };
                // The request's row names its first response; this row is the extra packet.
                exchange(kind, None, response)
            }
            State::TimedOut => {
                request.state = answered;
                exchange(Match::Late, Some(asked), response)
            }
        })
    }

    /// A response that fits no request is worth a row only if its request would be remembered.
    fn fits_nothing(&mut self, exchange: Exchange) -> Option<Exchange> {
        let at_ns = exchange
            .response
            .as_ref()
            .map_or(0, |response| response.captured_at_ns);
        if at_ns < self.blind_until_ns {
            self.tally.unpaired_responses += 1;
            return None;
        }
        Some(exchange)
    }

    /// Gives up requests that have waited too long and forgets old ones. Call it after the packets
    /// captured before `now_ns` have been observed.
    pub fn expire(&mut self, now_ns: u64, mut emit: impl FnMut(Exchange)) {
        while let Some((path, request)) = self.memory.next_timed_out(now_ns) {
            emit(without_response(Match::Unanswered, path, request));
        }
        self.memory.forget(now_ns);
    }

    /// Ends the pairing: requests that still wait are reported as such.
    pub fn stop(&mut self, mut emit: impl FnMut(Exchange)) {
        for (path, request) in self.memory.drain() {
            emit(without_response(Match::SensorStopped, path, request));
        }
    }
}

impl Path {
    fn exchange(self, kind: Match, request: Option<Packet>, response: Option<Packet>) -> Exchange {
        let Self {
            scope,
            client,
            server,
        } = self;
        Exchange {
            kind,
            scope,
            client,
            server,
            request,
            response,
        }
    }
}

fn without_response(kind: Match, path: Path, request: Packet) -> Exchange {
    path.exchange(kind, Some(request), None)
}
