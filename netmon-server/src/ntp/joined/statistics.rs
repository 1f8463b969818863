//! Delays between two places over many exchanges.

use std::collections::HashMap;

use super::{
    exchange::Joined,
    leg::{Leg, Missing},
    sighting::Place,
};

/// Between two places, of one client's address and one server's. Ports change with every request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pair {
    client: std::net::IpAddr,
    server: std::net::IpAddr,
    from: Place,
    to: Place,
}

/// Exact order statistics of what was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub count: usize,
    pub median: Option<i64>,
    /// 95 of 100 are not above it.
    pub p95: Option<i64>,
}

/// What exchanges between two places come to.
#[derive(Debug)]
pub struct PairStatistics {
    pub client: std::net::IpAddr,
    pub server: std::net::IpAddr,
    pub from: Place,
    pub to: Place,
    /// Nobody was seen between the two.
    pub neighbours: bool,
    /// Seen at both.
    pub exchanges: usize,
    pub forward: Summary,
    pub backward: Summary,
    pub asymmetry: Summary,
    pub round_trip: Summary,
    /// The largest bound of a one-way delay's error; `None`: some had none.
    pub error_ns: Option<u64>,
    /// The server's clock minus the sensor's, as each end measured it.
    pub offset_from: Summary,
    pub offset_to: Summary,
    /// Why one-way delays were missing, and how often, most frequent first.
    pub missing: Vec<(Missing, usize)>,
}

/// Collects legs; holds each value, so whoever adds bounds how many.
#[derive(Debug, Default)]
pub struct Statistics {
    pairs: HashMap<Pair, Values>,
}

#[derive(Debug, Default)]
struct Values {
    neighbours: bool,
    exchanges: usize,
    forward: Vec<i64>,
    backward: Vec<i64>,
    asymmetry: Vec<i64>,
    round_trip: Vec<i64>,
    largest_error_ns: u64,
    error_unknown: bool,
    offset_from: Vec<i64>,
    offset_to: Vec<i64>,
    missing: Vec<(Missing, usize)>,
}

impl Statistics {
    /// Adds what was measured between each two neighbours, and from end to end.
    pub fn add(&mut self, joined: &Joined) {
        let Some(path) = joined.path() else { return };
        for leg in joined.every_leg() {
            let (from, to) = (&joined.sightings[leg.from], &joined.sightings[leg.to]);
            let pair = Pair {
                client: path.client.ip(),
                server: path.server.ip(),
                from: from.place.clone(),
                to: to.place.clone(),
            };
            let values = self.pairs.entry(pair).or_default();
            values.add(leg);
            values.offset_from.extend(from.offset_ns);
            values.offset_to.extend(to.offset_ns);
        }
    }

    /// Every pair, those with the most exchanges first.
    pub fn finish(self) -> Vec<PairStatistics> {
        let mut pairs: Vec<_> = self.pairs.into_iter().collect();
        pairs.sort_by(|(a, of_a), (b, of_b)| {
            let most = of_b.exchanges.cmp(&of_a.exchanges);
            most.then_with(|| a.cmp(b))
        });
        let finished = pairs.into_iter();
        finished.map(|(pair, values)| values.finish(pair)).collect()
    }
}

impl Values {
    fn add(&mut self, leg: &Leg) {
        self.exchanges += 1;
        self.neighbours |= leg.to == leg.from + 1;
        self.forward.extend(leg.forward_ns);
        self.backward.extend(leg.backward_ns);
        self.asymmetry.extend(leg.asymmetry_ns());
        self.round_trip.extend(leg.round_trip_ns);
        if leg.forward_ns.or(leg.backward_ns).is_some() {
            self.error_unknown |= leg.error_ns.is_none();
            self.largest_error_ns = self.largest_error_ns.max(leg.error_ns.unwrap_or(0));
        }
        let Some(missing) = leg.missing else { return };
        match self.missing.iter_mut().find(|(known, _)| *known == missing) {
            Some((_, count)) => *count += 1,
            None => self.missing.push((missing, 1)),
        }
    }

    fn finish(mut self, pair: Pair) -> PairStatistics {
        self.missing
            .sort_by_key(|(missing, count)| (std::cmp::Reverse(*count), missing.name()));
        let measured = !(self.forward.is_empty() && self.backward.is_empty());
        PairStatistics {
            client: pair.client,
            server: pair.server,
            from: pair.from,
            to: pair.to,
            neighbours: self.neighbours,
            exchanges: self.exchanges,
            forward: Summary::of(self.forward),
            backward: Summary::of(self.backward),
            asymmetry: Summary::of(self.asymmetry),
            round_trip: Summary::of(self.round_trip),
            error_ns: (measured && !self.error_unknown).then_some(self.largest_error_ns),
            offset_from: Summary::of(self.offset_from),
            offset_to: Summary::of(self.offset_to),
            missing: self.missing,
        }
    }
}

impl Summary {
    /// By nearest rank: every answer is a value that occurred.
    pub fn of(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let rank = |of_hundred: usize| {
            let rank = (values.len() * of_hundred).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied()
        };
        Self {
            count: values.len(),
            median: rank(50),
            p95: rank(95),
        }
    }
}
