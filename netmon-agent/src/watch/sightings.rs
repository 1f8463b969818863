//! What is seen of the addresses that the server has watched.
//!
//! A flow counts once in each hour (UTC) in which it is seen, whichever and however many interfaces it
//! passes: its packets are counted where it was seen first. What the kernel tells of a new flow is
//! handed over at once, packets and octets follow when the flow maps are drained. All flows of an
//! address in an hour make one [`Sighting`], and another one when there is more to say.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    time::Duration,
};

use netmon_common::{
    counters::Counters,
    flow::{FlowEvent, FlowKey, FlowValue, Side, WatchMark},
    watch::List,
    wire::{MAX_SIGHTING_PORTS, Sighting},
};

use crate::clock::Now;

/// How long more packets of flows that are counted wait for yet more.
const PATIENCE_NS: u64 = 10_000_000_000;

const HOUR_NS: i64 = 3_600_000_000_000;

const SIDES: [Side; 2] = [Side::Low, Side::High];

/// Where a flow is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The network namespace's number.
    pub namespace: u32,
    /// The interface's index.
    pub ifindex: u32,
    /// VLAN identifiers, outer first; 0 = none.
    pub vlans: [u16; 2],
}

/// What there was so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Flows counted, each once an hour.
    pub flows: u64,
    /// Flows that found no place among those remembered: each may count more than once.
    pub unremembered: u64,
    /// Sightings handed over.
    pub sightings: u64,
}

/// A flow wherever it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tuple {
    low: (IpAddr, u16),
    high: (IpAddr, u16),
    protocol: u8,
}

/// A flow that is counted.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Where it was seen first: there its packets count.
    place: Place,
    /// The last in which it was counted.
    hour: i64,
    last_seen_ns: u64,
}

/// What is not handed over yet of an address in an hour.
#[derive(Clone, Debug, Default)]
struct Pending {
    since_ns: u64,
    first_unix_ns: i64,
    last_unix_ns: i64,
    flows: u64,
    begun_there: u64,
    inbound: Counters,
    outbound: Counters,
    ports: Vec<u16>,
    local_ports: Vec<u16>,
}

/// Flows of watched addresses, and what is to be said of them.
#[derive(Debug)]
pub struct Sightings {
    flows: HashMap<Tuple, Known>,
    /// By address and hour.
    pending: HashMap<(IpAddr, i64), Pending>,
    max_flows: usize,
    idle_ns: u128,
    tally: Tally,
}

/// A part of a flow, as event or drain tell it.
#[derive(Clone, Copy, Debug)]
struct Part {
    tuple: Tuple,
    place: Place,
    watch: WatchMark,
    initiator: Side,
    /// Monotonic clock.
    first_seen_ns: u64,
    last_seen_ns: u64,
    /// What each side has sent; `None`: the kernel tells of the flow's existence only.
    sent: Option<[Counters; 2]>,
}

impl Sightings {
    /// Nothing seen yet. At most so many flows are remembered, each until it has been silent for a
    /// time.
    pub fn new(max_flows: usize, idle: Duration) -> Self {
        Self {
            flows: HashMap::new(),
            pending: HashMap::new(),
            max_flows,
            idle_ns: idle.as_nanos(),
            tally: Tally::default(),
        }
    }

    /// The kernel told of a flow in a namespace; the server has the addresses of `list` watched.
    pub fn begun(&mut self, now: Now, namespace: u32, event: &FlowEvent, list: &List) {
        if !event.watch().is_hit() {
            return;
        }
        let end = |side| (event.address(side), event.port(side));
        let part = Part {
            tuple: Tuple {
                low: end(Side::Low),
                high: end(Side::High),
                protocol: event.protocol,
            },
            place: Place {
                namespace,
                ifindex: event.ifindex,
                vlans: event.vlans,
            },
            watch: event.watch(),
            initiator: Side::from_number(event.initiator),
            first_seen_ns: event.at_ns,
            last_seen_ns: event.at_ns,
            sent: None,
        };
        self.take(now, &part, list);
    }

    /// What the kernel saw of a flow since it was last asked.
    pub fn drained(
        &mut self,
        now: Now,
        namespace: u32,
        (key, seen): (FlowKey, &FlowValue),
        list: &List,
    ) {
        let watch = WatchMark(seen.watch);
        if !watch.is_hit() {
            return;
        }
        let end = |side| (key.address(side), key.port(side));
        let part = Part {
            tuple: Tuple {
                low: end(Side::Low),
                high: end(Side::High),
                protocol: key.protocol(),
            },
            place: Place {
                namespace,
                ifindex: key.ifindex(),
                vlans: key.vlans(),
            },
            watch,
            initiator: Side::from_number(seen.initiator),
            first_seen_ns: seen.first_seen_ns,
            last_seen_ns: seen.last_seen_ns,
            sent: Some([seen.low.counters(), seen.high.counters()]),
        };
        self.take(now, &part, list);
    }

    /// Hands over what is due: new flows at once, more of known ones after a while, or everything.
    pub fn due(&mut self, now: Now, all: bool, mut each: impl FnMut(Sighting)) {
        let Self { pending, tally, .. } = self;
        pending.retain(|(address, _), part| {
            let waited = now.monotonic_ns.saturating_sub(part.since_ns);
            let is_due = all || part.flows > 0 || waited >= PATIENCE_NS;
            if is_due {
                tally.sightings += 1;
                each(part.message(*address));
            }
            !is_due
        });
        if pending.is_empty() {
            // After a flood.
            pending.shrink_to(1024);
        }
    }

    /// Forgets flows that have been silent for long.
    pub fn expire(&mut self, now: Now) {
        self.flows.retain(|_, known| {
            u128::from(now.monotonic_ns.saturating_sub(known.last_seen_ns)) < self.idle_ns
        });
        if self.flows.is_empty() {
            self.flows.shrink_to(1024);
        }
    }

    /// How many flows are remembered.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// How many sightings wait.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// The running totals.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    fn take(&mut self, now: Now, part: &Part, list: &List) {
        let is_served =
            |side: &Side| part.watch.is_watched(*side) && list.covers(part.tuple.end(*side).0);
        let [low, high] = SIDES.map(|side| is_served(&side));
        if !low && !high {
            return;
        }
        let last_unix_ns = unix_ns(now, part.last_seen_ns);
        let hour = last_unix_ns.div_euclid(HOUR_NS);
        let (counts, is_place) = self.meet(part, hour);
        self.tally.flows += u64::from(counts);
        let sent = part.sent.filter(|_| is_place);
        if !counts && sent.is_none() {
            return;
        }
        // What has gone on from the hour before belongs to this one.
        let first_unix_ns = unix_ns(now, part.first_seen_ns).max(hour * HOUR_NS);
        for (side, _) in SIDES.into_iter().zip([low, high]).filter(|(_, is)| *is) {
            let (address, port) = part.tuple.end(side);
            let (_, local_port) = part.tuple.end(side.other());
            let pending = self.pending.entry((address, hour)).or_insert(Pending {
                since_ns: now.monotonic_ns,
                first_unix_ns,
                last_unix_ns,
                ..Pending::default()
            });
            pending.first_unix_ns = pending.first_unix_ns.min(first_unix_ns);
            pending.last_unix_ns = pending.last_unix_ns.max(last_unix_ns);
            pending.flows += u64::from(counts);
            pending.begun_there += u64::from(counts && part.initiator == side);
            note(&mut pending.ports, port);
            note(&mut pending.local_ports, local_port);
            if let Some(sent) = sent {
                pending.inbound += sent[side as usize];
                pending.outbound += sent[side.other() as usize];
            }
        }
    }

    /// Whether the flow counts now, and whether its packets do here.
    fn meet(&mut self, part: &Part, hour: i64) -> (bool, bool) {
        let is_crowded = self.flows.len() >= self.max_flows;
        match self.flows.entry(part.tuple) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if known.place != part.place {
                    return (false, false);
                }
                known.last_seen_ns = known.last_seen_ns.max(part.last_seen_ns);
                let counts = hour > known.hour;
                known.hour = known.hour.max(hour);
                (counts, true)
            }
            Entry::Vacant(_) if is_crowded => {
                let is_news = part.sent.is_none();
                self.tally.unremembered += u64::from(is_news);
                (is_news, true)
            }
            Entry::Vacant(place) => {
                place.insert(Known {
                    place: part.place,
                    hour,
                    last_seen_ns: part.last_seen_ns,
                });
                (true, true)
            }
        }
    }
}

impl Tuple {
    const fn end(&self, side: Side) -> (IpAddr, u16) {
        match side {
            Side::Low => self.low,
            Side::High => self.high,
        }
    }
}

impl Pending {
    fn message(&self, address: IpAddr) -> Sighting {
        Sighting {
            address: match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            },
            first_at_unix_ns: self.first_unix_ns,
            last_at_unix_ns: self.last_unix_ns,
            flows: self.flows,
            begun_there: self.begun_there,
            inbound_packets: self.inbound.wire_packets,
            inbound_bytes: self.inbound.wire_bytes,
            outbound_packets: self.outbound.wire_packets,
            outbound_bytes: self.outbound.wire_bytes,
            ports: numbers(&self.ports),
            local_ports: numbers(&self.local_ports),
        }
    }
}

fn note(ports: &mut Vec<u16>, port: u16) {
    if port != 0 && ports.len() < MAX_SIGHTING_PORTS && !ports.contains(&port) {
        ports.push(port);
    }
}

fn numbers(ports: &[u16]) -> Vec<u32> {
    let mut numbers: Vec<u32> = ports.iter().map(|port| (*port).into()).collect();
    numbers.sort_unstable();
    numbers
}

/// The wall clock's word for a moment of the monotonic clock.
fn unix_ns(now: Now, monotonic_ns: u64) -> i64 {
    let ago = now.monotonic_ns.saturating_sub(monotonic_ns);
    now.unix_ns
        .saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use netmon_common::flow::{FlowKey4, Sighting as Packet};

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    /// The hour at which the clock begins.
    const HOUR: i64 = 400_000;

    const BOT: [u8; 4] = [192, 0, 2, 7];
    const HOST: [u8; 4] = [198, 18, 0, 1];

    fn now(at_s: u64) -> Now {
        Now {
            monotonic_ns: at_s * SECOND,
            unix_ns: HOUR * HOUR_NS + (at_s * SECOND) as i64,
        }
    }

    fn list() -> List {
        ["192.0.2.0/24".parse().unwrap()].into_iter().collect()
    }

    /// A flow between the two, and the mark that the bot's side has.
    fn key(port: u16, ifindex: u32) -> (FlowKey4, u8) {
        let (key, bot) = FlowKey4::new((BOT, 443), (HOST, port), ifindex, [0; 2], 6);
        (key, 1 << bot as u8)
    }

    fn event(at_s: u64, port: u16, ifindex: u32) -> FlowEvent {
        let (key, watch) = key(port, ifindex);
        let end = |octets: [u8; 4]| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&octets);
            address
        };
        FlowEvent {
            at_ns: at_s * SECOND,
            low: end(key.low),
            high: end(key.high),
            low_port: key.low_port,
            high_port: key.high_port,
            ifindex,
            vlans: [0; 2],
            protocol: 6,
            ip_version: 4,
            kind: 0,
            // The host: it is the higher one.
            initiator: Side::High as u8,
            tcp_flags: 2,
            watch,
            icmp_kind: 0,
            icmp_code: 0,
            reserved: 0,
        }
    }

    /// A packet of 100 octets from the bot, and one of 60 to it.
    fn seen(at_s: u64, port: u16, ifindex: u32) -> (FlowKey, FlowValue) {
        let (key, watch) = key(port, ifindex);
        let packet = |octets| Counters::from_words([1, octets, 1, octets]);
        let at_ns = at_s * SECOND;
        let mut value = FlowValue::first(&Packet::default(), Side::Low, packet(100), at_ns, watch);
        value.absorb(&FlowValue::first(
            &Packet::default(),
            Side::High,
            packet(60),
            at_ns,
            watch,
        ));
        (FlowKey::V4(key), value)
    }

    fn due(sightings: &mut Sightings, at_s: u64) -> Vec<Sighting> {
        let mut all = Vec::new();
        sightings.due(now(at_s), false, |sighting| all.push(sighting));
        all
    }

    fn new() -> Sightings {
        Sightings::new(8, Duration::from_secs(30))
    }

    #[test]
    fn a_new_flow_is_told_of_at_once_and_its_packets_follow() {
        let mut sightings = new();
        sightings.begun(now(1), 0, &event(1, 5000, 3), &list());
        let told = due(&mut sightings, 1);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].address, BOT);
        assert_eq!((told[0].flows, told[0].begun_there), (1, 0));
        assert_eq!(
            (told[0].ports.clone(), told[0].local_ports.clone()),
            (vec![443], vec![5000])
        );
        assert_eq!(told[0].last_at_unix_ns, now(1).unix_ns);

        let (key, value) = seen(3, 5000, 3);
        sightings.drained(now(5), 0, (key, &value), &list());
        assert!(due(&mut sightings, 6).is_empty(), "there may be more");
        let told = due(&mut sightings, 15);
        assert_eq!((told.len(), told[0].flows), (1, 0));
        assert_eq!((told[0].inbound_bytes, told[0].outbound_bytes), (100, 60));
        assert_eq!((told[0].inbound_packets, told[0].outbound_packets), (1, 1));
    }

    #[test]
    fn a_flow_counts_once_on_however_many_interfaces_it_is_seen() {
        let mut sightings = new();
        for ifindex in [3, 4] {
            sightings.begun(now(1), 0, &event(1, 5000, ifindex), &list());
            let (key, value) = seen(1, 5000, ifindex);
            sightings.drained(now(2), 0, (key, &value), &list());
        }
        let told = due(&mut sightings, 2);
        assert_eq!((told.len(), told[0].flows), (1, 1));
        assert_eq!(told[0].inbound_packets, 1);
        assert_eq!(sightings.tally().flows, 1);
    }

    #[test]
    fn flows_of_an_address_are_told_together() {
        let mut sightings = new();
        for port in 5000..5004 {
            sightings.begun(now(1), 0, &event(1, port, 3), &list());
        }
        let told = due(&mut sightings, 1);
        assert_eq!((told.len(), told[0].flows), (1, 4));
        assert_eq!(told[0].local_ports, [5000, 5001, 5002, 5003]);
    }

    #[test]
    fn a_flow_whose_event_was_lost_counts_when_it_is_drained() {
        let mut sightings = new();
        let (key, value) = seen(1, 5000, 3);
        sightings.drained(now(5), 0, (key, &value), &list());
        sightings.begun(now(5), 0, &event(1, 5000, 3), &list());
        let told = due(&mut sightings, 5);
        assert_eq!(
            (told.len(), told[0].flows, told[0].inbound_bytes),
            (1, 1, 100)
        );
    }

    #[test]
    fn a_flow_that_goes_on_into_the_next_hour_counts_there_too() {
        let mut sightings = new();
        sightings.begun(now(3599), 0, &event(3599, 5000, 3), &list());
        let (key, value) = seen(3601, 5000, 3);
        sightings.drained(now(3602), 0, (key, &value), &list());
        let mut told = due(&mut sightings, 3602);
        told.sort_by_key(|sighting| sighting.first_at_unix_ns);
        assert_eq!(told.iter().map(|s| s.flows).collect::<Vec<_>>(), [1, 1]);
        let hours = told.iter().map(|s| s.first_at_unix_ns / HOUR_NS);
        assert_eq!(hours.collect::<Vec<_>>(), [HOUR, HOUR + 1]);
    }

    #[test]
    fn a_flow_is_new_again_after_a_long_silence() {
        let mut sightings = new();
        for (at_s, flows) in [(1, 1), (25, 0), (80, 1)] {
            sightings.expire(now(at_s));
            sightings.begun(now(at_s), 0, &event(at_s, 5000, 3), &list());
            let counted: u64 = due(&mut sightings, at_s).iter().map(|s| s.flows).sum();
            assert_eq!(counted, flows, "{at_s}");
        }
    }

    #[test]
    fn addresses_that_the_server_does_not_have_watched_are_not_told_of() {
        let mut sightings = new();
        let other = ["203.0.113.0/24".parse().unwrap()].into_iter().collect();
        sightings.begun(now(1), 0, &event(1, 5000, 3), &other);
        let unmarked = FlowEvent {
            watch: 0,
            ..event(1, 5000, 3)
        };
        sightings.begun(now(1), 0, &unmarked, &list());
        assert!(due(&mut sightings, 60).is_empty());
    }

    #[test]
    fn flows_that_find_no_place_count_when_the_kernel_tells_of_them() {
        let mut sightings = Sightings::new(1, Duration::from_secs(30));
        for port in 5000..5003 {
            sightings.begun(now(1), 0, &event(1, port, 3), &list());
            let (key, value) = seen(1, port, 3);
            sightings.drained(now(2), 0, (key, &value), &list());
        }
        let told = due(&mut sightings, 2);
        assert_eq!((told[0].flows, told[0].inbound_packets), (3, 3));
        assert_eq!((sightings.flows(), sightings.tally().unremembered), (1, 2));
    }

    #[test]
    fn everything_is_told_at_the_end() {
        let mut sightings = new();
        let (key, value) = seen(1, 5000, 3);
        sightings.drained(now(2), 0, (key, &value), &list());
        due(&mut sightings, 2);
        let (key, value) = seen(3, 5000, 3);
        sightings.drained(now(4), 0, (key, &value), &list());
        let mut last = Vec::new();
        sightings.due(now(4), true, |sighting| last.push(sighting));
        assert_eq!((last.len(), last[0].inbound_packets), (1, 1));
        assert_eq!(sightings.waiting(), 0);
    }
}
