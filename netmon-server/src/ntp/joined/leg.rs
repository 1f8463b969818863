//! The way between two sensors, each direction by itself.

use super::sighting::{Clock, Sighting};

/// Stamps of two packets may be so far off, whatever the clocks: what a sensor allows itself, too.
const STAMP_ERROR_NS: u64 = 50_000;

/// Whose word counts about clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// What each sensor's kernel says.
    Kernel,
    /// Somebody knows that the clocks are right although no kernel was told: then nobody says by how much
    /// they may be wrong either.
    Assumed,
}

/// Why a one-way delay is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The clock of one of the two is not synchronised.
    SensorUnsynchronised,
    /// One of the two did not say whether it is.
    ClockUnknown,
    /// One of the two was stepped during the exchange.
    ClockStep,
    /// A packet would have arrived before it left, by more than both clocks admit.
    ClocksContradict,
    /// One of the two did not see the request.
    NoRequest,
    /// One of the two did not see the response.
    NoResponse,
}

/// From a sensor to the next one on the way to the server, and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Numbers of the two sightings, the nearer to the client first.
    pub from: usize,
    pub to: usize,
    /// What the request took.
    pub forward_ns: Option<i64>,
    /// What the response took.
    pub backward_ns: Option<i64>,
    /// Each of the two is right within this: what both clocks together may be off by, and at most what
    /// the round trip leaves, since neither way took less than nothing. `None`: not known.
    pub error_ns: Option<u64>,
    /// Both ways together, by monotonic clocks: right whatever the wall clocks say.
    pub round_trip_ns: Option<i64>,
    /// Why the first that is missing is.
    pub missing: Option<Missing>,
}

impl Missing {
    /// The name that the API has.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SensorUnsynchronised => "sensor_unsynchronised",
            Self::ClockUnknown => "clock_unknown",
            Self::ClockStep => "clock_step",
            Self::ClocksContradict => "clocks_contradict",
            Self::NoRequest => "no_request",
            Self::NoResponse => "no_response",
        }
    }
}

impl Trust {
    /// How far the clock of a sensor may be off; `Ok(None)`: nobody says.
    pub fn error_of(self, sighting: &Sighting) -> Result<Option<u64>, Missing> {
        match (sighting.clock, self) {
            (Clock::Synchronised { maximum_error_ns }, _) => Ok(maximum_error_ns),
            (_, Self::Assumed) => Ok(None),
            (Clock::Unsynchronised, Self::Kernel) => Err(Missing::SensorUnsynchronised),
            (Clock::Unknown, Self::Kernel) => Err(Missing::ClockUnknown),
        }
    }

    /// How far two clocks may be apart. Two places of one agent have one clock.
    fn error_between(self, a: &Sighting, b: &Sighting) -> Result<Option<u64>, Missing> {
        if a.place.agent == b.place.agent {
            return Ok(Some(0));
        }
        if a.clock_stepped || b.clock_stepped {
            return Err(Missing::ClockStep);
        }
        let (a, b) = (self.error_of(a)?, self.error_of(b)?);
        Ok(a.zip(b).map(|(a, b)| a.saturating_add(b)))
    }
}

impl Leg {
    /// Between two sightings of one exchange, given with their numbers.
    pub fn between(outer: (usize, &Sighting), inner: (usize, &Sighting), trust: Trust) -> Self {
        let ((from, outer), (to, inner)) = (outer, inner);
        let difference = |later: Option<i64>, earlier: Option<i64>| {
            later.zip(earlier).and_then(|(l, e)| l.checked_sub(e))
        };
        let bare = Self {
            from,
            to,
            forward_ns: None,
            backward_ns: None,
            error_ns: None,
            round_trip_ns: difference(outer.response_time_ns, inner.response_time_ns),
            missing: None,
        };
        let error_ns = match trust.error_between(outer, inner) {
            Ok(error_ns) => error_ns,
            Err(missing) => return bare.without(missing),
        };
        let forward_ns = difference(inner.requested_at_ns, outer.requested_at_ns);
        let backward_ns = difference(outer.answered_at_ns, inner.answered_at_ns);
        let impossible = |ns: Option<i64>| {
            let bound = error_ns.map(|error_ns| error_ns.saturating_add(STAMP_ERROR_NS));
            matches!((ns, bound), (Some(ns), Some(bound)) if ns < 0 && ns.unsigned_abs() > bound)
        };
        if impossible(forward_ns) || impossible(backward_ns) {
            return bare.without(Missing::ClocksContradict);
        }
        let error_ns = error_ns
            .into_iter()
            .chain(bare.left_by_round_trip(forward_ns));
        Self {
            forward_ns,
            backward_ns,
            error_ns: error_ns.min(),
            missing: match (forward_ns, backward_ns) {
                (None, _) => Some(Missing::NoRequest),
                (_, None) => Some(Missing::NoResponse),
                _ => None,
            },
            ..bare
        }
    }

    /// How far the request's way can be from what was measured, since it took something from 0 to the
    /// whole round trip.
    fn left_by_round_trip(&self, forward_ns: Option<i64>) -> Option<u64> {
        let (forward_ns, round_trip_ns) = forward_ns.zip(self.round_trip_ns)?;
        let left_ns = round_trip_ns.abs_diff(forward_ns);
        Some(left_ns.max(forward_ns.unsigned_abs()))
    }

    fn without(self, missing: Missing) -> Self {
        Self {
            missing: Some(missing),
            ..self
        }
    }

    /// What the way there is longer than the way back.
    pub fn asymmetry_ns(&self) -> Option<i64> {
        let (forward, backward) = self.forward_ns.zip(self.backward_ns)?;
        forward.checked_sub(backward)
    }

    /// The asymmetry is right within this: a difference of the clocks is in both directions, once
    /// more and once less.
    pub fn asymmetry_error_ns(&self) -> Option<u64> {
        self.asymmetry_ns().and(self.error_ns)?.checked_mul(2)
    }
}
