//! The statements that roll bandwidth up.

use super::{Rollup, Statements};
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

/// `bandwidth_stats` into `bandwidth_minutes` and `bandwidth_hours`.
pub(super) const BANDWIDTH: Rollup = Rollup {
    raw: Series::Bandwidth,
    minutes: Series::BandwidthMinutes,
    hours: Series::BandwidthHours,
    statements: Statements {
        minutes: concat!(
            include_str!("bandwidth/minutes_into.sql"),
            bandwidth_sums!(include_str!("bandwidth/minutes_frames.sql")),
            ") sums",
        ),
        hours: include_str!("bandwidth/hours.sql"),
        fold: concat!(
            include_str!("bandwidth/fold_late.sql"),
            bandwidth_sums!(include_str!("bandwidth/fold_frames.sql")),
            include_str!("bandwidth/fold_add.sql"),
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
