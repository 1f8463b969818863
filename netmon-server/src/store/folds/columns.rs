//! The columns of a fold, and its row for COPY.

use netmon_common::wire::ClockState;

use super::CheckedFold;
use crate::store::{copy::CopyBuffer, rows::Origin, target::Target};

/// The table, and its columns as [`row`] writes them.
pub(in crate::store) const TARGET: Target = Target {
    table: "ntp_folds",
    columns: "agent_id, at, epoch, sequence, ordinal, last_at, interface, vlan, inner_vlan, client, \
              server, vantage, exchanges, answered, response_time_min_ns, response_time_max_ns, \
              response_time_sum_ns, server_processing_sum_ns, offset_min_ns, offset_max_ns, \
              absolute_offset_sum_ns, metric, value, count, clock_synchronised",
    key: "agent_id, at, epoch, sequence, ordinal",
};
const COLUMNS: i16 = 25;

pub(super) fn row(
    out: &mut CopyBuffer,
    origin: Origin,
    ordinal: i32,
    checked: &CheckedFold<'_>,
    clock: Option<ClockState>,
) {
    let (fold, newest) = (checked.fold, &checked.newest);
    out.row(COLUMNS);
    out.int8(origin.key.agent);
    out.timestamp(checked.first_us);
    out.int8(origin.key.epoch);
    out.int8(origin.key.sequence);
    out.int4(ordinal);
    out.timestamp(newest.at_us);
    out.text(&newest.exchange.interface);
    out.int4(newest.exchange.vlan as i32);
    out.int4(newest.exchange.inner_vlan as i32);
    out.inet(newest.client);
    out.inet(newest.server);
    out.optional(newest.vantage, CopyBuffer::text);
    out.int4(checked.exchanges);
    out.int4(checked.answered_count);
    out.optional(fold.response_time_min_ns, CopyBuffer::int8);
    out.optional(fold.response_time_max_ns, CopyBuffer::int8);
    out.int8(fold.response_time_sum_ns);
    out.int8(fold.server_processing_sum_ns);
    out.optional(fold.offset_min_ns, CopyBuffer::int8);
    out.optional(fold.offset_max_ns, CopyBuffer::int8);
    out.int8(checked.absolute_offset_sum_ns);
    out.int2_array(checked.values.iter().map(|counted| counted.metric));
    out.int8_array(checked.values.iter().map(|counted| counted.value));
    out.int4_array(checked.values.iter().map(|counted| counted.count));
    out.optional(clock.map(|clock| clock.synchronised), CopyBuffer::bool);
}
