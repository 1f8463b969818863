//! What an exchange says about time (RFC 5905 section 8), as seen by the sensor.
//!
//! With T2 and T3 of the server and the sensor's own stamps s1 (request) and s4 (response):
//! processing = T3 − T2, network delay = (s4 − s1) − processing, and the server's clock minus the
//! sensor's = ((T2 − s1) + (T3 − s4)) / 2, right within half the network delay.

mod client;
mod gate;
#[cfg(test)]
mod tests;
mod times;
mod vantage;

use netmon_common::ntp::NtpTimestamp;

pub use self::{
    client::client_view,
    gate::Gate,
    vantage::{Place, Vantage},
};
use self::{
    client::{client_clock, client_to_server, is_time_disclosed},
    times::times,
};
use super::{Association, Exchange, Match};

const S_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * S_NS;

/// Values in ns; absent where they would mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measurement {
    /// From request seen to response seen, monotonic clock.
    pub response_time_ns: Option<i64>,
    /// What the server says it took.
    pub server_processing_ns: Option<i64>,
    /// Sensor to server and back, without the server.
    pub network_delay_ns: Option<i64>,
    /// Server's clock minus sensor's clock.
    pub offset_ns: Option<i64>,
    /// The offset is right within this, whatever the path.
    pub offset_error_ns: Option<u64>,
    /// Server's clock minus client's, as the client measured it.
    pub client_offset_ns: Option<i64>,
    /// There and back without the server, as the client measured it.
    pub client_delay_ns: Option<i64>,
    /// T2 − T1: one-way delay plus the clocks' difference.
    pub client_to_server_ns: Option<i64>,
    /// s4 − T3, likewise.
    pub server_to_sensor_ns: Option<i64>,
    /// T1 − s1, if T1 is a time.
    pub client_clock_ns: Option<i64>,
    /// What the server says that it may be wrong by.
    pub root_distance_ns: Option<u64>,
    /// Where on the path the sensor is.
    pub vantage: Option<Vantage>,
    /// Processing, delay and offset are those of the exchange before.
    pub of_previous: bool,
    /// The client's transmit timestamps are times.
    pub is_time_disclosed: bool,
    /// Next to a UTC midnight that may have had a leap second.
    pub is_leap_second: bool,
    /// Why the first absent value is absent; empty when all are there.
    pub null_reason: &'static str,
    /// Whether it belongs in statistics, and if not why; `None`: nothing was to be measured.
    pub gate: Option<Gate>,
}

/// What is known beside the exchange.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Whether the sensor's wall clock can be trusted.
    pub synchronised: bool,
    /// Where the sensor is.
    pub place: &'a Place,
    /// Of client and server.
    pub association: Option<&'a Association>,
}

impl Measurement {
    /// Offset and network delay, if they belong in statistics.
    pub fn sample(&self) -> Option<(i64, i64)> {
        if self.gate == Some(Gate::Good) {
            self.offset_ns.zip(self.network_delay_ns)
        } else {
            None
        }
    }
}

/// Measures one exchange.
pub fn measure(exchange: &Exchange, around: Surroundings<'_>) -> Measurement {
    let floor_ns = around.association.and_then(Association::delay_floor_ns);
    let vantage_at = |floor_ns| around.place.vantage(exchange, floor_ns);
    let vantage = vantage_at(floor_ns);
    let nothing = Measurement {
        vantage,
        null_reason: exchange.kind.name(),
        ..Measurement::default()
    };
    match (exchange.kind, &exchange.request, &exchange.response) {
        (Match::Broadcast, _, Some(response)) => {
            let header = &response.content.header;
            let sent = header.transmit_timestamp;
            let is_time = header.leap != 3 && (1..=15).contains(&header.stratum) && !sent.is_zero();
            Measurement {
                server_to_sensor_ns: is_time.then(|| response.stamp().since(sent).to_ns()),
                root_distance_ns: root_distance(exchange),
                ..nothing
            }
        }
        (kind, Some(request), Some(response)) if kind.is_answered() || kind == Match::Symmetric => {
            let elapsed_ns = response.captured_at_ns.wrapping_sub(request.captured_at_ns) as i64;
            let measured = Measurement {
                response_time_ns: (kind != Match::Symmetric).then_some(elapsed_ns),
                client_clock_ns: client_clock(request, around.association),
                is_time_disclosed: is_time_disclosed(request, around.association),
                root_distance_ns: root_distance(exchange),
                null_reason: "",
                ..nothing
            };
            let times = match times(exchange, around.association) {
                Ok(times) => times,
                Err(gate) => {
                    return Measurement {
                        null_reason: gate.name(),
                        gate: Some(gate),
                        ..measured
                    };
                }
            };
            let nearest_ns =
                floor_ns.map_or(times.delay_ns, |floor_ns| floor_ns.min(times.delay_ns));
            let to_server = client_to_server(exchange, &times, around.synchronised);
            let is_client = around
                .place
                .is_clock_of(exchange.client.ip(), Vantage::Client);
            let sent = response.content.header.transmit_timestamp;
            Measurement {
                vantage: match kind {
                    Match::Symmetric => vantage,
                    _ => vantage_at(Some(nearest_ns)),
                },
                server_processing_ns: Some(times.processing_ns),
                network_delay_ns: Some(times.delay_ns),
                offset_ns: times.offset_ns,
                offset_error_ns: times
                    .offset_ns
                    .map(|_| u64::try_from(times.delay_ns / 2).unwrap_or(0)),
                client_offset_ns: times.offset_ns.filter(|_| is_client),
                client_delay_ns: is_client.then_some(times.delay_ns),
                client_to_server_ns: to_server.ok(),
                server_to_sensor_ns: (times.offset_ns.is_some() && !times.of_previous)
                    .then(|| response.stamp().since(sent).to_ns()),
                of_previous: times.of_previous,
                is_leap_second: is_leap_second(exchange, times.offset_ns, around.association),
                null_reason: match times.offset_ns {
                    None => Gate::Timescale.name(),
                    Some(_) => to_server.err().unwrap_or(""),
                },
                gate: Some(Gate::of(&times, &response.content.header)),
                ..measured
            }
        }
        _ => nothing,
    }
}

fn root_distance(exchange: &Exchange) -> Option<u64> {
    let header = &exchange.response.as_ref()?.content.header;
    let is_clock = header.leap != 3 && (1..=15).contains(&header.stratum);
    is_clock.then(|| header.root_distance_ns())
}

/// Within a second of a UTC midnight, where the server announces a leap second or its offset has
/// jumped by one: clocks that repeat or skip a second are not wrong then.
fn is_leap_second(
    exchange: &Exchange,
    offset_ns: Option<i64>,
    association: Option<&Association>,
) -> bool {
    let Some(response) = &exchange.response else {
        return false;
    };
    let of_day_ns = response.captured_at_unix_ns.rem_euclid(DAY_NS);
    if of_day_ns.min(DAY_NS - of_day_ns) > S_NS {
        return false;
    }
    let usual_ns = association.and_then(Association::filtered_offset_ns);
    let jump_ns = offset_ns
        .zip(usual_ns)
        .map(|(now, usual)| now.abs_diff(usual));
    let is_announced = matches!(response.content.header.leap, 1 | 2);
    is_announced || jump_ns.is_some_and(|jump| jump.abs_diff(S_NS as u64) < S_NS as u64 / 10)
}

/// Half of the sum of two differences, ns: in raw units, so that nothing overflows and nothing is
/// rounded twice.
fn offset(t1: NtpTimestamp, t2: NtpTimestamp, t3: NtpTimestamp, t4: NtpTimestamp) -> i64 {
    let twice = i128::from(t2.since(t1).0) + i128::from(t3.since(t4).0);
    ((twice * 1_000_000_000) >> 33) as i64
}
