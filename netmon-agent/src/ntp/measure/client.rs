//! What the client's own timestamps say, where they are times.

use netmon_common::ntp::{Header, NtpTimestamp};

use super::{
    DAY_NS, offset,
    times::{TOLERANCE_NS, Times},
};
use crate::ntp::{
    Association, Exchange, Packet, Time,
    association::{ClientView, Previous},
};

/// A request's transmit timestamp nearer to the sensor's clock than this is a time, not a cookie.
/// A client whose clock is further off has none to speak of, and random cookies hit so small a
/// window once in two billion.
const DISCLOSED_WITHIN_NS: i64 = 1_000_000_000;
/// A server or a path that takes longer is none.
const MAX_DELAY_NS: i64 = 16_000_000_000;
const MAX_PROCESSING_NS: i64 = 4_000_000_000;

/// T1 minus the sensor's stamp.
fn from_sensor_ns(request: &Packet<Time>) -> i64 {
    let t1 = request.content.header.transmit_timestamp;
    t1.since(request.stamp()).to_ns()
}

fn is_near(request: &Packet<Time>) -> bool {
    let header = &request.content.header;
    header.version < 5
        && !header.transmit_timestamp.is_zero()
        && from_sensor_ns(request).abs() <= DISCLOSED_WITHIN_NS
}

/// The client's clock minus the sensor's, if its transmit timestamps are times.
pub(super) fn client_clock(
    request: &Packet<Time>,
    association: Option<&Association>,
) -> Option<i64> {
    let is_time = is_near(request) || is_time_disclosed(request, association);
    is_time.then(|| from_sensor_ns(request))
}

/// Whether the client's transmit timestamps are times, this one among them: behind the same address
/// another program may send random numbers.
pub(super) fn is_time_disclosed(request: &Packet<Time>, association: Option<&Association>) -> bool {
    association.is_some_and(Association::discloses_time)
        && !request.content.header.transmit_timestamp.is_zero()
        && from_sensor_ns(request).abs() < DAY_NS
}

/// T2 − T1, or why it would mean nothing.
pub(super) fn client_to_server(
    exchange: &Exchange,
    times: &Times,
    synchronised: bool,
) -> Result<i64, &'static str> {
    let (Some(request), Some(response)) = (&exchange.request, &exchange.response) else {
        return Err("unanswered");
    };
    let t1 = request.content.header.transmit_timestamp;
    if times.of_previous {
        Err("interleaved")
    } else if !is_near(request) {
        Err("client_cookie")
    } else if request.content.header.leap == 3 {
        Err("client_unsynchronised")
    } else if !synchronised {
        Err("sensor_unsynchronised")
    } else {
        let t2 = response.content.header.receive_timestamp;
        Ok(t2.since(t1).to_ns())
    }
}

/// A client that discloses its timestamps repeats in its next request when the response before it
/// left (T3) and arrived (T4): then the whole of its own measurement is known, wherever the sensor
/// is.
pub fn client_view(exchange: &Previous, next: &Header) -> Option<ClientView> {
    let response = &exchange.response;
    let (t1, t4) = (exchange.t1, next.receive_timestamp);
    let (t2, t3) = (response.receive_timestamp, response.transmit_timestamp);
    let is_repeated = next.version < 5 && response.version < 5 && next.origin_timestamp == t3;
    let is_clock = response.leap != 3 && (1..=15).contains(&response.stratum);
    if !is_repeated || !is_clock || [t1, t2, t3, t4].iter().any(|t| t.is_zero()) {
        return None;
    }
    let delay_ns = delay(t1, t2, t3, t4)?;
    Some(ClientView {
        requested_at_unix_ns: exchange.seen_unix_ns[0],
        offset_ns: offset(t1, t2, t3, t4),
        delay_ns,
    })
}

fn delay(t1: NtpTimestamp, t2: NtpTimestamp, t3: NtpTimestamp, t4: NtpTimestamp) -> Option<i64> {
    let processing_ns = t3.since(t2).to_ns();
    let delay_ns = t4.since(t1).to_ns().checked_sub(processing_ns)?;
    let is_sane = (0..=MAX_PROCESSING_NS).contains(&processing_ns)
        && (-TOLERANCE_NS..=MAX_DELAY_NS).contains(&delay_ns);
    is_sane.then_some(delay_ns)
}
