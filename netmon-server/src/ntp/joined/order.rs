//! Where on the path each sighting was: the client's end first.

use std::cmp::Reverse;

use super::sighting::{Sighting, Vantage};

/// What the order is known by, the best evidence first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Agents that are on the client or on the server say so.
    Vantage,
    /// Whoever is nearer to the client waits longer for the answer: durations, which no wall clock
    /// disturbs.
    ResponseTime,
    /// Routers between the two took from the request's TTL.
    Ttl,
    /// The request passed one earlier, or the response later, by clocks that may differ.
    Time,
}

impl Basis {
    /// The name that the API has.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vantage => "vantage",
            Self::ResponseTime => "response_time",
            Self::Ttl => "ttl",
            Self::Time => "time",
        }
    }
}

/// Sorts sightings of one exchange and says what by: the weakest evidence that was needed.
pub fn order(sightings: &mut [Sighting]) -> Basis {
    sightings.sort_by_key(|sighting| sighting.vantage);
    let mut weakest = Basis::Vantage;
    for vantage in [Vantage::Client, Vantage::Transit, Vantage::Server] {
        let begin = sightings.partition_point(|sighting| sighting.vantage < vantage);
        let end = sightings.partition_point(|sighting| sighting.vantage <= vantage);
        if end - begin > 1 {
            weakest = weakest.max(order_alike(&mut sightings[begin..end]));
        }
    }
    weakest
}

/// Sorts those whose agents say the same of where they are. One measure for all of them: two measures
/// mixed would be no order.
fn order_alike(sightings: &mut [Sighting]) -> Basis {
    let requested = |s: &Sighting| s.requested_at_ns.unwrap_or(i64::MAX);
    if sightings.iter().all(|s| s.response_time_ns.is_some()) {
        sightings.sort_by_key(|s| (Reverse(s.response_time_ns), requested(s), s.key));
        return Basis::ResponseTime;
    }
    let ttl = sightings[0].request_ttl;
    let told = sightings.iter().all(|s| s.request_ttl.is_some());
    if told && sightings.iter().any(|s| s.request_ttl != ttl) {
        sightings.sort_by_key(|s| (Reverse(s.request_ttl), requested(s), s.key));
        return Basis::Ttl;
    }
    if sightings.iter().all(|s| s.requested_at_ns.is_some()) {
        sightings.sort_by_key(|s| (requested(s), s.key));
    } else {
        let answered = |s: &Sighting| Reverse(s.answered_at_ns.unwrap_or(i64::MIN));
        sightings.sort_by_key(|s| (answered(s), requested(s), s.key));
    }
    Basis::Time
}
