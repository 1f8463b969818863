//! Sightings of a transaction, gathered to a row per node and a row per node and hour.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use netmon_geo::Place;
use time::OffsetDateTime;

use super::Sighting;
use crate::store::partitions::Day;

/// An hour, by which communications are kept.
pub(super) const BUCKET_US: i64 = 3_600_000_000;

/// Ports kept of a communication: the lowest, so that it does not matter which came first.
pub(super) const MAX_PORTS: usize = 16;

/// More than this nobody counts between two reports of a flow; many of them still add up to a number
/// that the database can hold.
const MOST_OF_A_REPORT: u64 = 1 << 47;

/// The rows, each kind in the order of its key: addresses as PostgreSQL orders them (IPv4 first).
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) nodes: Vec<Node>,
    /// Of one node after those of the other.
    pub(super) communications: Vec<Communication>,
    /// Distinct places of the nodes, which name them by their number here.
    pub(super) places: Vec<Place>,
    /// All sightings.
    pub(super) count: i64,
    /// Days of the communications.
    pub(super) days: BTreeSet<Day>,
    /// Whether a sensor measured any of it.
    pub(super) has_traffic: bool,
}

#[derive(Debug, PartialEq)]
pub(super) struct Node {
    pub(super) ip: IpAddr,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
    pub(super) count: i64,
    /// In [`Gathered::places`].
    pub(super) place: u32,
    /// How many communications it has in [`Gathered::communications`].
    pub(super) communications: u32,
}

#[derive(Debug, PartialEq)]
pub(super) struct Communication {
    pub(super) ip: IpAddr,
    pub(super) bucket_us: i64,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
    pub(super) count: i64,
    /// Sorted, distinct.
    pub(super) ports: Ports,
    pub(super) traffic: Option<Sums>,
}

/// What a sensor measured.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) inbound_packets: i64,
    pub(super) inbound_bytes: i64,
    pub(super) outbound_packets: i64,
    pub(super) outbound_bytes: i64,
    pub(super) local_ports: Ports,
}

/// A few ports; of most rows it is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ports(Few);

#[derive(Clone, Debug, Default, PartialEq)]
enum Few {
    #[default]
    None,
    One(i32),
    Many(Vec<i32>),
}

impl Gathered {
    pub(super) fn new(sightings: &[Sighting]) -> Self {
        let mut order: Vec<_> = sightings
            .iter()
            .enumerate()
            .map(|(index, of)| (of.address.to_canonical(), microseconds(of.seen_at), index))
            .collect();
        order.sort_unstable();
        let mut gathered = Self {
            nodes: Vec::with_capacity(order.len()),
            communications: Vec::with_capacity(order.len()),
            ..Self::default()
        };
        let mut places = HashMap::new();
        for (ip, at_us, index) in order {
            let sighting = &sightings[index];
            let is_new = gathered.nodes.last().is_none_or(|node| node.ip != ip);
            if is_new {
                let next = places.len() as u32;
                let place = *places.entry(sighting.place).or_insert(next);
                gathered.nodes.push(Node {
                    ip,
                    first_us: at_us,
                    last_us: at_us,
                    count: 0,
                    place,
                    communications: 0,
                });
            }
            gathered.add(is_new, at_us, sighting);
        }
        let mut of_number = vec![Place::default(); places.len()];
        for (place, number) in places {
            of_number[number as usize] = place;
        }
        gathered.places = of_number;
        gathered
    }

    fn add(&mut self, is_new: bool, at_us: i64, sighting: &Sighting) {
        let Some(node) = self.nodes.last_mut() else {
            return;
        };
        let bucket_us = at_us - at_us.rem_euclid(BUCKET_US);
        let count = i64::from(sighting.count);
        node.count += count;
        node.last_us = at_us;
        self.count += count;
        let last = self.communications.last();
        if is_new || last.is_none_or(|last| last.bucket_us != bucket_us) {
            node.communications += 1;
            self.days.insert(Day::of_microseconds(bucket_us));
            self.communications.push(Communication {
                ip: node.ip,
                bucket_us,
                first_us: at_us,
                last_us: at_us,
                count: 0,
                ports: Ports::default(),
                traffic: None,
            });
        }
        let Some(communication) = self.communications.last_mut() else {
            return;
        };
        communication.count += count;
        communication.last_us = at_us;
        communication.ports.add(sighting.port);
        if let Some(traffic) = &sighting.traffic {
            self.has_traffic = true;
            let sums = communication.traffic.get_or_insert_default();
            let add = |sum: &mut i64, more: u64| *sum += more.min(MOST_OF_A_REPORT) as i64;
            add(&mut sums.inbound_packets, traffic.inbound_packets);
            add(&mut sums.inbound_bytes, traffic.inbound_bytes);
            add(&mut sums.outbound_packets, traffic.outbound_packets);
            add(&mut sums.outbound_bytes, traffic.outbound_bytes);
            sums.local_ports.add(traffic.local_port);
        }
    }
}

impl Ports {
    fn add(&mut self, port: Option<u16>) {
        let Some(port) = port.map(i32::from) else {
            return;
        };
        match &mut self.0 {
            Few::None => self.0 = Few::One(port),
            Few::One(one) if *one == port => {}
            Few::One(one) => self.0 = Few::Many(vec![port.min(*one), port.max(*one)]),
            Few::Many(many) => {
                if let Err(at) = many.binary_search(&port) {
                    many.insert(at, port);
                    many.truncate(MAX_PORTS);
                }
            }
        }
    }

    pub(super) fn as_slice(&self) -> &[i32] {
        match &self.0 {
            Few::None => &[],
            Few::One(one) => std::slice::from_ref(one),
            Few::Many(many) => many,
        }
    }
}

/// Microseconds since 1970, as PostgreSQL keeps times.
pub(super) fn microseconds(at: OffsetDateTime) -> i64 {
    at.unix_timestamp()
        .saturating_mul(1_000_000)
        .saturating_add(i64::from(at.microsecond()))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::store::botnets::Traffic;

    fn seen(address: &str, at: OffsetDateTime, port: Option<u16>) -> Sighting {
        Sighting::new(address.parse().unwrap(), at, port, Place::default())
    }

    #[test]
    fn sightings_are_gathered_by_node_and_hour_in_the_order_of_addresses() {
        let (hour, next) = (
            datetime!(2026-11-21 23:00 UTC),
            datetime!(2026-11-22 0:00 UTC),
        );
        let gathered = Gathered::new(&[
            seen("2001:db8::1", hour, None),
            seen("192.0.2.9", next, Some(80)),
            seen(
                "::ffff:192.0.2.9",
                next - time::Duration::microseconds(1),
                Some(81),
            ),
            seen("192.0.2.9", hour, Some(79)),
            seen("192.0.2.10", hour, None),
        ]);
        let ips: Vec<_> = gathered
            .nodes
            .iter()
            .map(|node| node.ip.to_string())
            .collect();
        assert_eq!(ips, ["192.0.2.9", "192.0.2.10", "2001:db8::1"]);
        let counts: Vec<_> = gathered
            .nodes
            .iter()
            .map(|n| (n.count, n.communications))
            .collect();
        assert_eq!(counts, [(3, 2), (1, 1), (1, 1)]);
        let first = &gathered.communications[0];
        assert_eq!(
            (first.count, first.ports.as_slice()),
            (2, [79, 81].as_slice())
        );
        assert_eq!(first.bucket_us, microseconds(hour));
        assert_eq!(first.last_us, microseconds(next) - 1);
        assert_eq!(gathered.days.len(), 2);
        assert_eq!((gathered.count, gathered.communications.len()), (5, 4));
        assert!(!gathered.has_traffic);
    }

    #[test]
    fn the_lowest_ports_are_kept_whatever_the_order() {
        let mut ports = Ports::default();
        for port in (0..40).rev().chain(5..30) {
            ports.add(Some(port));
        }
        assert_eq!(ports.as_slice(), Vec::from_iter(0..16));
    }

    #[test]
    fn traffic_adds_up_and_what_was_counted_before_counts_nothing() {
        let at = datetime!(2026-11-21 12:00 UTC);
        let traffic = Traffic {
            local_port: Some(443),
            inbound_packets: 2,
            outbound_bytes: u64::MAX,
            ..Traffic::default()
        };
        let sighting = |count| Sighting {
            count,
            traffic: Some(traffic),
            ..seen("192.0.2.1", at, None)
        };
        let gathered = Gathered::new(&[sighting(1), sighting(0)]);
        let sums = gathered.communications[0].traffic.as_ref().unwrap();
        assert_eq!((gathered.count, sums.inbound_packets), (1, 4));
        assert_eq!(sums.outbound_bytes, 1 << 48);
        assert_eq!(sums.local_ports.as_slice(), [443]);
    }

    #[test]
    fn times_before_1970_lie_in_the_hour_that_holds_them() {
        let gathered = Gathered::new(&[seen(
            "192.0.2.1",
            datetime!(1969-12-31 23:59:59.5 UTC),
            None,
        )]);
        assert_eq!(gathered.communications[0].bucket_us, -BUCKET_US);
        assert_eq!(gathered.communications[0].first_us, -500_000);
    }
}
