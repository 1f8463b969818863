//! The statements that roll readings of hosts up.
//!
//! A reading has the shape of a roll-up (`system/figures.sql`), and a roll-up of roll-ups is one too:
//! the same aggregates make minutes of readings, hours of minutes, and points of either.

use super::{Rollup, Span, Statements};
use crate::store::Series;

/// One file of `system/`.
macro_rules! system_sql {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/store/rollup/system/",
            $name,
            ".sql"
        ))
    };
}
pub(crate) use system_sql;

/// Aggregates of the CTE `source`, one row per agent and slot, with every column of a roll-up.
macro_rules! aggregates {
    () => {
        concat!(
            ", host AS (\n",
            system_sql!("host"),
            "), states AS (\n",
            system_sql!("states"),
            "), cores AS (\n",
            system_sql!("cores"),
            "), mounts AS (\n",
            system_sql!("mounts"),
            "), devices AS (\n",
            system_sql!("devices"),
            "), interfaces AS (\n",
            system_sql!("interfaces"),
            "), sensors AS (\n",
            system_sql!("sensors"),
            ")\n",
            system_sql!("joined"),
        )
    };
}

macro_rules! insert_into {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (agent_id, bucket,\n",
            system_sql!("columns"),
            ")\n"
        )
    };
}

/// The CTE that merges late readings into what there is of a table, and replaces that.
macro_rules! merged_into {
    ($table:literal, $slot:literal, $whole_from:literal) => {
        concat!(
            insert_into!($table),
            "WITH source AS MATERIALIZED (\n    SELECT ",
            $slot,
            " AS slot, agent_id, bucket,\n",
            system_sql!("columns"),
            "    FROM late WHERE bucket >= ",
            $whole_from,
            "\n    UNION ALL\n    SELECT bucket AS slot, agent_id, bucket,\n",
            system_sql!("columns"),
            "    FROM ",
            $table,
            "\n    WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3 AND bucket >= ",
            $whole_from,
            "\n        AND bucket IN (SELECT ",
            $slot,
            " FROM late)\n)\n",
            aggregates!(),
            system_sql!("replace"),
        )
    };
}

/// `system_stats` into `system_minutes` and `system_hours`.
pub(super) const SYSTEM: Rollup = Rollup {
    raw: Series::System,
    fine: Series::SystemMinutes,
    coarse: Series::SystemHours,
    coarse_span: Span::Hour,
    statements: Statements {
        fine: concat!(
            insert_into!("system_minutes"),
            system_sql!("minutes_source"),
            system_sql!("figures"),
            ") figures)\n",
            aggregates!(),
        ),
        coarse: concat!(
            insert_into!("system_hours"),
            system_sql!("hours_source"),
            aggregates!(),
        ),
        fold: concat!(
            system_sql!("fold_late"),
            system_sql!("figures"),
            "),\nminutes AS (\n",
            merged_into!(
                "system_minutes",
                "date_bin('1 minute', bucket, timestamptz '2000-01-01 00:00Z')",
                "$4"
            ),
            "RETURNING 1\n),\nhours AS (\n",
            merged_into!("system_hours", "$2::timestamptz", "$5"),
            system_sql!("fold_end"),
        ),
        // A reading belongs to one moment.
        carry: None,
    },
};
