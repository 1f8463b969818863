//! One datagram that crosses several watched interfaces (a bridge and its port, a VLAN device and
//! its parent, two ends of a cable) is one packet.
//!
//! Of a request the last copy counts and of a response the first: both were taken at the capture
//! point nearest to the server, whichever way the host is built, so that the two meet in pairing
//! and no part of the host's own path is in one of them only. For that a request waits until no
//! other copy can come, or until its response is there; packets have been in the ring for longer.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use netmon_common::counters::Direction;

use super::{Packet, Scope};

/// Copies of one datagram pass the hooks of one host within this time.
const WITHIN_NS: u64 = 1_000_000;

/// Most datagrams remembered: within [`WITHIN_NS`] no host sees more. Beyond it the oldest are
/// forgotten early, and a copy of one of these is a packet of its own.
const MAX_REMEMBERED: usize = 4096;

/// Most capture points on one path; a copy at a further one is a copy too.
const MAX_POINTS: usize = 8;

/// Where on the host a packet was seen: a copy is seen elsewhere. The same datagram at the same
/// point again was sent again, by the network or by a program.
type Point = (Scope, Direction);

/// What copies of a datagram have in common. The time to live is not among it: routers lower it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Datagram {
    source: SocketAddr,
    destination: SocketAddr,
    length: u16,
    digest: u64,
}

/// Client and server.
type Path = (SocketAddr, SocketAddr);

#[derive(Debug)]
struct Seen {
    /// Names this sighting: the same datagram may have been seen before.
    number: u64,
    first_at_ns: u64,
    points: Vec<Point>,
    /// A request of which another copy may come.
    held: Option<Packet>,
}

/// Remembers the datagrams of the last moment.
#[derive(Debug, Default)]
pub struct Dedupe {
    seen: HashMap<Datagram, Seen>,
    /// In the order of their first copies.
    order: VecDeque<(u64, u64, Datagram)>,
    /// Requests that are held, by client and server, in their order.
    held: HashMap<Path, VecDeque<Datagram>>,
    next_number: u64,
    copies: u64,
}

impl Datagram {
    fn of(packet: &Packet) -> Self {
        Self {
            source: packet.source,
            destination: packet.destination,
            length: packet.length,
            digest: packet.digest,
        }
    }
}

impl Dedupe {
    /// Packets that were another one seen elsewhere, so far.
    pub fn copies(&self) -> u64 {
        self.copies
    }

    /// Takes a packet; passes on what is complete by then, in the order of first copies.
    pub fn observe(&mut self, packet: Packet, pass: &mut impl FnMut(Packet)) {
        let at_ns = packet.hooked_at_ns;
        self.release(at_ns, pass);
        let datagram = Datagram::of(&packet);
        let point = (packet.scope, packet.direction);
        if let Some(seen) = self.seen.get_mut(&datagram)
            && at_ns.abs_diff(seen.first_at_ns) < WITHIN_NS
            && !seen.points.contains(&point)
        {
            self.copies += 1;
            if seen.points.len() < MAX_POINTS {
                seen.points.push(point);
            }
            if let Some(held) = &mut seen.held {
                *held = packet;
            }
            return;
        }
        if self.order.len() >= MAX_REMEMBERED {
            self.release_oldest(pass);
        }
        let (is_request, path) = (packet.is_request(), packet.ends());
        // Of a response: the request has reached the server, and no copy of it comes any more. One
        // that is late is still recognised. Of a request that was seen at this point before: what
        // is held is a datagram of its own.
        if !is_request || self.seen.contains_key(&datagram) {
            self.release_path(path, pass);
        }
        let number = self.next_number;
        self.next_number += 1;
        self.order.push_back((at_ns, number, datagram));
        let held = if is_request {
            self.held.entry(path).or_default().push_back(datagram);
            Some(packet)
        } else {
            pass(packet);
            None
        };
        let seen = Seen {
            number,
            first_at_ns: at_ns,
            points: vec![point],
            held,
        };
        self.seen.insert(datagram, seen);
    }

    /// Passes on what no copy can come of by `now_ns`.
    pub fn release(&mut self, now_ns: u64, pass: &mut impl FnMut(Packet)) {
        while self
            .order
            .front()
            .is_some_and(|(at_ns, ..)| at_ns.saturating_add(WITHIN_NS) <= now_ns)
        {
            self.release_oldest(pass);
        }
    }

    /// Passes on everything: nothing will come any more.
    pub fn flush(&mut self, pass: &mut impl FnMut(Packet)) {
        while !self.order.is_empty() {
            self.release_oldest(pass);
        }
    }

    fn release_oldest(&mut self, pass: &mut impl FnMut(Packet)) {
        let Some((_, number, datagram)) = self.order.pop_front() else {
            return;
        };
        // Another sighting of the same datagram may have taken its place.
        let Some(seen) = self.seen.get(&datagram) else {
            return;
        };
        if seen.number != number {
            return;
        }
        if seen.held.is_some() {
            // It is the first that is held on its path, since it is the oldest of all.
            self.release_first((datagram.source, datagram.destination), pass);
        }
        self.seen.remove(&datagram);
    }

    /// Passes on what is held between a client and a server.
    fn release_path(&mut self, path: Path, pass: &mut impl FnMut(Packet)) {
        while self.held.contains_key(&path) {
            self.release_first(path, pass);
        }
    }

    fn release_first(&mut self, path: Path, pass: &mut impl FnMut(Packet)) {
        let Some(queue) = self.held.get_mut(&path) else {
            return;
        };
        let first = queue.pop_front();
        if queue.is_empty() {
            self.held.remove(&path);
        }
        if let Some(packet) = first
            .and_then(|datagram| self.seen.get_mut(&datagram))
            .and_then(|seen| seen.held.take())
        {
            pass(packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::ntp::{
        Mode,
        Mode::{Client, Server},
        NtpTimestamp,
    };

    use super::{
        Direction::{Egress, Ingress},
        *,
    };
    use crate::ntp::{Content, packet::example};

    const US: u64 = 1000;
    const PORT: u32 = 2;
    const BRIDGE: u32 = 3;

    fn packet(mode: Mode, at_us: u64, ifindex: u32, direction: Direction, transmit: u64) -> Packet {
        let mut packet = example::packet(mode, at_us * US);
        packet.scope.ifindex = ifindex;
        packet.direction = direction;
        packet.content.header.transmit_timestamp = NtpTimestamp(transmit);
        packet.sealed().decoded()
    }

    fn mode(packet: &Packet) -> Mode {
        match packet.content {
            Content::Time(time) => time.header.mode,
            _ => panic!("not a packet of this test"),
        }
    }

    fn request(at_us: u64, ifindex: u32, direction: Direction) -> Packet {
        packet(Client, at_us, ifindex, direction, 7)
    }

    fn response(at_us: u64, ifindex: u32, direction: Direction) -> Packet {
        packet(Server, at_us, ifindex, direction, 8)
    }

    /// Mode, interface and time (µs) of what passes, and how many copies there were.
    fn passed(packets: impl IntoIterator<Item = Packet>) -> (Vec<(Mode, u32, u64)>, u64) {
        let mut dedupe = Dedupe::default();
        let mut passed = Vec::new();
        let mut pass = |packet: Packet| {
            let at_us = packet.captured_at_ns / US;
            passed.push((mode(&packet), packet.scope.ifindex, at_us));
        };
        for packet in packets {
            dedupe.observe(packet, &mut pass);
        }
        dedupe.flush(&mut pass);
        assert!(dedupe.seen.is_empty() && dedupe.order.is_empty() && dedupe.held.is_empty());
        (passed, dedupe.copies())
    }

    #[test]
    fn a_client_on_the_bridge_is_measured_at_the_port() {
        let packets = [
            request(0, BRIDGE, Egress),
            request(2, PORT, Egress),
            response(200, PORT, Ingress),
            response(202, BRIDGE, Ingress),
        ];
        let expected = vec![(Client, PORT, 2), (Server, PORT, 200)];
        assert_eq!(passed(packets), (expected, 2));
    }

    #[test]
    fn a_server_on_the_bridge_is_measured_at_the_bridge() {
        let packets = [
            request(0, PORT, Ingress),
            request(2, BRIDGE, Ingress),
            response(50, BRIDGE, Egress),
            response(52, PORT, Egress),
        ];
        let expected = vec![(Client, BRIDGE, 2), (Server, BRIDGE, 50)];
        assert_eq!(passed(packets), (expected, 2));
    }

    #[test]
    fn what_a_bridge_forwards_is_measured_at_the_servers_port() {
        let (to_client, to_server) = (PORT, PORT + 10);
        let packets = [
            request(0, to_client, Ingress),
            request(3, to_server, Egress),
            response(5000, to_server, Ingress),
            response(5003, to_client, Egress),
        ];
        let expected = vec![(Client, to_server, 3), (Server, to_server, 5000)];
        assert_eq!(passed(packets), (expected, 2));
    }

    #[test]
    fn a_datagram_sent_again_at_the_same_point_is_another_one() {
        let packets = [request(0, PORT, Egress), request(100, PORT, Egress)];
        let expected = vec![(Client, PORT, 0), (Client, PORT, 100)];
        assert_eq!(passed(packets), (expected, 0));
    }

    #[test]
    fn a_datagram_that_comes_back_by_the_same_interface_is_the_same() {
        let packets = [request(0, PORT, Ingress), request(4, PORT, Egress)];
        assert_eq!(passed(packets), (vec![(Client, PORT, 4)], 1));
    }

    #[test]
    fn a_millisecond_later_it_is_another_datagram() {
        let packets = [request(0, BRIDGE, Egress), request(1000, PORT, Egress)];
        let expected = vec![(Client, BRIDGE, 0), (Client, PORT, 1000)];
        assert_eq!(passed(packets), (expected, 0));
    }

    #[test]
    fn copies_are_known_by_when_they_passed_the_hooks() {
        // Forwarded after it has waited for its first hook, since when the kernel dates it.
        let mut waited = request(5_000, PORT, Ingress);
        waited.captured_at_ns -= 2_000 * US;
        let packets = [waited, request(5_003, PORT + 10, Egress)];
        assert_eq!(passed(packets), (vec![(Client, PORT + 10, 5_003)], 1));
    }

    #[test]
    fn a_copy_after_the_response_is_still_a_copy() {
        let packets = [
            request(0, BRIDGE, Egress),
            response(100, BRIDGE, Ingress),
            request(102, PORT, Egress),
        ];
        let expected = vec![(Client, BRIDGE, 0), (Server, BRIDGE, 100)];
        assert_eq!(passed(packets), (expected, 1));
    }

    #[test]
    fn a_request_is_passed_on_without_another_packet() {
        let mut dedupe = Dedupe::default();
        let mut passed = 0;
        dedupe.observe(request(0, PORT, Egress), &mut |_| passed += 1);
        dedupe.release(999 * US, &mut |_| passed += 1);
        assert_eq!(passed, 0);
        dedupe.release(1000 * US, &mut |_| passed += 1);
        assert_eq!(passed, 1);
    }

    #[test]
    fn a_flood_grows_nothing_and_loses_nothing() {
        let mut dedupe = Dedupe::default();
        let mut passed = 0;
        let count = 3 * MAX_REMEMBERED as u64;
        for number in 0..count {
            let packet = packet(Client, 5, PORT, Ingress, number);
            dedupe.observe(packet, &mut |_| passed += 1);
            assert!(dedupe.order.len() <= MAX_REMEMBERED);
            assert!(dedupe.seen.len() <= MAX_REMEMBERED);
        }
        dedupe.flush(&mut |_| passed += 1);
        assert_eq!(passed, count);
    }
}
