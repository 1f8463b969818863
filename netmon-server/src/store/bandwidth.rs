//! Packed bandwidth samples: one row per interface and frame.

use std::{collections::HashSet, fmt::Display};

use netmon_common::wire::{BandwidthFrame, Counters, DirectionDeltas, MAX_FRAME_SAMPLES};

use super::{
    Invalid, Series,
    copy::CopyBuffer,
    interfaces,
    invalid::fit,
    rows::{Origin, Rows},
    target::Target,
};

/// The table, and its columns as [`encode`] writes them.
pub(super) const TARGET: Target = Target {
    table: "bandwidth_stats",
    columns: "agent_id, interface, started_at, epoch, sequence, ifindex, attachment, interval_us, \
              ingress_packets, ingress_bytes, egress_packets, egress_bytes, ingress_bytes_high, \
              egress_bytes_high, ingress_wire_packets, ingress_wire_bytes, egress_wire_packets, \
              egress_wire_bytes, flags, ingress_total_packets, ingress_total_bytes, \
              egress_total_packets, egress_total_bytes",
    key: "agent_id, interface, started_at, epoch, sequence",
};
const COLUMNS: i16 = 23;

/// A frame covers at most one hour: whoever reads an hour looks back no further for frames that
/// reach into it.
const MAX_FRAME_LENGTH_US: i64 = 3_600_000_000;

/// Octets of a sample are stored in two columns, the lower so many bits in the first.
const LOW_BITS: u32 = 31;
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;

/// Appends every frame, or names the first that is invalid.
pub(super) fn encode(
    rows: &mut Rows,
    origin: Origin,
    frames: &[BandwidthFrame],
) -> Result<(), Invalid> {
    let mut keys = HashSet::new();
    for (index, frame) in frames.iter().enumerate() {
        let place = format_args!("bandwidth[{index}]");
        let times = self::frame(rows.buffer(Series::Bandwidth), origin, frame)
            .map_err(|invalid| invalid.within(place))?;
        // A frame alone needs no comparison.
        let single = frames.len() == 1;
        if !single && !keys.insert((frame.interface.as_str(), times.started_us)) {
            return Err(Invalid::new(
                place,
                "an earlier frame has its interface and start",
            ));
        }
        rows.touch(Series::Bandwidth, times.started_us, times.last_us);
        interfaces::seen(rows, &frame.interface, frame.ifindex, times.started_us);
    }
    Ok(())
}

/// When a frame's first and last samples begin, microseconds since 1970.
struct Times {
    started_us: i64,
    last_us: i64,
}

/// Appends one frame. What an invalid frame leaves in the buffer is cut off with its batch.
fn frame(out: &mut CopyBuffer, origin: Origin, frame: &BandwidthFrame) -> Result<Times, Invalid> {
    interfaces::check_name("interface", &frame.interface)?;
    let started_us = origin
        .window
        .microseconds("started_at_unix_ns", frame.started_at_unix_ns)?;
    let samples = frame.interval_us.len();
    if !(1..=MAX_FRAME_SAMPLES).contains(&samples) {
        let problem = format_args!("{samples} samples, not 1 to {MAX_FRAME_SAMPLES}");
        return Err(Invalid::new("interval_us", problem));
    }
    let ingress = direction("ingress", frame.ingress.as_ref(), samples)?;
    let egress = direction("egress", frame.egress.as_ref(), samples)?;

    out.row(COLUMNS);
    out.int8(origin.key.agent);
    out.text(&frame.interface);
    out.timestamp(started_us);
    out.int8(origin.key.epoch);
    out.int8(origin.key.sequence);
    out.int4(fit("ifindex", frame.ifindex)?);
    out.int4(fit("attachment", frame.attachment)?);
    int4s(out, "interval_us", &frame.interval_us)?;
    for (place, deltas) in [("ingress", ingress), ("egress", egress)] {
        within(place, int4s(out, "packets", &deltas.packets))?;
        within(place, low(out, &deltas.bytes))?;
    }
    high(out, &ingress.bytes);
    high(out, &egress.bytes);
    for (place, deltas) in [("ingress", ingress), ("egress", egress)] {
        if deltas.wire_packets.is_empty() {
            out.null();
            out.null();
        } else {
            within(place, int4s(out, "wire_packets", &deltas.wire_packets))?;
            within(place, int8s(out, "wire_bytes", &deltas.wire_bytes))?;
        }
    }
    flags(out, &frame.flags, samples)?;
    totals(out, "ingress_total", frame.ingress_total)?;
    totals(out, "egress_total", frame.egress_total)?;
    let length_us: i64 = frame.interval_us.iter().map(|us| i64::from(*us)).sum();
    if length_us > MAX_FRAME_LENGTH_US {
        let problem = format_args!("{length_us} us together are more than one hour");
        return Err(Invalid::new("interval_us", problem));
    }
    let last_us = started_us + length_us - i64::from(frame.interval_us[samples - 1]);
    Ok(Times {
        started_us,
        last_us,
    })
}

/// One direction's arrays, each with a value per sample.
fn direction<'a>(
    place: &str,
    deltas: Option<&'a DirectionDeltas>,
    samples: usize,
) -> Result<&'a DirectionDeltas, Invalid> {
    let deltas = deltas.ok_or_else(|| Invalid::new(place, "is missing"))?;
    let counts = [
        ("packets", deltas.packets.len()),
        ("bytes", deltas.bytes.len()),
        ("wire_packets", deltas.wire_packets.len()),
        ("wire_bytes", deltas.wire_bytes.len()),
    ];
    let equal_on_the_wire = deltas.wire_packets.is_empty() && deltas.wire_bytes.is_empty();
    let present = if equal_on_the_wire { 2 } else { counts.len() };
    for (name, count) in &counts[..present] {
        within(place, one_per_sample(name, *count, samples))?;
    }
    Ok(deltas)
}

fn one_per_sample(place: &str, count: usize, samples: usize) -> Result<(), Invalid> {
    if count == samples {
        return Ok(());
    }
    let problem = format_args!("{count} values for {samples} samples");
    Err(Invalid::new(place, problem))
}

/// Appends an array for an `int4[]` column.
fn int4s<N>(out: &mut CopyBuffer, place: &str, values: &[N]) -> Result<(), Invalid>
where
    N: Copy + Display + Into<u64>,
{
    let beyond = |value: &N| (*value).into() > i32::MAX as u64;
    if let Some(index) = values.iter().position(beyond) {
        fit::<i32, u64>(format_args!("{place}[{index}]"), values[index].into())?;
    }
    out.int4_array(values.iter().map(|value| (*value).into() as i32));
    Ok(())
}

/// Appends an array for an `int8[]` column.
fn int8s(out: &mut CopyBuffer, place: &str, values: &[u64]) -> Result<(), Invalid> {
    check_63_bits(place, values)?;
    out.int8_array(values.iter().map(|value| *value as i64));
    Ok(())
}

fn check_63_bits(place: &str, values: &[u64]) -> Result<(), Invalid> {
    let beyond = |value: &u64| *value > i64::MAX as u64;
    if let Some(index) = values.iter().position(beyond) {
        fit::<i64, u64>(format_args!("{place}[{index}]"), values[index])?;
    }
    Ok(())
}

/// Appends the lower bits of octets, which fit 62 bits in all.
fn low(out: &mut CopyBuffer, bytes: &[u64]) -> Result<(), Invalid> {
    if let Some(index) = bytes.iter().position(|value| value >> (2 * LOW_BITS) != 0) {
        let problem = format_args!("{} is more than 62 bits hold", bytes[index]);
        return Err(Invalid::new(format_args!("bytes[{index}]"), problem));
    }
    out.int4_array(bytes.iter().map(|value| (value & LOW_MASK) as i32));
    Ok(())
}

/// Appends the bits above, or null when all are 0.
fn high(out: &mut CopyBuffer, bytes: &[u64]) {
    if bytes.iter().all(|value| *value <= LOW_MASK) {
        out.null();
    } else {
        out.int4_array(bytes.iter().map(|value| (value >> LOW_BITS) as i32));
    }
}

/// Appends the flags, or null when no sample has any.
fn flags(out: &mut CopyBuffer, flags: &[u32], samples: usize) -> Result<(), Invalid> {
    if flags.is_empty() {
        out.null();
        return Ok(());
    }
    one_per_sample("flags", flags.len(), samples)?;
    let beyond = |value: &u32| *value > i16::MAX as u32;
    if let Some(index) = flags.iter().position(beyond) {
        fit::<i16, u32>(format_args!("flags[{index}]"), flags[index])?;
    }
    if flags.iter().all(|flag| *flag == 0) {
        out.null();
    } else {
        out.int2_array(flags.iter().map(|flag| *flag as i16));
    }
    Ok(())
}

fn totals(out: &mut CopyBuffer, place: &str, total: Option<Counters>) -> Result<(), Invalid> {
    let total = total.unwrap_or_default();
    out.int8(within(place, fit("packets", total.packets))?);
    out.int8(within(place, fit("bytes", total.bytes))?);
    Ok(())
}

fn within<T>(place: &str, outcome: Result<T, Invalid>) -> Result<T, Invalid> {
    outcome.map_err(|invalid| invalid.within(place))
}
