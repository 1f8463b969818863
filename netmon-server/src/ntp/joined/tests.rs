//! Paths whose delays and clocks are known, and what sensors on them see.

mod groups;
mod legs;
mod recorded;
mod statistics;

use super::{Clock, Kind, Path, Place, Sighting, Vantage, group};

/// Microseconds.
const TOLERANCE_US: u64 = 5_000_000;

/// When the client asks, by the true time, nanoseconds since 1970.
const ASKED_NS: i64 = 1_795_168_800_000_000_000;
const MS: i64 = 1_000_000;

/// A sensor on the way, and the clock that it reads.
#[derive(Clone, Copy)]
struct Sensor {
    agent: i64,
    interface: &'static str,
    vantage: Vantage,
    /// What the way from the client takes, and the way back to it.
    from_client_ns: i64,
    to_client_ns: i64,
    /// How far its clock is ahead.
    ahead_ns: i64,
    clock: Clock,
}

const KEPT: Clock = Clock::Synchronised {
    maximum_error_ns: Some(100_000),
};

/// At the client, in the middle of a path of 3 ms there and 7 ms back, and at the server.
const CLIENT: Sensor = Sensor {
    agent: 1,
    interface: "eth0",
    vantage: Vantage::Client,
    from_client_ns: 0,
    to_client_ns: 0,
    ahead_ns: 0,
    clock: KEPT,
};
const MIDDLE: Sensor = Sensor {
    agent: 2,
    vantage: Vantage::Transit,
    from_client_ns: MS,
    to_client_ns: 2 * MS,
    ..CLIENT
};
const SERVER: Sensor = Sensor {
    agent: 3,
    vantage: Vantage::Server,
    from_client_ns: 3 * MS,
    to_client_ns: 7 * MS,
    ..CLIENT
};

/// What a request and its answer are, whoever sees them.
#[derive(Clone, Copy)]
struct Asked {
    at_ns: i64,
    cookie: u64,
    path: Path,
    /// How far the server's clock is ahead.
    server_ahead_ns: i64,
    processing_ns: i64,
}

fn path() -> Path {
    Path {
        client: "192.0.2.1:40000".parse().unwrap(),
        server: "192.0.2.123:123".parse().unwrap(),
    }
}

fn asked() -> Asked {
    Asked {
        at_ns: ASKED_NS,
        cookie: 0x1234_5678_9abc_def0,
        path: path(),
        server_ahead_ns: 0,
        processing_ns: 50_000,
    }
}

impl Sensor {
    fn sees(self, asked: Asked) -> Sighting {
        let arrived_ns = asked.at_ns + 3 * MS;
        let requested_ns = asked.at_ns + self.from_client_ns + self.ahead_ns;
        let left_ns = arrived_ns + asked.processing_ns;
        let answered_ns = left_ns + 7 * MS - self.to_client_ns + self.ahead_ns;
        let (t2, t3) = (
            arrived_ns + asked.server_ahead_ns,
            left_ns + asked.server_ahead_ns,
        );
        let delay_ns = answered_ns - requested_ns - asked.processing_ns;
        Sighting {
            key: (requested_ns / 1000, self.agent, 1, 1, 0),
            place: Place {
                agent: self.agent,
                interface: self.interface.to_owned(),
                vlans: (0, 0),
            },
            path: asked.path,
            matched: "basic".to_owned(),
            vantage: self.vantage,
            clock: self.clock,
            requested_at_ns: Some(requested_ns),
            answered_at_ns: Some(answered_ns),
            cookie: asked.cookie,
            receive_timestamp: t2 as u64,
            transmit_timestamp: t3 as u64,
            response_time_ns: Some(answered_ns - requested_ns),
            server_processing_ns: Some(asked.processing_ns),
            offset_ns: Some(i64::midpoint(t2 - requested_ns, t3 - answered_ns)),
            offset_error_ns: Some(delay_ns.unsigned_abs() / 2),
            clock_stepped: false,
            request_ttl: Some(64),
        }
    }

    /// The same, but the answer never came here.
    fn waits(self, asked: Asked) -> Sighting {
        Sighting {
            matched: "unanswered".to_owned(),
            answered_at_ns: None,
            receive_timestamp: 0,
            transmit_timestamp: 0,
            response_time_ns: None,
            server_processing_ns: None,
            offset_ns: None,
            offset_error_ns: None,
            ..self.sees(asked)
        }
    }
}

/// Numbers of agents in each group, by kind and time.
fn grouped(sightings: Vec<Sighting>) -> Vec<(Kind, Vec<i64>)> {
    let mut groups = group(sightings, TOLERANCE_US);
    groups.sort_by_key(|group| std::cmp::Reverse(group.newest()));
    groups
        .iter()
        .map(|group| {
            let mut agents: Vec<_> = group.sightings.iter().map(|s| s.place.agent).collect();
            agents.sort_unstable();
            (group.kind, agents)
        })
        .collect()
}
