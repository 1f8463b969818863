//! Proves from the database that nothing is lost and nothing doubled.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use netmon_common::wire::Kind;
use sqlx::{PgPool, Row as _};

use crate::fleet::Handed;

/// What the database has of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ledger {
    batches: i64,
    first: i64,
    last: i64,
}

/// Compares the ledger and the rows of every agent with what it has handed over.
///
/// # Errors
/// The first few agents whose books do not balance.
pub async fn balance(pool: &PgPool, handed: &[Handed]) -> Result<()> {
    let Some(any) = handed.first() else {
        return Ok(());
    };
    let ledger = ledger(pool, any.epoch as i64).await?;
    let frames = frames(pool, any.epoch as i64).await?;
    let exchanges = exchanges(pool, any.epoch as i64).await?;
    let mut wrong = Vec::new();
    for one in handed {
        let agent = one.agent.to_bigint();
        for stream in &one.streams {
            let sealed = stream.sealed_through as i64;
            let expected = Ledger {
                batches: sealed,
                first: sealed.min(1),
                last: sealed,
            };
            let kind = stream.kind();
            let found = ledger.get(&(agent, kind as i16)).copied();
            if found.unwrap_or_default() != expected || stream.settled_through as i64 != sealed {
                wrong.push(format!(
                    "{}: {kind:?} {expected:?} but {found:?}",
                    one.agent
                ));
            }
            if kind == Kind::Bandwidth {
                let expected = expected_frames(one, stream.sealed_through);
                let found = frames.get(&agent).cloned().unwrap_or_default();
                if found != expected {
                    wrong.push(format!("{}: frames {expected:?} but {found:?}", one.agent));
                }
            }
            if kind == Kind::Exchanges {
                let expected = sealed * one.shape.exchanges as i64;
                let found = exchanges.get(&agent).copied().unwrap_or_default();
                if found != expected {
                    wrong.push(format!("{}: {expected} exchanges but {found}", one.agent));
                }
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "the books of {} streams do not balance:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    Ok(())
}

/// Batches by agent and kind. The key has each at most once.
async fn ledger(pool: &PgPool, epoch: i64) -> Result<BTreeMap<(i64, i16), Ledger>> {
    let rows = sqlx::query(
        "SELECT agent_id, kind, count(*), min(sequence), max(sequence) FROM ingest_ledger
         WHERE epoch = $1 AND row_count IS NOT NULL GROUP BY agent_id, kind",
    )
    .bind(epoch)
    .fetch_all(pool)
    .await?;
    let one = |row: &sqlx::postgres::PgRow| {
        let ledger = Ledger {
            batches: row.get(2),
            first: row.get(3),
            last: row.get(4),
        };
        ((row.get(0), row.get(1)), ledger)
    };
    Ok(rows.iter().map(one).collect())
}

/// Rows, different (sequence, interface) among them, samples, and the sums of the deltas.
async fn frames(pool: &PgPool, epoch: i64) -> Result<BTreeMap<i64, Vec<i64>>> {
    let sum = |column: &str| format!("sum((SELECT sum(v) FROM unnest({column}) AS u (v)))::int8");
    let sql = format!(
        "SELECT agent_id, ARRAY[count(*), count(DISTINCT (sequence, interface)),
                sum(cardinality(interval_us)), {}, {}, {}, {}]::int8[]
         FROM bandwidth_stats WHERE epoch = $1 GROUP BY agent_id",
        sum("ingress_packets"),
        sum("ingress_bytes"),
        sum("egress_packets"),
        sum("egress_bytes"),
    );
    let rows = sqlx::query(&sql).bind(epoch).fetch_all(pool).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn expected_frames(one: &Handed, batches: u64) -> Vec<i64> {
    if batches == 0 {
        return Vec::new();
    }
    let [samples, interfaces] = [one.shape.samples, one.shape.interfaces].map(|n| n as u64);
    let rows = batches * interfaces;
    let mut expected = vec![rows, rows, rows * samples];
    expected.extend(one.bodies.totals(batches).map(|total| total * interfaces));
    expected.into_iter().map(|n| n as i64).collect()
}

async fn exchanges(pool: &PgPool, epoch: i64) -> Result<BTreeMap<i64, i64>> {
    let sql = "SELECT agent_id, count(*) FROM ntp_exchanges WHERE epoch = $1 GROUP BY agent_id";
    let rows = sqlx::query(sql).bind(epoch).fetch_all(pool).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
