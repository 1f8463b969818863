//! What sightings of one exchange come to.

use super::{
    leg::{Leg, Missing, Trust},
    order::{self, Basis},
    sighting::{Path, Sighting},
};

/// One exchange, from the client's end to the server's.
#[derive(Debug)]
pub struct Joined {
    /// In the order of the way to the server.
    pub sightings: Vec<Sighting>,
    pub ordered_by: Basis,
    /// From each sighting to the next.
    pub legs: Vec<Leg>,
    /// From the first to the last, if others are between.
    pub whole: Option<Leg>,
    pub server_clock: ServerClock,
}

/// How far the server's clock is ahead, as the sensor says that is nearest to it: the rest of the way
/// adds nothing to its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerClock {
    /// The sighting that says so; `None`: none measured an offset.
    pub sighting: Option<usize>,
    pub offset_ns: Option<i64>,
    /// Half of what the rest of the way takes, and what the sensor's clock may be off by. `None`: not
    /// known.
    pub error_ns: Option<u64>,
    /// Why there is none although a sighting has an offset.
    pub missing: Option<Missing>,
}

impl Joined {
    /// Orders sightings of one exchange and measures between them.
    pub fn new(mut sightings: Vec<Sighting>, trust: Trust) -> Self {
        let ordered_by = order::order(&mut sightings);
        let leg = |from: usize, to: usize| {
            Leg::between((from, &sightings[from]), (to, &sightings[to]), trust)
        };
        let last = sightings.len().saturating_sub(1);
        Self {
            ordered_by,
            legs: (0..last).map(|from| leg(from, from + 1)).collect(),
            whole: (last > 1).then(|| leg(0, last)),
            server_clock: ServerClock::new(&sightings, trust),
            sightings,
        }
    }

    /// The client as its own end has it, the server as its end does.
    pub fn path(&self) -> Option<Path> {
        let (first, last) = (self.sightings.first()?, self.sightings.last()?);
        Some(Path {
            client: first.path.client,
            server: last.path.server,
        })
    }

    /// Whether addresses or ports were translated on the way.
    pub fn is_translated(&self) -> bool {
        self.sightings.windows(2).any(|s| s[0].path != s[1].path)
    }

    /// All legs, and the whole.
    pub fn every_leg(&self) -> impl Iterator<Item = &Leg> {
        self.legs.iter().chain(&self.whole)
    }

    /// How much of the offset that a sensor measures is no error of any clock: half of what the way
    /// from there to the sensor nearest to the server is longer than the way back.
    pub fn offset_from_asymmetry_ns(&self, sighting: usize, trust: Trust) -> Option<i64> {
        let nearest = self.server_clock.sighting?;
        if sighting >= nearest {
            return (sighting == nearest).then_some(0);
        }
        let [outer, inner] = [sighting, nearest].map(|number| (number, &self.sightings[number]));
        let leg = Leg::between(outer, inner, trust);
        leg.asymmetry_ns().map(|asymmetry_ns| asymmetry_ns / 2)
    }
}

impl ServerClock {
    fn new(sightings: &[Sighting], trust: Trust) -> Self {
        let measured = |sighting: &Sighting| sighting.offset_ns.is_some();
        let Some(number) = sightings.iter().rposition(measured) else {
            return Self {
                sighting: None,
                offset_ns: None,
                error_ns: None,
                missing: None,
            };
        };
        let nearest = &sightings[number];
        let clock = trust.error_of(nearest);
        Self {
            sighting: Some(number),
            offset_ns: clock.ok().and(nearest.offset_ns),
            error_ns: clock
                .ok()
                .flatten()
                .zip(nearest.offset_error_ns)
                .map(|(clock, path)| clock.saturating_add(path)),
            missing: clock.err(),
        }
    }
}
