//! Processing, network delay and offset, or why there are none.

use netmon_common::ntp::NtpTimestamp;

use super::{Gate, offset};
use crate::ntp::{Association, Exchange, Match, Packet, Time};

/// A server that claims to have worked on a request for longer is not believed (chrony's limit).
const MAX_PROCESSING_NS: i64 = 4_000_000_000;
/// Stamps are quantised and a NIC may stamp early: what is missing this little to 0 is 0.
pub(super) const TOLERANCE_NS: i64 = 50_000;
/// The wall clock ran this much differently from the monotonic one between request and response:
/// it was stepped.
const STEP_NS: u64 = 1_000_000;
/// The timescale of version 5 that is the sensor's.
const UTC: u8 = 0;

/// What T2, T3 and the sensor's stamps give.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) processing_ns: i64,
    pub(super) delay_ns: i64,
    /// Absent where the server's timescale is not UTC.
    pub(super) offset_ns: Option<i64>,
    /// They are those of the exchange before.
    pub(super) of_previous: bool,
}

/// When a request and a response were seen, and when their server says that it had them.
struct Span {
    seen_ns: [u64; 2],
    seen_unix_ns: [i64; 2],
    t2: NtpTimestamp,
    t3: NtpTimestamp,
    of_previous: bool,
}

pub(super) fn times(exchange: &Exchange, association: Option<&Association>) -> Result<Times, Gate> {
    let (Some(request), Some(response)) = (&exchange.request, &exchange.response) else {
        return Err(Gate::NoServerTime);
    };
    let header = &response.content.header;
    if header.is_kiss_of_death() {
        return Err(Gate::KissOfDeath);
    }
    if header.leap == 3 || header.stratum == 0 || header.stratum > 15 {
        return Err(Gate::ServerUnsynchronised);
    }
    if header.receive_timestamp.is_zero() || header.transmit_timestamp.is_zero() {
        return Err(Gate::NoServerTime);
    }
    match exchange.kind {
        Match::Superseded => return Err(Gate::Superseded),
        Match::Late => return Err(Gate::Late),
        Match::Weak => return Err(Gate::Weak),
        _ => {}
    }
    let span = span(exchange.kind, request, response, association)?;
    let elapsed_ns = span.seen_ns[1].wrapping_sub(span.seen_ns[0]) as i64;
    let processing_ns = span.t3.since(span.t2).to_ns();
    // A peer answers when its own poll interval is over.
    let most_ns = if exchange.kind == Match::Symmetric {
        elapsed_ns
    } else {
        MAX_PROCESSING_NS.min(elapsed_ns)
    };
    if !(0..=most_ns.saturating_add(TOLERANCE_NS)).contains(&processing_ns)
        || (exchange.kind != Match::Symmetric && processing_ns > MAX_PROCESSING_NS)
    {
        return Err(Gate::InvalidServerTime);
    }
    let [s1_unix_ns, s4_unix_ns] = span.seen_unix_ns;
    let by_wall_clock_ns = s4_unix_ns.wrapping_sub(s1_unix_ns);
    if by_wall_clock_ns.abs_diff(elapsed_ns) > STEP_NS {
        return Err(Gate::ClockStep);
    }
    let [s1, s4] = span.seen_unix_ns.map(NtpTimestamp::from_unix_ns);
    let is_utc = header.version < 5 || (header.reference_id >> 24) as u8 == UTC;
    Ok(Times {
        processing_ns,
        delay_ns: elapsed_ns - processing_ns,
        offset_ns: is_utc.then(|| offset(s1, span.t2, span.t3, s4)),
        of_previous: span.of_previous,
    })
}

/// In interleaved mode a response's transmit timestamp says when the response left that had the
/// receive timestamp which the request repeats as its origin: it completes that exchange.
fn span(
    kind: Match,
    request: &Packet<Time>,
    response: &Packet<Time>,
    association: Option<&Association>,
) -> Result<Span, Gate> {
    let header = &response.content.header;
    let is_interleaved_v5 = header.version == 5 && header.reference_id & 2 != 0;
    let is_interleaved_peer =
        kind == Match::Symmetric && header.origin_timestamp != request.content.cookie();
    if is_interleaved_v5 || is_interleaved_peer {
        return Err(Gate::Interleaved);
    }
    if kind != Match::Interleaved {
        return Ok(Span {
            seen_ns: [request.captured_at_ns, response.captured_at_ns],
            seen_unix_ns: [request.captured_at_unix_ns, response.captured_at_unix_ns],
            t2: header.receive_timestamp,
            t3: header.transmit_timestamp,
            of_previous: false,
        });
    }
    let named = request.content.header.origin_timestamp;
    let previous = association
        .and_then(|association| association.received_at(named))
        .ok_or(Gate::Interleaved)?;
    Ok(Span {
        seen_ns: previous.seen_ns,
        seen_unix_ns: previous.seen_unix_ns,
        t2: previous.response.receive_timestamp,
        t3: header.transmit_timestamp,
        of_previous: true,
    })
}
