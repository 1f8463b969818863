//! What the tables take on disk, indexes and all.

use anyhow::Result;
use sqlx::{PgPool, Row as _};

/// Octets by use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Partitions of the samples.
    pub samples: i64,
    /// The ledger.
    pub ledger: i64,
    /// Everything else the server has.
    pub others: i64,
}

impl Sizes {
    /// Now.
    pub async fn read(pool: &PgPool) -> Result<Self> {
        let row = sqlx::query(
            "SELECT coalesce(sum(size) FILTER (WHERE root = 'bandwidth_stats'::regclass), 0)::int8,
                    coalesce(sum(size) FILTER (WHERE root = 'ingest_ledger'::regclass), 0)::int8,
                    coalesce(sum(size) FILTER (WHERE root NOT IN ('bandwidth_stats'::regclass,
                                                                  'ingest_ledger'::regclass)), 0)::int8
             FROM (SELECT coalesce(pg_partition_root(oid), oid) AS root,
                          pg_total_relation_size(oid) AS size
                   FROM pg_class
                   WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) AS tables",
        )
        .fetch_one(pool)
        .await?;
        Ok(Self {
            samples: row.get(0),
            ledger: row.get(1),
            others: row.get(2),
        })
    }

    /// What was added since.
    pub fn since(self, before: Self) -> Self {
        Self {
            samples: self.samples - before.samples,
            ledger: self.ledger - before.ledger,
            others: self.others - before.others,
        }
    }

    pub fn total(self) -> i64 {
        self.samples + self.ledger + self.others
    }
}
