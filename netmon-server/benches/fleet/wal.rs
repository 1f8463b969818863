//! Segments of the write-ahead log, made before anything is measured.

use anyhow::Result;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::{packed, site::Site};

/// As many as `min_wal_size` of a managed cluster keeps, of 16 MiB each.
const SEGMENTS: usize = 64;

/// Leaves the segments a database has that ran for a while: PostgreSQL makes a new one by writing
/// zeros, and uses those again that a checkpoint has freed. Whichever part came first would pay for
/// all of them, and bare COPY, which comes last, for none.
pub async fn prepare(site: &Site) -> Result<()> {
    let mut connection = PgConnection::connect_with(&site.options()?.username("postgres")).await?;
    for _ in 0..SEGMENTS {
        connection
            .execute("SELECT pg_logical_emit_message(false, 'fleet', ''), pg_switch_wal()")
            .await?;
    }
    connection.close().await?;
    packed::checkpoint(site).await
}
