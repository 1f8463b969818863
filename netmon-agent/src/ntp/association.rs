//! What is known of one client and one server beyond a single exchange.

mod disclosure;
mod filter;
mod interval;
mod reach;

use std::net::{IpAddr, SocketAddr};

use netmon_common::{
    ntp::{Header, NtpTimestamp},
    wire,
};

pub use self::filter::Sample;
use self::{disclosure::Disclosure, filter::Filter, interval::Interval, reach::Reach};
use super::{
    Packet, Time,
    measure::{Measurement, client_view},
    pairing::RequestId,
    recent::Recent,
};

/// A client that asks from another port as well may be several behind one address: only if it
/// waited for so long, the earlier question is given up.
const ASKED_AGAIN_AFTER_NS: u64 = 200_000_000;
/// Poll exponents that clients have (RFC 5905: MAXPOLL is 17).
const POLLS: std::ops::RangeInclusive<i8> = 1..=17;
/// Exchanges that a later packet may refer to.
const PREVIOUS: usize = 2;

/// One client and one server, whatever the client's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    namespace: u32,
    vlans: [u16; 2],
    client: IpAddr,
    server: SocketAddr,
}

/// Running figures.
#[derive(Debug)]
pub struct Association {
    first_seen_unix_ns: i64,
    requests: u64,
    unanswered: u64,
    reach: Reach,
    interval: Interval,
    filter: Filter,
    disclosure: Disclosure,
    newest: Option<Newest>,
    previous: [Option<Previous>; PREVIOUS],
    /// Least network delay seen.
    delay_floor_ns: Option<i64>,
}

/// The newest request.
#[derive(Clone, Copy, Debug)]
struct Newest {
    id: Option<RequestId>,
    at_ns: u64,
    fingerprint: Fingerprint,
    /// What it disclosed.
    view: Option<ClientView>,
}

/// What tells programs behind one address apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    version: u8,
    poll: i8,
    precision: i8,
    ttl: u8,
    nts: bool,
    length: u16,
}

/// An exchange that a later packet may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Previous {
    /// When request and response were seen, monotonic clock.
    pub seen_ns: [u64; 2],
    /// The same on the wall clock.
    pub seen_unix_ns: [i64; 2],
    /// The request's transmit timestamp.
    pub t1: NtpTimestamp,
    /// The response's.
    pub response: Header,
}

/// What a new request says of the ones before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The question before, which its client no longer waits for.
    pub given_up: Option<RequestId>,
    /// Whether it came much sooner than its poll exponent says.
    pub is_retry: bool,
}

/// A client's own measurement of an earlier exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// When the sensor saw that exchange's request.
    pub requested_at_unix_ns: i64,
    /// Server's clock minus client's.
    pub offset_ns: i64,
    /// There and back, without the server.
    pub delay_ns: i64,
}

/// All of them, bounded: the ones that were silent for longest go.
#[derive(Debug)]
pub struct Associations(Recent<Key, Association>);

impl Key {
    /// Of a request.
    pub fn of_request(request: &Packet<Time>) -> Self {
        Self {
            namespace: request.scope.namespace,
            vlans: request.scope.vlans,
            client: request.source.ip(),
            server: request.destination,
        }
    }
}

impl Fingerprint {
    fn of(request: &Packet<Time>) -> Self {
        let header = &request.content.header;
        Self {
            version: header.version,
            poll: header.poll,
            precision: header.precision,
            ttl: request.ttl,
            nts: request.content.nts,
            length: request.length,
        }
    }
}

impl Associations {
    /// Nothing known.
    pub fn new(max_entries: usize) -> Self {
        Self(Recent::new(max_entries))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many were forgotten for others.
    pub fn evictions(&self) -> u64 {
        self.0.evictions()
    }

    /// The one of a request, if it is known.
    pub fn of(&self, request: &Packet<Time>) -> Option<&Association> {
        self.0.peek(&Key::of_request(request))
    }

    /// The same, to add to it.
    pub fn of_mut(&mut self, request: &Packet<Time>) -> Option<&mut Association> {
        self.0.peek_mut(&Key::of_request(request))
    }

    /// Takes a request; `waits` says whether one before it has no answer yet.
    pub fn ask(&mut self, request: &Packet<Time>, waits: impl Fn(RequestId) -> bool) -> Asked {
        let (association, _) =
            self.0
                .entry(Key::of_request(request), request.captured_at_ns, || {
                    Association::new(request.captured_at_unix_ns)
                });
        association.ask(request, waits)
    }
}

impl Association {
    fn new(first_seen_unix_ns: i64) -> Self {
        Self {
            first_seen_unix_ns,
            requests: 0,
            unanswered: 0,
            reach: Reach::default(),
            interval: Interval::default(),
            filter: Filter::default(),
            disclosure: Disclosure::default(),
            newest: None,
            previous: [None; PREVIOUS],
            delay_floor_ns: None,
        }
    }

    fn ask(&mut self, request: &Packet<Time>, waits: impl Fn(RequestId) -> bool) -> Asked {
        let at_ns = request.captured_at_ns;
        let fingerprint = Fingerprint::of(request);
        let mut asked = Asked::default();
        if let Some(newest) = self.newest {
            let gap_ns = at_ns.saturating_sub(newest.at_ns);
            let unanswered = newest.id.filter(|id| waits(*id));
            let same_program = newest.fingerprint == fingerprint;
            if same_program && gap_ns >= ASKED_AGAIN_AFTER_NS {
                asked.given_up = unanswered;
            }
            asked.is_retry =
                unanswered.is_some() && same_program && gap_ns < half_a_poll_ns(fingerprint.poll);
        }
        self.interval.asked(at_ns);
        self.disclosure.asked(request);
        self.newest = Some(Newest {
            id: None,
            at_ns,
            fingerprint,
            view: self.disclosed(&request.content.header),
        });
        asked
    }

    /// The request that was taken last is remembered by this name.
    pub fn remembered(&mut self, id: RequestId) {
        self.requests += 1;
        if let Some(newest) = &mut self.newest {
            newest.id = Some(id);
            self.reach.asked(newest.at_ns);
        }
    }

    /// What this request disclosed, if it is still the newest.
    pub fn take_view(&mut self, request: &Packet<Time>) -> Option<ClientView> {
        let newest = self.newest.as_mut()?;
        if newest.at_ns == request.captured_at_ns {
            newest.view.take()
        } else {
            None
        }
    }

    /// A response came in time.
    pub fn answered(&mut self, request: &Packet<Time>, response: &Packet<Time>) {
        self.reach.answered(request.captured_at_ns);
        let previous = Previous {
            seen_ns: [request.captured_at_ns, response.captured_at_ns],
            seen_unix_ns: [request.captured_at_unix_ns, response.captured_at_unix_ns],
            t1: request.content.header.transmit_timestamp,
            response: response.content.header,
        };
        self.previous.rotate_right(1);
        self.previous[0] = Some(previous);
    }

    /// A request's time is over.
    pub fn lost(&mut self) {
        self.unanswered += 1;
    }

    /// The exchange whose response had this receive timestamp.
    pub fn received_at(&self, receive: NtpTimestamp) -> Option<&Previous> {
        let mut previous = self.previous.iter().flatten();
        previous.find(|exchange| exchange.response.receive_timestamp == receive)
    }

    /// Takes what was measured.
    pub fn measured(&mut self, measurement: &Measurement) {
        if let Some(delay_ns) = measurement.network_delay_ns {
            let floor_ns = self.delay_floor_ns.unwrap_or(delay_ns);
            self.delay_floor_ns = Some(floor_ns.min(delay_ns));
        }
        if let Some((offset_ns, delay_ns)) = measurement.sample() {
            self.filter.push(Sample {
                offset_ns,
                delay_ns,
            });
        }
    }

    /// Least network delay seen.
    pub fn delay_floor_ns(&self) -> Option<i64> {
        self.delay_floor_ns
    }

    /// Whether the client's transmit timestamps are times.
    pub fn discloses_time(&self) -> bool {
        self.disclosure.is_certain()
    }

    /// The offset that the clock filter trusts most.
    pub fn filtered_offset_ns(&self) -> Option<i64> {
        self.filter.best().map(|sample| sample.offset_ns)
    }

    fn disclosed(&self, request: &Header) -> Option<ClientView> {
        let mut previous = self.previous.iter().flatten();
        previous.find_map(|exchange| client_view(exchange, request))
    }

    /// The figures as a message.
    pub fn message(&self) -> wire::NtpAssociation {
        let best = self.filter.best();
        let spread = self.filter.spread();
        wire::NtpAssociation {
            requests: self.requests,
            unanswered: self.unanswered,
            reach: self.reach.bits().into(),
            interval_ns: self.interval.ns(),
            samples: self.filter.len() as u32,
            filtered_offset_ns: best.map(|sample| sample.offset_ns),
            filtered_delay_ns: best.map(|sample| sample.delay_ns),
            median_offset_ns: spread.map(|spread| spread.median_ns),
            p95_deviation_ns: spread.map(|spread| spread.p95_deviation_ns),
            jitter_ns: self.filter.jitter_ns(),
            first_seen_unix_ns: self.first_seen_unix_ns,
        }
    }
}

/// Half of what a poll exponent says; 0 where it says nothing.
fn half_a_poll_ns(poll: i8) -> u64 {
    if POLLS.contains(&poll) {
        500_000_000 << poll
    } else {
        0
    }
}
