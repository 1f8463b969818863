//! The machine and the database on which figures were taken.

use anyhow::Result;
use sqlx::PgPool;

use crate::packed::REST;

/// Prints processor, kernel, PostgreSQL and its settings that matter, and what comes before each
/// measurement.
pub async fn print(pool: &PgPool) -> Result<()> {
    println!("{}", netmon_lab::machine());
    let version: String = sqlx::query_scalar("SHOW server_version")
        .fetch_one(pool)
        .await?;
    let mut settings = Vec::new();
    for name in [
        "shared_buffers",
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "wal_compression",
        "max_wal_size",
        "min_wal_size",
        "max_parallel_workers_per_gather",
    ] {
        let value: String = sqlx::query_scalar(&format!("SHOW {name}"))
            .fetch_one(pool)
            .await?;
        settings.push(format!("{name} {value}"));
    }
    println!(
        "database: PostgreSQL {version} managed by the server: {}",
        settings.join(", ")
    );
    println!(
        "before each measurement: a checkpoint and {REST:?} of rest, in which memory that was freed goes \
         back to the host of a virtual machine; whoever came next would have it cheaper"
    );
    Ok(())
}
