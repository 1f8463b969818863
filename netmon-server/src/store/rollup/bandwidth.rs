//! The statements that roll bandwidth up.

use super::{Rollup, Span, Statements};
use crate::store::Series;

/// Sums by interface and point of the frames a piece of SQL names; see `sums_of.sql`.
macro_rules! bandwidth_sums {
    ($frames:expr) => {
        concat!(
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/store/rollup/bandwidth/sums_of.sql"
            )),
            $frames,
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/store/rollup/bandwidth/samples.sql"
            )),
        )
    };
}
pub(crate) use bandwidth_sums;

/// Inserts rows by interface and bucket, with the figures of a file; what these are computed from
/// follows. `t` is the row that is there.
macro_rules! insert_into {
    ($table:literal, $bucket:literal, $figures:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " AS t (agent_id, interface, bucket,\n",
            include_str!("bandwidth/columns.sql"),
            ")\nSELECT agent_id, interface, ",
            $bucket,
            ",\n",
            include_str!(concat!("bandwidth/", $figures, ".sql")),
        )
    };
}

/// `bandwidth_stats` into `bandwidth_minutes` and `bandwidth_hours`.
pub(super) const BANDWIDTH: Rollup = Rollup {
    raw: Series::Bandwidth,
    fine: Series::BandwidthMinutes,
    coarse: Series::BandwidthHours,
    coarse_span: Span::Hour,
    statements: Statements {
        fine: concat!(
            insert_into!("bandwidth_minutes", "to_timestamp(point * 60)", "minute"),
            "FROM (\n",
            bandwidth_sums!(include_str!("bandwidth/minutes_frames.sql")),
            ") sums",
        ),
        coarse: concat!(
            insert_into!("bandwidth_hours", "$2::timestamptz", "hour"),
            include_str!("bandwidth/hours_source.sql"),
        ),
        fold: concat!(
            include_str!("bandwidth/fold_late.sql"),
            bandwidth_sums!(include_str!("bandwidth/fold_frames.sql")),
            "),\nminutes AS (\n",
            insert_into!("bandwidth_minutes", "to_timestamp(point * 60)", "minute"),
            "FROM sums\nWHERE to_timestamp(point * 60) >= $4\n",
            include_str!("bandwidth/fold_add.sql"),
            "),\nhours AS (\n",
            insert_into!("bandwidth_hours", "to_timestamp(point / 60 * 3600)", "hour"),
            "FROM sums\nWHERE to_timestamp(point / 60 * 3600) >= $5\n",
            "GROUP BY agent_id, interface, point / 60\n",
            include_str!("bandwidth/fold_add.sql"),
            "),\ncarried AS (\n",
            include_str!("bandwidth/carry_into.sql"),
            "    FROM late f CROSS JOIN (SELECT $6::timestamptz AS at) bound\n",
            include_str!("bandwidth/carry_tail.sql"),
            include_str!("bandwidth/fold_end.sql"),
        ),
        carry: Some(concat!(
            include_str!("bandwidth/carry_into.sql"),
            include_str!("bandwidth/carry_frames.sql"),
            include_str!("bandwidth/carry_tail.sql"),
        )),
    },
};
