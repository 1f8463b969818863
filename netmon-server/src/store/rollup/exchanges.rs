//! The statements that roll NTP exchanges up: by server, hour and day.
//!
//! How often each match, stratum, reference id and so on occurred, and how long things took, stand in
//! counted values (`exchanges/figures.sql`), times in logarithmic buckets. Counts add up: an hour of
//! exchanges, a day of hours, what agents counted together before they sent it, and what came late are
//! the same aggregates.

use super::{Rollup, Span, Statements};
use crate::store::Series;

/// One file of `exchanges/`.
macro_rules! exchanges_sql {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/store/rollup/exchanges/",
            $name,
            ".sql"
        ))
    };
}
pub(crate) use exchanges_sql;

macro_rules! insert_into {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (agent_id, interface, server, bucket,\n",
            exchanges_sql!("columns"),
            ")\n"
        )
    };
}

/// The CTE that adds late exchanges to what there is of a table, and replaces that.
macro_rules! added_to {
    ($table:literal, $slot:literal, $whole_from:literal) => {
        concat!(
            insert_into!($table),
            "WITH rolled AS (\n    SELECT ",
            $slot,
            " AS slot, came.* FROM came WHERE ",
            $slot,
            " >= ",
            $whole_from,
            "\n    UNION ALL\n    SELECT bucket AS slot, agent_id, interface, server, bucket,\n",
            exchanges_sql!("columns"),
            "    FROM ",
            $table,
            "\n    WHERE agent_id = $1 AND bucket = ",
            $slot,
            " AND bucket >= ",
            $whole_from,
            "\n        AND (interface, server) IN (SELECT interface, server FROM came)\n),\n",
            exchanges_sql!("rolled"),
            exchanges_sql!("joined"),
            exchanges_sql!("replace"),
        )
    };
}

/// `ntp_exchanges` and `ntp_folds` into `ntp_hours` and `ntp_days`.
pub(super) const EXCHANGES: Rollup = Rollup {
    raw: Series::Exchanges,
    fine: Series::ExchangeHours,
    coarse: Series::ExchangeDays,
    coarse_span: Span::Day,
    statements: Statements {
        fine: concat!(
            insert_into!("ntp_hours"),
            exchanges_sql!("hours_source"),
            exchanges_sql!("figures"),
            exchanges_sql!("joined"),
            exchanges_sql!("hours_folds"),
            exchanges_sql!("fold_columns"),
            "    FROM ntp_folds f\n",
            "    WHERE agent_id = $1 AND at >= $2 AND at < $3 AND at >= $4\n),\n",
            exchanges_sql!("rolled"),
            exchanges_sql!("joined"),
        ),
        coarse: concat!(
            insert_into!("ntp_days"),
            exchanges_sql!("days_source"),
            exchanges_sql!("rolled"),
            exchanges_sql!("joined"),
        ),
        fold: concat!(
            exchanges_sql!("fold_late"),
            exchanges_sql!("figures"),
            exchanges_sql!("joined"),
            exchanges_sql!("late_folds"),
            exchanges_sql!("fold_columns"),
            "    FROM late_folds f\n),\n",
            exchanges_sql!("rolled"),
            exchanges_sql!("joined"),
            "), hours AS (\n",
            added_to!("ntp_hours", "$2::timestamptz", "$4"),
            "), days AS (\n",
            added_to!(
                "ntp_days",
                "date_trunc('day', $2::timestamptz, 'UTC')",
                "$5"
            ),
            exchanges_sql!("fold_end"),
        ),
        // An exchange belongs to one moment.
        carry: None,
    },
};
