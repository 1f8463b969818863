//! NTP modes 6 and 7: one row per question with its answer, or per answer that nobody asked for.

use netmon_common::wire::NtpControl;

use super::{
    Invalid, Series,
    copy::CopyBuffer,
    exchanges::{addresses, moments, vantage_name},
    interfaces,
    invalid::{at_most, fit},
    observed::Observed,
    rows::{Origin, Rows},
    target::Target,
};

/// The table, and its columns as [`encode`] writes them.
pub(super) const TARGET: Target = Target {
    table: "ntp_control",
    columns: "agent_id, at, epoch, sequence, ordinal, interface, vlan, inner_vlan, client, \
              client_port, server, server_port, mode, version, opcode, message_sequence, subject, \
              requested_at_ns, answered_at_ns, ended_at_ns, request_packets, request_octets, \
              response_packets, response_octets, error, status, items, complete, authenticated, \
              response_time_ns, vantage",
    key: "agent_id, at, epoch, sequence, ordinal",
};
const COLUMNS: i16 = 31;

/// Appends every message, or names the first that is invalid.
pub(super) fn encode(
    rows: &mut Rows,
    origin: Origin,
    controls: &[NtpControl],
) -> Result<(), Invalid> {
    for (ordinal, control) in controls.iter().enumerate() {
        let at_us = row(
            rows.buffer(Series::Controls),
            origin,
            ordinal as i32,
            control,
        )
        .map_err(|invalid| invalid.within(format_args!("ntp_controls[{ordinal}]")))?;
        rows.touch(Series::Controls, at_us, at_us);
        rows.observe(Observed::control(control));
    }
    Ok(())
}

/// Checks and appends one; gives when the sensor first saw a packet of it, microseconds since 1970.
fn row(
    out: &mut CopyBuffer,
    origin: Origin,
    ordinal: i32,
    control: &NtpControl,
) -> Result<i64, Invalid> {
    interfaces::check_name("interface", &control.interface)?;
    let small = [
        ("vlan", control.vlan, 4095),
        ("inner_vlan", control.inner_vlan, 4095),
        ("client_port", control.client_port, 65_535),
        ("server_port", control.server_port, 65_535),
        ("mode", control.mode, 7),
        ("version", control.version, 7),
        ("opcode", control.opcode, 255),
        ("sequence", control.sequence, 65_535),
        ("subject", control.subject, 65_535),
        ("error", control.error.unwrap_or(0), 65_535),
        ("status", control.status, 65_535),
    ];
    for (place, value, limit) in small {
        at_most(place, value, limit)?;
    }
    let counts = [
        ("request_packets", control.request_packets),
        ("request_octets", control.request_octets),
        ("response_packets", control.response_packets),
        ("response_octets", control.response_octets),
    ];
    for (place, value) in counts {
        fit::<i64, _>(place, value)?;
    }
    let items: i64 = fit("items", control.items)?;
    let (client, server) = addresses(&control.client, &control.server)?;
    let window = &origin.window;
    let (at_us, _) = moments(
        window,
        control.requested_at_unix_ns,
        control.answered_at_unix_ns,
    )?;
    let seen = |ns: i64| (ns != 0).then_some(ns);

    out.row(COLUMNS);
    out.int8(origin.key.agent);
    out.timestamp(at_us);
    out.int8(origin.key.epoch);
    out.int8(origin.key.sequence);
    out.int4(ordinal);
    out.text(&control.interface);
    out.int4(control.vlan as i32);
    out.int4(control.inner_vlan as i32);
    out.inet(client);
    out.int4(control.client_port as i32);
    out.inet(server);
    out.int4(control.server_port as i32);
    out.int2(control.mode as i16);
    out.int2(control.version as i16);
    out.int2(control.opcode as i16);
    out.int4(control.sequence as i32);
    out.int4(control.subject as i32);
    out.optional(seen(control.requested_at_unix_ns), CopyBuffer::int8);
    out.optional(seen(control.answered_at_unix_ns), CopyBuffer::int8);
    out.optional(seen(control.ended_at_unix_ns), CopyBuffer::int8);
    for (_, count) in counts {
        out.int8(count.cast_signed());
    }
    out.optional(control.error.map(|error| error as i32), CopyBuffer::int4);
    out.int4(control.status as i32);
    out.int8(items);
    out.bool(control.complete);
    out.bool(control.authenticated);
    out.optional(control.response_time_ns, CopyBuffer::int8);
    out.optional(vantage_name(control.vantage), CopyBuffer::text);
    Ok(at_us)
}
