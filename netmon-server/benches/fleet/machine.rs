//! The machine and the database on which figures were taken.

use std::fs;

use anyhow::Result;
use sqlx::PgPool;

/// Prints processor, kernel, PostgreSQL and its settings that matter.
pub async fn print(pool: &PgPool) -> Result<()> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "))
        .unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("machine: {model}, {cores} CPUs, Linux {}", kernel.trim());
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
    Ok(())
}
