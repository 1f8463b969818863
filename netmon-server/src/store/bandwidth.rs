//! Packed bandwidth samples: one row per interface and frame.

use std::collections::HashSet;

use netmon_common::wire::{BandwidthFrame, Counters, DirectionDeltas, MAX_FRAME_SAMPLES};

use super::{
    Invalid, Series,
    copy::CopyBuffer,
    interfaces,
    invalid::fit,
    partitions::Day,
    rows::{Origin, Rows},
};

/// The statement [`encode`] makes data for.
pub(super) const COPY: &str = "COPY bandwidth_stats (agent_id, interface, started_at, epoch, \
     sequence, ifindex, interval_us, ingress_packets, ingress_bytes, egress_packets, egress_bytes, \
     ingress_wire_packets, ingress_wire_bytes, egress_wire_packets, egress_wire_bytes, flags, \
     ingress_total_packets, ingress_total_bytes, egress_total_packets, egress_total_bytes) \
     FROM STDIN (FORMAT binary)";
const COLUMNS: i16 = 20;

/// Appends every frame, or names the first that is invalid.
pub(super) fn encode(
    rows: &mut Rows,
    origin: Origin,
    frames: &[BandwidthFrame],
) -> Result<(), Invalid> {
    let mut keys = HashSet::with_capacity(frames.len());
    for (index, frame) in frames.iter().enumerate() {
        let place = format_args!("bandwidth[{index}]");
        let started_us = self::frame(&mut rows.bandwidth, origin, frame)
            .map_err(|invalid| invalid.within(place))?;
        if !keys.insert((frame.interface.as_str(), started_us)) {
            return Err(Invalid::new(
                place,
                "an earlier frame has its interface and start",
            ));
        }
        rows.days
            .insert((Series::Bandwidth, Day::of_microseconds(started_us)));
        interfaces::seen(rows, &frame.interface, frame.ifindex, started_us);
    }
    Ok(())
}

/// Appends one frame; gives its start in microseconds since 1970.
fn frame(out: &mut CopyBuffer, origin: Origin, frame: &BandwidthFrame) -> Result<i64, Invalid> {
    interfaces::check_name("interface", &frame.interface)?;
    let started_us = origin
        .window
        .microseconds("started_at_unix_ns", frame.started_at_unix_ns)?;
    let samples = frame.interval_us.len();
    if !(1..=MAX_FRAME_SAMPLES).contains(&samples) {
        let problem = format_args!("{samples} samples, not 1 to {MAX_FRAME_SAMPLES}");
        return Err(Invalid::new("interval_us", problem));
    }
    let intervals: Vec<i32> = column("interval_us", &frame.interval_us, samples)?;
    let ingress = Deltas::new("ingress", frame.ingress.as_ref(), samples)?;
    let egress = Deltas::new("egress", frame.egress.as_ref(), samples)?;
    let flags: Vec<i16> = match frame.flags.len() {
        0 => Vec::new(),
        _ => column("flags", &frame.flags, samples)?,
    };
    let flagged = flags.iter().any(|flag| *flag != 0);
    let ingress_total = totals("ingress_total", frame.ingress_total)?;
    let egress_total = totals("egress_total", frame.egress_total)?;

    out.row(COLUMNS);
    out.int8(origin.agent.to_bigint());
    out.text(&frame.interface);
    out.timestamp(started_us);
    out.int8(origin.epoch);
    out.int8(origin.sequence);
    out.int8(frame.ifindex.into());
    out.int4_array(intervals.into_iter());
    for direction in [&ingress, &egress] {
        out.int4_array(direction.packets.iter().copied());
        out.int8_array(direction.bytes.iter().copied());
    }
    for Deltas { wire, .. } in [&ingress, &egress] {
        out.optional(wire.as_ref(), |out, (packets, _)| {
            out.int4_array(packets.iter().copied())
        });
        out.optional(wire.as_ref(), |out, (_, bytes)| {
            out.int8_array(bytes.iter().copied())
        });
    }
    out.optional(flagged.then_some(flags), |out, flags| {
        out.int2_array(flags.into_iter())
    });
    for total in [ingress_total, egress_total] {
        out.int8(total.0);
        out.int8(total.1);
    }
    Ok(started_us)
}

/// One direction's columns, checked.
struct Deltas {
    packets: Vec<i32>,
    bytes: Vec<i64>,
    /// `None` when equal to the above.
    wire: Option<(Vec<i32>, Vec<i64>)>,
}

impl Deltas {
    fn new(place: &str, deltas: Option<&DirectionDeltas>, samples: usize) -> Result<Self, Invalid> {
        let deltas = deltas.ok_or_else(|| Invalid::new(place, "is missing"))?;
        Self::checked(deltas, samples).map_err(|invalid| invalid.within(place))
    }

    fn checked(deltas: &DirectionDeltas, samples: usize) -> Result<Self, Invalid> {
        let wire = if deltas.wire_packets.is_empty() && deltas.wire_bytes.is_empty() {
            None
        } else {
            Some((
                column("wire_packets", &deltas.wire_packets, samples)?,
                column("wire_bytes", &deltas.wire_bytes, samples)?,
            ))
        };
        Ok(Self {
            packets: column("packets", &deltas.packets, samples)?,
            bytes: column("bytes", &deltas.bytes, samples)?,
            wire,
        })
    }
}

/// Converts one array, which must have a value per sample.
fn column<T, N>(place: &str, values: &[N], samples: usize) -> Result<Vec<T>, Invalid>
where
    T: TryFrom<N> + super::invalid::MaxValue,
    N: Copy + std::fmt::Display,
{
    if values.len() != samples {
        let problem = format_args!("{} values for {samples} samples", values.len());
        return Err(Invalid::new(place, problem));
    }
    let convert = |(index, value): (usize, &N)| fit(format_args!("{place}[{index}]"), *value);
    values.iter().enumerate().map(convert).collect()
}

fn totals(place: &str, total: Option<Counters>) -> Result<(i64, i64), Invalid> {
    let total = total.unwrap_or_default();
    let packets = fit("packets", total.packets);
    let bytes = fit("bytes", total.bytes);
    packets
        .and_then(|packets| Ok((packets, bytes?)))
        .map_err(|invalid: Invalid| invalid.within(place))
}
