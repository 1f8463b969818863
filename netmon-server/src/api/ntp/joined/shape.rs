//! Joined exchanges as the API shows them.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::columns::{Address, Agent, NtpTimestamp, UnixNanoseconds},
    ntp::joined::{Basis, Clock, Group, Joined, Leg, Missing, Sighting, Trust, Vantage},
};

/// One exchange with all its sightings, from the client's end to the server's.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpJoinedExchange)]
pub struct JoinedExchange {
    /// As it is called nearest to the client.
    #[schema(inline)]
    client: Address,
    client_port: u16,
    /// As it is called nearest to the server.
    #[schema(inline)]
    server: Address,
    server_port: u16,
    /// Whether addresses or ports differ between sightings.
    translated: bool,
    #[schema(inline)]
    request_transmit_timestamp: NtpTimestamp,
    /// The server's own, of a sighting that has the response.
    #[schema(inline)]
    receive_timestamp: Option<NtpTimestamp>,
    #[schema(inline)]
    transmit_timestamp: Option<NtpTimestamp>,
    /// From receive to transmit timestamp, by the server's clock: the same wherever it is seen.
    server_processing_ns: Option<i64>,
    /// What the order is known by, the weakest evidence that was needed: `vantage`, `response_time`, `ttl`
    /// or `time`.
    ordered_by: &'static str,
    sightings: Vec<SightingShape>,
    /// From each sighting to the next.
    legs: Vec<LegShape>,
    /// From the first sighting to the last, if there are others between.
    whole: Option<LegShape>,
    server_clock: ServerClockShape,
}

/// One exchange at one place.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpSighting)]
struct SightingShape {
    #[schema(inline)]
    agent: Agent,
    agent_alias: String,
    interface: String,
    vlan: i32,
    inner_vlan: i32,
    /// Where the sensor is: `client`, `server` or `transit`.
    vantage: &'static str,
    /// How request and response fit together here.
    r#match: String,
    #[schema(inline)]
    client: Address,
    client_port: u16,
    #[schema(inline)]
    server: Address,
    server_port: u16,
    /// By the sensor's clock; null if the request was not seen.
    #[schema(inline)]
    requested_at: Option<UnixNanoseconds>,
    #[schema(inline)]
    answered_at: Option<UnixNanoseconds>,
    response_time_ns: Option<i64>,
    /// How far the server's clock seems to be ahead of the sensor's.
    offset_ns: Option<i64>,
    /// How much of it is only because the way from here to the sensor nearest to the server is longer
    /// than the way back, or shorter: half the difference.
    offset_from_asymmetry_ns: Option<i64>,
    clock_synchronised: Option<bool>,
    /// What the kernel said that the sensor's clock is off by at most.
    clock_maximum_error_ns: Option<u64>,
}

/// The way from a sensor to another that is nearer to the server, and back.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpLeg)]
struct LegShape {
    /// Number of the sighting nearer to the client, from 0 on.
    from: usize,
    /// Number of the sighting nearer to the server.
    to: usize,
    /// What the request took.
    forward_ns: Option<i64>,
    /// What the response took.
    backward_ns: Option<i64>,
    /// Both are right within this: the sum of what the two clocks may be off by, at most what the round
    /// trip leaves. Null: not known.
    error_ns: Option<u64>,
    /// What the way there is longer.
    asymmetry_ns: Option<i64>,
    asymmetry_error_ns: Option<u64>,
    /// Both together, by monotonic clocks: right also where the clocks are not.
    round_trip_ns: Option<i64>,
    /// Why the first that is null is: `sensor_unsynchronised`, `clock_unknown`, `clock_step`,
    /// `clocks_contradict`, `no_request` or `no_response`.
    null_reason: Option<&'static str>,
}

/// The server's clock against that of the sensor nearest to it.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpServerClock)]
struct ServerClockShape {
    /// Number of that sighting; null: none measured an offset.
    sighting: Option<usize>,
    /// How far the server's clock is ahead.
    offset_ns: Option<i64>,
    /// It is right within this: half the delay from there to the server, and what the sensor's clock may
    /// be off by.
    error_ns: Option<u64>,
    /// Why the offset is null although a sensor measured one.
    null_reason: Option<&'static str>,
}

impl JoinedExchange {
    /// What a group of sightings says.
    pub fn new(group: Group, trust: Trust, aliases: &HashMap<i64, String>) -> Self {
        let joined = Joined::new(group.sightings, trust);
        let path = joined.path().expect("a group has a sighting");
        let answered = |s: &&Sighting| s.transmit_timestamp != 0;
        let answered = joined.sightings.iter().find(answered);
        let sightings = joined.sightings.iter().enumerate();
        let sightings = sightings.map(|(number, sighting)| {
            let asymmetry = joined.offset_from_asymmetry_ns(number, trust);
            SightingShape::new(sighting, asymmetry, aliases)
        });
        Self {
            client: Address(path.client.ip().into()),
            client_port: path.client.port(),
            server: Address(path.server.ip().into()),
            server_port: path.server.port(),
            translated: joined.is_translated(),
            request_transmit_timestamp: timestamp(joined.sightings[0].cookie),
            receive_timestamp: answered.map(|s| timestamp(s.receive_timestamp)),
            transmit_timestamp: answered.map(|s| timestamp(s.transmit_timestamp)),
            server_processing_ns: joined.sightings.iter().find_map(|s| s.server_processing_ns),
            ordered_by: Basis::name(joined.ordered_by),
            sightings: sightings.collect(),
            legs: joined.legs.iter().map(LegShape::from).collect(),
            whole: joined.whole.as_ref().map(LegShape::from),
            server_clock: ServerClockShape {
                sighting: joined.server_clock.sighting,
                offset_ns: joined.server_clock.offset_ns,
                error_ns: joined.server_clock.error_ns,
                null_reason: joined.server_clock.missing.map(Missing::name),
            },
        }
    }
}

impl SightingShape {
    fn new(sighting: &Sighting, asymmetry: Option<i64>, aliases: &HashMap<i64, String>) -> Self {
        let place = &sighting.place;
        let (clock_synchronised, clock_maximum_error_ns) = match sighting.clock {
            Clock::Unknown => (None, None),
            Clock::Unsynchronised => (Some(false), None),
            Clock::Synchronised { maximum_error_ns } => (Some(true), maximum_error_ns),
        };
        Self {
            agent: Agent(place.agent),
            agent_alias: aliases.get(&place.agent).cloned().unwrap_or_default(),
            interface: place.interface.clone(),
            vlan: place.vlans.0,
            inner_vlan: place.vlans.1,
            vantage: match sighting.vantage {
                Vantage::Client => "client",
                Vantage::Transit => "transit",
                Vantage::Server => "server",
            },
            r#match: sighting.matched.clone(),
            client: Address(sighting.path.client.ip().into()),
            client_port: sighting.path.client.port(),
            server: Address(sighting.path.server.ip().into()),
            server_port: sighting.path.server.port(),
            requested_at: sighting.requested_at_ns.map(UnixNanoseconds),
            answered_at: sighting.answered_at_ns.map(UnixNanoseconds),
            response_time_ns: sighting.response_time_ns,
            offset_ns: sighting.offset_ns,
            offset_from_asymmetry_ns: asymmetry,
            clock_synchronised,
            clock_maximum_error_ns,
        }
    }
}

impl From<&Leg> for LegShape {
    fn from(leg: &Leg) -> Self {
        Self {
            from: leg.from,
            to: leg.to,
            forward_ns: leg.forward_ns,
            backward_ns: leg.backward_ns,
            error_ns: leg.error_ns,
            asymmetry_ns: leg.asymmetry_ns(),
            asymmetry_error_ns: leg.asymmetry_error_ns(),
            round_trip_ns: leg.round_trip_ns,
            null_reason: leg.missing.map(Missing::name),
        }
    }
}

fn timestamp(raw: u64) -> NtpTimestamp {
    NtpTimestamp(raw.cast_signed())
}
