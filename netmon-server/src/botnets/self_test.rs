//! Whether everything that botnets need works here: database, schema, tables, one family from the
//! first line to its statistics, geo files.
//!
//! A check that failed says what to do; those that cannot be made without it are skipped.

mod geo;
mod report;
mod scratch;
mod tables;

use std::time::Instant;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use self::report::{Check, Outcome, Report};
use self::report::{Failure, Finding};
use crate::{
    commands::database::{self, OpenError},
    config::Config,
};

/// Makes every check. When `stop` is cancelled, what is under way fails, and the family that was made
/// for it is removed.
pub async fn run(config: &Config, stop: CancellationToken) -> Report {
    let mut report = Report::default();
    let began = Instant::now();
    let pool = match database::open(config).await {
        Ok(pool) => {
            let answered = tables::writable(&pool).await;
            let usable = answered.is_ok();
            report.add("database", began, answered);
            usable.then_some(pool)
        }
        Err(error @ OpenError::Schema { .. }) => {
            report.add("database", began, Ok(Finding::new("it answers")));
            let remedy = "use the netmon-server that serves this database";
            report.add("schema", began, Err(Failure::new(error, remedy)));
            None
        }
        Err(error) => {
            let remedy = "start the server or the database, or name the right one by --data-dir, \
                          --database-url or --config";
            report.add("database", began, Err(Failure::new(error, remedy)));
            None
        }
    };
    match pool {
        Some(pool) => {
            with_database(config, &pool, stop, &mut report).await;
            pool.close().await;
        }
        None => report.skip_missing(&["schema", "tables", "store", "aggregation", "statistics"]),
    }
    let began = Instant::now();
    report.add("geo files", began, geo::embedded());
    let began = Instant::now();
    report.add("geo settings", began, geo::configured(config));
    report
}

async fn with_database(
    config: &Config,
    pool: &PgPool,
    stop: CancellationToken,
    report: &mut Report,
) {
    let began = Instant::now();
    report.add("schema", began, tables::schema(pool).await);
    let began = Instant::now();
    let tables = tables::present(pool).await;
    let complete = tables.is_ok();
    report.add("tables", began, tables);
    if complete {
        scratch::exercise(config, pool, stop, report).await;
    } else {
        report.skip_missing(&["store", "aggregation", "statistics"]);
    }
}
