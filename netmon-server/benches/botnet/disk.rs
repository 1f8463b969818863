//! What is on disk.

use anyhow::Result;
use sqlx::{PgPool, Row as _};

/// Octets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Nodes without their indexes, and these.
    pub nodes: [i64; 2],
    /// Communications, the same.
    pub communications: [i64; 2],
    /// The lines as they came, compressed, and what is known of each upload.
    pub raw: i64,
}

impl Sizes {
    pub async fn read(pool: &PgPool) -> Result<Self> {
        let row = sqlx::query(
            "SELECT coalesce(sum(pg_table_size(oid)) FILTER (WHERE root = 'botnet_nodes'::regclass), 0)::int8,
                    coalesce(sum(pg_indexes_size(oid)) FILTER (WHERE root = 'botnet_nodes'::regclass), 0)::int8,
                    coalesce(sum(pg_table_size(oid)) FILTER (WHERE root = 'botnet_communications'::regclass), 0)::int8,
                    coalesce(sum(pg_indexes_size(oid)) FILTER (WHERE root = 'botnet_communications'::regclass), 0)::int8,
                    coalesce(sum(pg_total_relation_size(oid)) FILTER (
                        WHERE root IN ('botnet_chunks'::regclass, 'botnet_uploads'::regclass)), 0)::int8
             FROM (SELECT coalesce(pg_partition_root(oid), oid) AS root, oid
                   FROM pg_class
                   WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) AS tables",
        )
        .fetch_one(pool)
        .await?;
        Ok(Self {
            nodes: [row.get(0), row.get(1)],
            communications: [row.get(2), row.get(3)],
            raw: row.get(4),
        })
    }

    pub fn total(self) -> i64 {
        self.nodes.iter().chain(&self.communications).sum::<i64>() + self.raw
    }
}
