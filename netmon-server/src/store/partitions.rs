//! Partitions: made before they are needed, or when a row of their days comes.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{Executor, PgConnection, PgPool};

pub(super) use super::series::Day;
use super::{Series, StoreError, lease::Lease};

/// Held while partitions are made, by whichever server makes them; "netmon" in ASCII.
const ADVISORY_LOCK: i64 = 0x6e65_746d_6f6e;

/// The partitions known to exist.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    known: Mutex<HashSet<(Series, Day)>>,
    /// One task of this process makes partitions at a time, on one connection.
    making: tokio::sync::Mutex<()>,
}

impl Partitions {
    /// Makes the partitions of the days that are missing.
    pub(super) async fn ensure(
        &self,
        pool: &PgPool,
        days: &BTreeSet<(Series, Day)>,
    ) -> Result<(), StoreError> {
        if self.knows(days) {
            return Ok(());
        }
        let _making = self.making.lock().await;
        if self.knows(days) {
            return Ok(());
        }
        let mut lease = Lease::begin(pool).await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(ADVISORY_LOCK)
            .execute(lease.connection())
            .await?;
        let mut known = HashSet::new();
        for series in Series::ALL.iter().copied() {
            let existing = existing(lease.connection(), series).await?;
            known.extend(existing.into_iter().map(|day| (series, day)));
        }
        for (series, day) in days {
            let first = series.partition_start(*day);
            if known.insert((*series, first)) {
                create(lease.connection(), *series, first).await?;
            }
        }
        lease.commit().await?;
        *self.known() = known;
        Ok(())
    }

    /// Looks at the database again before the next batch.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    fn knows(&self, days: &BTreeSet<(Series, Day)>) -> bool {
        let known = self.known();
        let is_known = |(series, day): &(Series, Day)| {
            known.contains(&(*series, series.partition_start(*day)))
        };
        days.iter().all(is_known)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<(Series, Day)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first days of a table's partitions.
pub(super) async fn existing(
    connection: &mut PgConnection,
    series: Series,
) -> sqlx::Result<Vec<Day>> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = $1::regclass",
    )
    .bind(series.table())
    .fetch_all(connection)
    .await?;
    Ok(names
        .iter()
        .filter_map(|name| series.day_of(name))
        .collect())
}

/// Makes the table and attaches it: unlike `CREATE TABLE … PARTITION OF`, that takes no lock that
/// readers or writers of the parent would wait for.
async fn create(connection: &mut PgConnection, series: Series, day: Day) -> sqlx::Result<()> {
    let (parent, partition) = (series.table(), series.partition(day));
    let (from, to) = (day.bound(), series.partition_end(day).bound());
    let storage = series.storage();
    // No query asks what is in an array, and to find out ANALYZE would fetch and count every element.
    let arrays: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(a.attname) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
           AND t.typcategory = 'A'",
    )
    .bind(parent)
    .fetch_all(&mut *connection)
    .await?;
    let uncounted: String = arrays
        .iter()
        .map(|column| format!("ALTER TABLE {partition} ALTER {column} SET STATISTICS 0;\n"))
        .collect();
    let statements = format!(
        "CREATE TABLE {partition} (LIKE {parent} INCLUDING ALL) {storage};
         {uncounted}
         ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES FROM ('{from}') TO ('{to}')"
    );
    connection.execute(statements.as_str()).await?;
    tracing::debug!(partition, "partition made");
    Ok(())
}
