//! The columns of an exchange, and its row for COPY.

use netmon_common::wire::{ClockState, NtpPacket};

use super::{Checked, bits, match_name};
use crate::store::{copy::CopyBuffer, rows::Origin, target::Target};

/// The table, and its columns as [`row`] writes them.
pub(in crate::store) const TARGET: Target = Target {
    table: "ntp_exchanges",
    columns: "agent_id, at, epoch, sequence, ordinal, interface, vlan, inner_vlan, match, client, \
              client_port, server, server_port, requested_at_ns, answered_at_ns, request_version, \
              version, mode, leap, stratum, poll, \"precision\", root_delay, root_dispersion, \
              reference_id, reference_timestamp, origin_timestamp, receive_timestamp, \
              transmit_timestamp, request_transmit_timestamp, request_length, response_length, \
              request_ttl, response_ttl, response_time_ns, server_processing_ns, \
              network_delay_ns, offset_ns, client_to_server_ns, null_reason, clock_synchronised, \
              vantage, offset_error_ns, client_offset_ns, client_delay_ns, kiss_code, answered_from, \
              answered_from_port, nts, request_extensions, response_extensions, flags, \
              root_distance_ns, client_clock_ns, server_to_sensor_ns, refusal_type, refusal_code, \
              refused_by, view_requested_at_ns, view_offset_ns, view_delay_ns, request_mac_length, \
              response_mac_length, request_key_id, response_key_id, crypto_nak, clock_maximum_error_ns",
    key: "agent_id, at, epoch, sequence, ordinal",
};
const COLUMNS: i16 = 67;

pub(super) fn row(
    out: &mut CopyBuffer,
    origin: Origin,
    ordinal: i32,
    checked: &Checked<'_>,
    clock: Option<ClockState>,
) {
    let exchange = checked.exchange;
    let (request, response) = (exchange.request.as_ref(), exchange.response.as_ref());
    let seen = |ns: i64| (ns != 0).then_some(ns);

    out.row(COLUMNS);
    out.int8(origin.key.agent);
    out.timestamp(checked.at_us);
    out.int8(origin.key.epoch);
    out.int8(origin.key.sequence);
    out.int4(ordinal);
    out.text(&exchange.interface);
    out.int4(exchange.vlan as i32);
    out.int4(exchange.inner_vlan as i32);
    out.text(match_name(checked.matched));
    out.inet(checked.client);
    out.int4(exchange.client_port as i32);
    out.inet(checked.server);
    out.int4(exchange.server_port as i32);
    out.optional(seen(exchange.requested_at_unix_ns), CopyBuffer::int8);
    out.optional(seen(exchange.answered_at_unix_ns), CopyBuffer::int8);
    header(out, request, response);
    out.optional(exchange.response_time_ns, CopyBuffer::int8);
    out.optional(exchange.server_processing_ns, CopyBuffer::int8);
    out.optional(exchange.network_delay_ns, CopyBuffer::int8);
    out.optional(exchange.offset_ns, CopyBuffer::int8);
    out.optional(exchange.client_to_server_ns, CopyBuffer::int8);
    let reason = Some(exchange.null_reason.as_str()).filter(|reason| !reason.is_empty());
    out.optional(reason, CopyBuffer::text);
    out.optional(clock.map(|clock| clock.synchronised), CopyBuffer::bool);
    judgement(out, checked);
    trailer(out, request, response);
    let error_us = clock.map(|clock| i64::try_from(clock.maximum_error_us).unwrap_or(i64::MAX));
    let error_ns = error_us.map(|error_us| error_us.saturating_mul(1000));
    out.optional(error_ns, CopyBuffer::int8);
}

/// What stood in the headers; the response's unless it is named after the request.
fn header(out: &mut CopyBuffer, request: Option<&NtpPacket>, response: Option<&NtpPacket>) {
    out.optional(request.map(|p| p.version as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.version as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.mode as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.leap as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.stratum as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.poll as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.precision as i16), CopyBuffer::int2);
    for value in [
        response.map(|p| p.root_delay.into()),
        response.map(|p| p.root_dispersion.into()),
        response.map(|p| p.reference_id.into()),
        response.map(|p| bits(p.reference_timestamp)),
        response.map(|p| bits(p.origin_timestamp)),
        response.map(|p| bits(p.receive_timestamp)),
        response.map(|p| bits(p.transmit_timestamp)),
        request.map(|p| bits(p.transmit_timestamp)),
    ] {
        out.optional(value, CopyBuffer::int8);
    }
    out.optional(request.map(|p| p.length as i32), CopyBuffer::int4);
    out.optional(response.map(|p| p.length as i32), CopyBuffer::int4);
    out.optional(request.map(|p| p.ttl as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.ttl as i16), CopyBuffer::int2);
}

/// What the sensor makes of it.
fn judgement(out: &mut CopyBuffer, checked: &Checked<'_>) {
    let exchange = checked.exchange;
    let unsigned = |value: Option<u64>| value.map(u64::cast_signed);
    out.optional(checked.vantage, CopyBuffer::text);
    out.optional(unsigned(exchange.offset_error_ns), CopyBuffer::int8);
    out.optional(exchange.client_offset_ns, CopyBuffer::int8);
    out.optional(exchange.client_delay_ns, CopyBuffer::int8);
    let kiss = Some(exchange.kiss_code.as_str()).filter(|code| !code.is_empty());
    out.optional(kiss, CopyBuffer::text);
    out.optional(checked.answered_from, CopyBuffer::inet);
    let port = checked.answered_from.map(|_| exchange.answered_from_port);
    out.optional(port.map(|port| port as i32), CopyBuffer::int4);
    out.bool(exchange.nts);
    for types in [&exchange.request_extensions, &exchange.response_extensions] {
        match types.is_empty() {
            true => out.null(),
            false => out.int4_array(types.iter().map(|kind| *kind as i32)),
        }
    }
    out.int4(exchange.flags as i32);
    out.optional(unsigned(exchange.root_distance_ns), CopyBuffer::int8);
    out.optional(exchange.client_clock_ns, CopyBuffer::int8);
    out.optional(exchange.server_to_sensor_ns, CopyBuffer::int8);
    let refusal = exchange.refusal.as_ref();
    out.optional(refusal.map(|r| r.icmp_type as i16), CopyBuffer::int2);
    out.optional(refusal.map(|r| r.icmp_code as i16), CopyBuffer::int2);
    out.optional(checked.refused_by, CopyBuffer::inet);
    let view = exchange.client_view.as_ref();
    out.optional(view.map(|v| v.requested_at_unix_ns), CopyBuffer::int8);
    out.optional(view.map(|v| v.offset_ns), CopyBuffer::int8);
    out.optional(view.map(|v| v.delay_ns), CopyBuffer::int8);
}

/// What stood behind the headers.
fn trailer(out: &mut CopyBuffer, request: Option<&NtpPacket>, response: Option<&NtpPacket>) {
    for packet in [request, response] {
        let length = packet.and_then(|p| p.mac_length);
        out.optional(length.map(|length| length as i32), CopyBuffer::int4);
    }
    for packet in [request, response] {
        let key = packet.and_then(|p| p.key_id);
        out.optional(key.map(i64::from), CopyBuffer::int8);
    }
    out.optional(response.map(|p| p.crypto_nak), CopyBuffer::bool);
}
