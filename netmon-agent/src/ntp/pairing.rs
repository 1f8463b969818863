//! Requests and the responses that belong to them.
//!
//! A response answers the request whose transmit timestamp it carries as origin timestamp
//! (RFC 5905 section 8). Requests stay remembered for a while after their answer or their time-out,
//! so that a second or a late answer is told from an unsolicited one. Every table is bounded: what
//! does not fit is counted, and a flood of spoofed requests cannot grow anything.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use netmon_common::ntp::{Mode, NtpTimestamp};

use super::{Exchange, Match, Packet, Scope};

/// A request is forgotten this long after it was sent.
const MEMORY: Duration = Duration::from_secs(64);
/// Most requests remembered between one client port and one server port.
const MAX_PER_PATH: usize = 8;
/// Most requests accepted from one path within [`MEMORY`]: four a second for a minute.
const MAX_ACCEPTED_PER_PATH: usize = 256;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Path {
    scope: Scope,
    client: SocketAddr,
    server: SocketAddr,
}

#[derive(Debug, Default)]
struct Conversation {
    requests: VecDeque<Request>,
    /// Entries of `Pairing::removals` that name this path.
    accepted: usize,
}

impl Conversation {
    fn waits(&self, id: u64) -> bool {
        let waiting = |request: &Request| matches!(request.state, State::Waiting { .. });
        self.requests
            .iter()
            .any(|request| request.id == id && waiting(request))
    }
}

#[derive(Debug)]
struct Request {
    id: u64,
    packet: Packet,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting { superseded: bool },
    Answered { response: Box<Packet> },
    TimedOut,
}

/// Pairs the packets of all interfaces.
#[derive(Debug)]
pub struct Pairing {
    limits: Limits,
    paths: HashMap<Path, Conversation>,
    remembered: usize,
    next_id: u64,
    // In the order of their times, since both waits are the same for every request.
    timeouts: VecDeque<(u64, Path, u64)>,
    removals: VecDeque<(u64, Path, u64)>,
    // Until then a response that fits nothing may answer a request that was not remembered.
    blind_until_ns: u64,
    tally: Tally,
}

impl Pairing {
    /// Nothing remembered yet; requests from before `now_ns` were not seen.
    pub fn new(limits: Limits, now_ns: u64) -> Self {
        Self {
            blind_until_ns: after(now_ns, limits.timeout),
            limits,
            paths: HashMap::new(),
            remembered: 0,
            next_id: 0,
            timeouts: VecDeque::new(),
            removals: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// What did not become an exchange so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How many requests are remembered.
    pub fn remembered(&self) -> usize {
        self.remembered
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
        if !self.make_room(&path) {
            self.tally.untracked_requests += 1;
            self.blind_until_ns = after(packet.captured_at_ns, self.limits.timeout);
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let sent_at_ns = packet.captured_at_ns;
        self.timeouts
            .push_back((after(sent_at_ns, self.limits.timeout), path, id));
        self.removals.push_back((
            after(sent_at_ns, MEMORY.max(2 * self.limits.timeout)),
            path,
            id,
        ));
        let conversation = self.paths.entry(path).or_default();
        conversation.accepted += 1;
        let requests = &mut conversation.requests;
        for earlier in requests.iter_mut() {
            if let State::Waiting { superseded } = &mut earlier.state {
                *superseded = true;
            }
        }
        if requests.len() >= MAX_PER_PATH {
            let evicted = requests.pop_front();
            self.remembered -= 1;
            if evicted.is_some_and(|evicted| matches!(evicted.state, State::Waiting { .. })) {
                self.tally.evicted_requests += 1;
                self.blind_until_ns = after(sent_at_ns, self.limits.timeout);
            }
        }
        requests.push_back(Request {
            id,
            packet,
            state: State::Waiting { superseded: false },
        });
        self.remembered += 1;
    }

    /// Whether one more request can be remembered: those that wait for nothing any more make room,
    /// the oldest first.
    fn make_room(&mut self, path: &Path) -> bool {
        if self.timeouts.len() >= self.limits.max_pending {
            return false;
        }
        // One path may fill its share with answered requests only.
        let full = self.paths.get(path).is_some_and(|conversation| {
            let oldest = conversation.requests.front();
            conversation.accepted >= MAX_ACCEPTED_PER_PATH
                && !oldest.is_some_and(|oldest| matches!(oldest.state, State::Answered { .. }))
        });
        if full {
            return false;
        }
        while self.removals.len() >= self.limits.max_pending {
            let Some((_, oldest, id)) = self.removals.front() else {
                return false;
            };
            let waits = self
                .paths
                .get(oldest)
                .is_some_and(|conversation| conversation.waits(*id));
            if waits {
                return false;
            }
            self.forget_oldest();
        }
        true
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

    fn is_duplicate(&self, path: &Path, packet: &Packet) -> bool {
        let newest = self
            .paths
            .get(path)
            .and_then(|conversation| conversation.requests.back());
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
        let exchange = |kind, request, response| Exchange {
            kind,
            scope: path.scope,
            client: path.client,
            server: path.server,
            request,
            response: Some(response),
        };
        let Some(conversation) = self.paths.get_mut(&path) else {
            return self.fits_nothing(exchange(Match::UnsolicitedResponse, None, response));
        };
        let Some(request) = find(&mut conversation.requests, response.header.origin_timestamp)
        else {
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
        while self
            .timeouts
            .front()
            .is_some_and(|(deadline_ns, ..)| *deadline_ns <= now_ns)
        {
            let Some((_, path, id)) = self.timeouts.pop_front() else {
                break;
            };
            let Some(conversation) = self.paths.get_mut(&path) else {
                continue;
            };
            for request in conversation
                .requests
                .iter_mut()
                .filter(|request| request.id == id)
            {
                if matches!(request.state, State::Waiting { .. }) {
                    request.state = State::TimedOut;
                    emit(without_response(
                        Match::Unanswered,
                        path,
                        request.packet.clone(),
                    ));
                }
            }
        }
        while self
            .removals
            .front()
            .is_some_and(|(deadline_ns, ..)| *deadline_ns <= now_ns)
        {
            self.forget_oldest();
        }
    }

    /// Ends the pairing: requests that still wait are reported as such.
    pub fn stop(&mut self, mut emit: impl FnMut(Exchange)) {
        for (path, conversation) in self.paths.drain() {
            for request in conversation.requests {
                if matches!(request.state, State::Waiting { .. }) {
                    emit(without_response(Match::SensorStopped, path, request.packet));
                }
            }
        }
        self.remembered = 0;
        self.timeouts.clear();
        self.removals.clear();
    }
}

/// The request that a response with this origin timestamp answers: the newest that still waits,
/// else the newest of all. Zero is not a timestamp and answers nothing.
fn find(requests: &mut VecDeque<Request>, origin: NtpTimestamp) -> Option<&mut Request> {
    if origin.is_zero() {
        return None;
    }
    let fits = |request: &Request| request.packet.header.transmit_timestamp == origin;
    let waits = |request: &Request| matches!(request.state, State::Waiting { .. });
    let index = requests
        .iter()
        .rposition(|request| fits(request) && waits(request))
        .or_else(|| requests.iter().rposition(fits))?;
    requests.get_mut(index)
}

fn without_response(kind: Match, path: Path, request: Packet) -> Exchange {
    Exchange {
        kind,
        scope: path.scope,
        client: path.client,
        server: path.server,
        request: Some(request),
        response: None,
    }
}

fn after(at_ns: u64, wait: Duration) -> u64 {
    at_ns.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use netmon_common::ntp::Header;

    use super::*;

    const MS: u64 = 1_000_000;
    const LIMITS: Limits = Limits {
        timeout: Duration::from_secs(5),
        max_pending: 100,
    };

    fn packet(mode: Mode, at_ms: u64, port: u16, origin: u64, transmit: u64) -> Packet {
        let client: SocketAddr = ([192, 0, 2, 1], port).into();
        let server: SocketAddr = ([192, 0, 2, 2], 123).into();
        let (source, destination) = if mode == Mode::Client {
            (client, server)
        } else {
            (server, client)
        };
        Packet {
            scope: Scope {
                ifindex: 1,
                vlans: [0; 2],
            },
            captured_at_ns: at_ms * MS,
            captured_at_unix_ns: (at_ms * MS) as i64,
            source,
            destination,
            header: Header {
                leap: 0,
                version: 4,
                mode,
                stratum: 1,
                poll: 0,
                precision: 0,
                root_delay: 0,
                root_dispersion: 0,
                reference_id: 0,
                reference_timestamp: NtpTimestamp(0),
                origin_timestamp: NtpTimestamp(origin),
                receive_timestamp: NtpTimestamp(5),
                transmit_timestamp: NtpTimestamp(transmit),
            },
            length: 48,
            ttl: 64,
        }
    }

    fn request(at_ms: u64, port: u16, transmit: u64) -> Packet {
        packet(Mode::Client, at_ms, port, 0, transmit)
    }

    fn response(at_ms: u64, port: u16, origin: u64) -> Packet {
        packet(Mode::Server, at_ms, port, origin, 99)
    }

    /// What the pairing says to these packets, with a final look at 60 s. It has run for long.
    fn kinds(packets: impl IntoIterator<Item = Packet>) -> Vec<Match> {
        let mut pairing = Pairing::new(LIMITS, 0);
        pairing.blind_until_ns = 0;
        let mut kinds = Vec::new();
        for packet in packets {
            pairing.expire(packet.captured_at_ns, |exchange| kinds.push(exchange.kind));
            kinds.extend(pairing.observe(packet).map(|exchange| exchange.kind));
        }
        pairing.expire(60_000 * MS, |exchange| kinds.push(exchange.kind));
        kinds
    }

    #[test]
    fn a_response_answers_the_request_it_names() {
        let packets = [
            request(0, 1, 7),
            request(1, 2, 8),
            response(2, 2, 8),
            response(3, 1, 7),
        ];
        assert_eq!(kinds(packets), [Match::Basic, Match::Basic]);
    }

    #[test]
    fn a_request_without_a_response_is_unanswered_once() {
        assert_eq!(kinds([request(0, 1, 7)]), [Match::Unanswered]);
    }

    #[test]
    fn a_response_after_the_timeout_is_late() {
        let packets = [request(0, 1, 7), response(5_001, 1, 7)];
        assert_eq!(kinds(packets), [Match::Unanswered, Match::Late]);
    }

    #[test]
    fn a_second_response_is_a_duplicate_or_a_conflict() {
        let mut other = response(3, 1, 7);
        other.header.receive_timestamp = NtpTimestamp(6);
        let packets = [
            request(0, 1, 7),
            response(1, 1, 7),
            response(2, 1, 7),
            other,
        ];
        assert_eq!(
            kinds(packets),
            [
                Match::Basic,
                Match::DuplicateResponse,
                Match::ConflictingResponse
            ]
        );
    }

    #[test]
    fn a_response_that_names_no_request_is_told_apart() {
        assert_eq!(kinds([response(0, 1, 7)]), [Match::UnsolicitedResponse]);
        let packets = [request(0, 1, 7), response(1, 1, 8), response(2, 1, 7)];
        assert_eq!(kinds(packets), [Match::OriginMismatch, Match::Basic]);
        let zero = [request(0, 1, 0), response(1, 1, 0)];
        assert_eq!(kinds(zero), [Match::OriginMismatch, Match::Unanswered]);
    }

    #[test]
    fn an_answer_to_a_question_asked_again_is_superseded() {
        let packets = [
            request(0, 1, 7),
            request(2_000, 1, 8),
            response(2_500, 1, 7),
            response(2_600, 1, 8),
        ];
        assert_eq!(kinds(packets), [Match::Superseded, Match::Basic]);
    }

    #[test]
    fn one_request_seen_twice_is_one_request() {
        let packets = [request(0, 1, 7), request(1, 1, 7), response(2, 1, 7)];
        assert_eq!(kinds(packets), [Match::Basic]);
    }

    #[test]
    fn other_interfaces_and_vlans_are_other_conversations() {
        let mut elsewhere = response(1, 1, 7);
        elsewhere.scope.vlans = [100, 0];
        assert_eq!(
            kinds([request(0, 1, 7), elsewhere]),
            [Match::UnsolicitedResponse, Match::Unanswered]
        );
    }

    #[test]
    fn a_flood_of_requests_does_not_grow_the_table() {
        let mut pairing = Pairing::new(LIMITS, 0);
        for port in 0..1000 {
            pairing.observe(request(0, port, 7));
        }
        assert_eq!(
            (pairing.remembered(), pairing.tally().untracked_requests),
            (100, 900)
        );
        let mut unanswered = 0;
        pairing.expire(200_000 * MS, |_| unanswered += 1);
        assert_eq!((pairing.remembered(), pairing.paths.len()), (0, 0));
        assert!(pairing.timeouts.is_empty() && pairing.removals.is_empty());
        assert!(unanswered > 0);
    }

    #[test]
    fn answered_requests_make_room_for_new_ones() {
        let mut pairing = Pairing::new(LIMITS, 0);
        // Ten a second: more than the table holds in a minute, fewer than in a time-out.
        for port in 0..1000 {
            let at_ms = u64::from(port) * 100;
            pairing.expire(at_ms * MS, |_| panic!("nothing is unanswered"));
            pairing.observe(request(at_ms, port, 7));
            let answer = pairing.observe(response(at_ms + 1, port, 7));
            assert_eq!(
                answer.map(|exchange| exchange.kind),
                Some(Match::Basic),
                "{port}"
            );
        }
        assert_eq!(pairing.tally().untracked_requests, 0);
        assert!(pairing.removals.len() <= 100 && pairing.paths.len() <= 100);
    }

    #[test]
    fn a_busy_path_that_is_answered_stays_paired() {
        let mut pairing = Pairing::new(
            Limits {
                max_pending: 10_000,
                ..LIMITS
            },
            0,
        );
        for transmit in 1..=2000 {
            pairing.observe(request(transmit * 10, 1, transmit));
            let answer = pairing.observe(response(transmit * 10 + 1, 1, transmit));
            assert_eq!(
                answer.map(|exchange| exchange.kind),
                Some(Match::Basic),
                "{transmit}"
            );
        }
    }

    #[test]
    fn a_response_whose_request_may_have_been_missed_accuses_nobody() {
        let mut pairing = Pairing::new(LIMITS, 1000 * MS);
        assert!(pairing.observe(response(1500, 1, 7)).is_none());
        assert_eq!(pairing.tally().unpaired_responses, 1);
        assert!(pairing.observe(response(6001, 1, 7)).is_some());
    }

    #[test]
    fn one_path_cannot_take_the_whole_table() {
        let mut pairing = Pairing::new(
            Limits {
                max_pending: 10_000,
                ..LIMITS
            },
            0,
        );
        for transmit in 1..=1000 {
            pairing.observe(request(transmit * 10, 1, transmit));
        }
        assert_eq!(pairing.remembered(), 8);
        assert_eq!(pairing.tally().evicted_requests, 248);
        assert_eq!(pairing.tally().untracked_requests, 744);
        assert_eq!(pairing.removals.len(), 256);
    }

    #[test]
    fn requests_that_wait_when_the_sensor_stops_are_reported() {
        let mut pairing = Pairing::new(LIMITS, 0);
        pairing.observe(request(0, 1, 7));
        let mut kinds = Vec::new();
        pairing.stop(|exchange| kinds.push(exchange.kind));
        assert_eq!(kinds, [Match::SensorStopped]);
    }
}
