//! The tables themselves: is there a place for the rows of today and tomorrow?

use sqlx::{PgPool, Row as _, postgres::types::PgInterval};
use time::OffsetDateTime;

use super::report::{Check, Finding, Tally};

const PARTITIONS: &str = include_str!("partitions.sql");

/// Two days, microseconds.
const TWO_DAYS_US: i64 = 2 * 86_400_000_000;

/// Checks every partitioned table.
pub(super) async fn check(
    pool: &PgPool,
    now: OffsetDateTime,
    tally: &mut Tally,
) -> sqlx::Result<()> {
    let today = now.to_offset(time::UtcOffset::UTC).date().midnight();
    let tables = sqlx::query(PARTITIONS)
        .bind(today.assume_utc())
        .fetch_all(pool)
        .await?;
    tally.checked(Check::Partitions, tables.len() as u64);
    for table in tables {
        let name: String = table.try_get("name")?;
        let covered: PgInterval = table.try_get("covered")?;
        let covered_us = covered.microseconds
            + (i64::from(covered.days) + 30 * i64::from(covered.months)) * 86_400_000_000;
        if covered_us < TWO_DAYS_US {
            let hours = (TWO_DAYS_US - covered_us) / 3_600_000_000;
            let detail = format!(
                "{name} has no partition for {hours} of the 48 hours of today and tomorrow (UTC)"
            );
            tally.add(Finding::new(
                Check::Partitions,
                true,
                "missing_partition",
                detail,
            ));
        }
    }
    Ok(())
}
