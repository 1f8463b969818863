//! Exchanges that an agent counted together come to the same as each by itself.

use netmon_common::wire::{
    Batch, Kind, NtpAssociation, NtpExchange, NtpFlag, NtpFold, NtpMatch, NtpVantage,
};
use netmon_server::{
    agent_id::AgentId,
    store::{Committed, Store},
};
use serde_json::Value;
use sqlx::PgPool;
use time::{Duration, OffsetDateTime};

use crate::{
    batch::{SECOND_NS, answered, batch, now_ns, packet, unanswered},
    database::{number, store},
    folding::{by_minute, fold},
};

const HOUR_NS: i64 = 3600 * SECOND_NS;

/// The begin of an hour that is over, some hours ago.
fn past_hour() -> i64 {
    (now_ns() / HOUR_NS - 3) * HOUR_NS
}

/// Two hours of five clients and two servers, of every sort that is folded.
fn traffic(start: i64) -> Vec<NtpExchange> {
    let kinds = [
        NtpMatch::Basic,
        NtpMatch::Basic,
        NtpMatch::Basic,
        NtpMatch::Interleaved,
        NtpMatch::Weak,
        NtpMatch::Unanswered,
        NtpMatch::Superseded,
        NtpMatch::Late,
        NtpMatch::SensorStopped,
        NtpMatch::Refused,
    ];
    (0..2000_i64)
        .map(|n| {
            let at = start + n * 2 * HOUR_NS / 2000;
            let (client, kind) = ((n % 5) as u8, kinds[(n * 7 % 11 % 10) as usize]);
            let is_answered = !matches!(
                kind,
                NtpMatch::Unanswered | NtpMatch::SensorStopped | NtpMatch::Refused
            );
            let is_kiss = n % 37 == 0 && is_answered;
            let mut exchange = match is_answered {
                true => answered(client, at),
                false => unanswered(client, at),
            };
            exchange.r#match = kind.into();
            exchange.server = vec![198, 51, 100, (n % 2) as u8];
            exchange.vantage = NtpVantage::Server.into();
            exchange.association = Some(NtpAssociation {
                requests: n as u64,
                interval_ns: 1000 + n as u64,
                ..NtpAssociation::default()
            });
            if let Some(response) = &mut exchange.response {
                response.stratum = if is_kiss { 0 } else { 2 };
                response.reference_id = match is_kiss {
                    true => u32::from_be_bytes(*b"RATE"),
                    false => 0x0102_0300 + (n % 3) as u32,
                };
                response.leap = u32::from(n % 50 == 0);
            }
            if is_kiss {
                exchange.kiss_code = "RATE".to_owned();
            }
            exchange.response_time_ns = is_answered.then_some(900_000 + n * n * 37);
            let is_good = is_answered && !is_kiss && n % 4 > 0;
            exchange.flags = if is_good { NtpFlag::Good as u32 } else { 0 };
            exchange.server_processing_ns = is_good.then_some(20_000 + n);
            exchange.offset_ns = is_good.then_some((n - 1000) * 1234);
            exchange
        })
        .collect()
}

/// Batches of exchanges, or of folds of them.
fn batches(exchanges: &[NtpExchange], is_folded: bool) -> Vec<Batch> {
    let parts = exchanges.chunks(500).zip(1..);
    let of = |(part, sequence): (&[NtpExchange], u64)| Batch {
        kind: Kind::Exchanges.into(),
        sequence,
        exchanges: if is_folded { Vec::new() } else { part.to_vec() },
        ntp_folds: if is_folded {
            by_minute(part)
        } else {
            Vec::new()
        },
        bandwidth: Vec::new(),
        interfaces: Vec::new(),
        ..batch(sequence)
    };
    parts.map(of).collect()
}

async fn commit(store: &Store, agent: AgentId, batch: &Batch) -> Committed {
    store
        .commit(&store.validate(agent, batch).unwrap())
        .await
        .unwrap()
}

/// All rows of a table but whose they are, in order.
async fn table(pool: &PgPool, table: &str) -> Vec<Value> {
    let query = format!("SELECT (to_jsonb(t) - 'agent_id')::text FROM {table} t ORDER BY 1");
    let rows: Vec<String> = sqlx::query_scalar(&query).fetch_all(pool).await.unwrap();
    let rows = rows.iter();
    rows.map(|row| serde_json::from_str(row).unwrap()).collect()
}

const SUMS: [&str; 4] = ["ntp_clients", "ntp_servers", "ntp_hours", "ntp_days"];

async fn sums(pool: &PgPool) -> Vec<Vec<Value>> {
    let mut sums = Vec::new();
    for of in SUMS {
        sums.push(table(pool, of).await);
    }
    sums
}

fn soon() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[tokio::test]
async fn folded_and_whole_exchanges_give_the_same_clients_servers_hours_and_days() {
    let start = past_hour();
    let traffic = traffic(start);
    let mut results = Vec::new();
    for is_folded in [false, true] {
        let (store, pool, agent) = store().await;
        for batch in batches(&traffic, is_folded) {
            commit(&store, agent, &batch).await;
        }
        store.roll_up_once(soon()).await.unwrap();
        let rows = format!(
            "SELECT count(*) FROM {}",
            if is_folded {
                "ntp_folds"
            } else {
                "ntp_exchanges"
            }
        );
        assert!(number(&pool, &rows).await > 0);
        let (of, exchanges) = match is_folded {
            true => ("ntp_folds", "sum(exchanges)"),
            false => ("ntp_exchanges", "count(*)"),
        };
        let size = format!("SELECT sum(pg_column_size(t.*)) / {exchanges} FROM {of} t");
        println!("{of}: {} octets an exchange", number(&pool, &size).await);
        assert_eq!(
            number(&pool, "SELECT sum(exchanges) FROM ntp_hours").await,
            2000
        );
        results.push(sums(&pool).await);
    }
    for (of, (whole, folded)) in SUMS.iter().zip(results[0].iter().zip(&results[1])) {
        assert!(!whole.is_empty(), "{of}");
        assert_eq!(whole, folded, "{of}");
    }
}

#[tokio::test]
async fn half_folded_is_the_same_too_whichever_comes_first() {
    let traffic = traffic(past_hour());
    let (early, late) = traffic.split_at(700);
    let mut results = Vec::new();
    for (first_folded, second_folded, late_first) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (true, false, true),
    ] {
        let (store, pool, agent) = store().await;
        let mut all = batches(early, first_folded);
        all.extend(batches(late, second_folded));
        for (batch, sequence) in all.iter_mut().zip(1..) {
            batch.sequence = sequence;
        }
        if late_first {
            all.reverse();
        }
        for batch in &all {
            commit(&store, agent, batch).await;
        }
        store.roll_up_once(soon()).await.unwrap();
        results.push(sums(&pool).await);
    }
    assert!(results.iter().all(|result| *result == results[0]));
    assert!(results[0].iter().all(|rows| !rows.is_empty()));
}

#[tokio::test]
async fn a_fold_sent_again_is_stored_once() {
    let traffic = traffic(past_hour());
    let (store, pool, agent) = store().await;
    let batches = batches(&traffic, true);
    for batch in &batches {
        commit(&store, agent, batch).await;
        assert_eq!(commit(&store, agent, batch).await, Committed::Duplicate);
    }
    let books = || async {
        [
            number(&pool, "SELECT sum(exchanges) FROM ntp_folds").await,
            number(&pool, "SELECT sum(session_count) FROM ntp_clients").await,
            number(&pool, "SELECT sum(answered_count) FROM ntp_servers").await,
        ]
    };
    let before = books().await;
    assert_eq!(before[0], 2000);
    // As after the ledger alone was restored from an older backup.
    sqlx::query("DELETE FROM ingest_ledger")
        .execute(&pool)
        .await
        .unwrap();
    for batch in &batches {
        assert!(matches!(
            commit(&store, agent, batch).await,
            Committed::Stored(_)
        ));
    }
    assert_eq!(books().await, before);
}

#[tokio::test]
async fn folds_that_come_late_are_worked_into_their_hours() {
    let traffic = traffic(past_hour());
    let (whole, whole_pool, agent) = store().await;
    for batch in batches(&traffic, false) {
        commit(&whole, agent, &batch).await;
    }
    whole.roll_up_once(soon()).await.unwrap();

    let (store, pool, agent) = store().await;
    let (first, rest) = traffic.split_at(300);
    for batch in batches(first, true) {
        commit(&store, agent, &batch).await;
    }
    store.roll_up_once(soon()).await.unwrap();
    for mut batch in batches(rest, true) {
        batch.epoch = 2;
        commit(&store, agent, &batch).await;
    }
    assert!(number(&pool, "SELECT count(*) FROM late_hours").await > 0);
    // Marks are left alone while more may come.
    let later = soon() + Duration::hours(1);
    for _ in 0..2 {
        store.roll_up_once(later).await.unwrap();
        assert_eq!(
            table(&pool, "ntp_hours").await,
            table(&whole_pool, "ntp_hours").await
        );
        assert_eq!(
            table(&pool, "ntp_days").await,
            table(&whole_pool, "ntp_days").await
        );
    }
    assert_eq!(number(&pool, "SELECT count(*) FROM late_hours").await, 0);
}

#[tokio::test]
async fn every_column_of_a_fold_comes_back() {
    let (store, pool, agent) = store().await;
    let start = past_hour();
    let mut folded = fold(&[answered(1, start), answered(1, start + SECOND_NS)]);
    let newest = folded.newest.as_mut().unwrap();
    newest.vlan = 7;
    newest.inner_vlan = 8;
    newest.vantage = NtpVantage::Transit.into();
    folded.absolute_offset_sum_ns = 11;
    folded.server_processing_sum_ns = 12;
    (folded.offset_min_ns, folded.offset_max_ns) = (Some(-13), Some(14));
    let batch = Batch {
        ntp_folds: vec![folded],
        ..batch(1)
    };
    commit(&store, agent, &batch).await;
    let query = "SELECT to_jsonb(r) - '{agent_id,at,last_at}'::text[] || jsonb_build_object(
             'at_us', (extract(epoch FROM at) * 1000000)::bigint,
             'last_us', (extract(epoch FROM last_at) * 1000000)::bigint) FROM ntp_folds r";
    let row: String = sqlx::query_scalar(&query.replacen("SELECT ", "SELECT (", 1).replacen(
        " FROM ntp_folds",
        ")::text FROM ntp_folds",
        1,
    ))
    .fetch_one(&pool)
    .await
    .unwrap();
    let row: Value = serde_json::from_str(&row).unwrap();
    let expected = serde_json::json!({
        "at_us": start / 1000, "last_us": (start + SECOND_NS) / 1000, "epoch": 1, "sequence": 1,
        "ordinal": 0, "interface": "eth0", "vlan": 7, "inner_vlan": 8, "client": "192.0.2.1",
        "server": "198.51.100.1", "vantage": "transit", "exchanges": 2, "answered": 2,
        "response_time_min_ns": 1_000_000, "response_time_max_ns": 1_000_000,
        "response_time_sum_ns": 2_000_000, "server_processing_sum_ns": 12, "offset_min_ns": -13,
        "offset_max_ns": 14, "absolute_offset_sum_ns": 11, "metric": [1, 2, 3, 4, 5, 7],
        "value": [1, 2, 1, 4, 0xc0a8_0001_u32, 40], "count": [2, 2, 2, 2, 2, 2],
        "clock_synchronised": true,
    });
    assert_eq!(row, expected);
}

#[tokio::test]
async fn a_fold_that_breaks_a_rule_is_refused_by_its_field() {
    let (store, _, agent) = store().await;
    let start = past_hour();
    let exchanges = [
        answered(1, start),
        answered(1, start + SECOND_NS),
        unanswered(1, start + 2 * SECOND_NS),
    ];
    let folded = fold(&exchanges);
    type Spoil = fn(&mut NtpFold);
    let spoil: [(Spoil, &str); 14] = [
        (|f| f.newest = None, "newest: is missing"),
        (|f| f.newest.as_mut().unwrap().client = vec![1], "newest"),
        (
            |f| f.newest_answered.as_mut().unwrap().server = vec![1, 2, 3, 4],
            "newest_answered: is",
        ),
        (
            |f| f.newest_answered.as_mut().unwrap().response = None,
            "newest_answered: has no",
        ),
        (
            |f| f.first_at_unix_ns += 9 * SECOND_NS,
            "first_at_unix_ns: is after",
        ),
        (
            |f| f.first_at_unix_ns -= 1,
            "first_at_unix_ns: is not of the hour",
        ),
        (|f| f.exchanges = 4, "exchanges: 4, but 3"),
        (|f| f.exchanges = 1_000_001, "exchanges: 1000001 is more"),
        (|f| f.answered = 4, "answered: 4 is more"),
        (|f| f.kisses = 1, "kissed_at_unix_ns"),
        (|f| f.count.push(1), "metric: has another length"),
        (|f| f.count[1] = 0, "count[1]: is 0"),
        (
            |f| *f.value.last_mut().unwrap() = 121,
            "value[6]: 121 is no bucket",
        ),
        (|f| f.metric[1] = 70_000, "metric: 70000 is more"),
    ];
    for (spoil, problem) in spoil {
        let mut folded = folded.clone();
        spoil(&mut folded);
        let batch = Batch {
            ntp_folds: vec![folded],
            ..batch(1)
        };
        let invalid = store.validate(agent, &batch).unwrap_err().to_string();
        let expected = format!("ntp_folds[0].{problem}");
        assert!(
            invalid.starts_with(&expected),
            "{invalid} instead of {expected}"
        );
    }
}

#[tokio::test]
async fn what_nobody_asked_for_makes_no_client_folded_either() {
    let (store, pool, agent) = store().await;
    let start = past_hour();
    let heard = |at| NtpExchange {
        r#match: NtpMatch::Broadcast.into(),
        requested_at_unix_ns: 0,
        request: None,
        response: Some(packet(5, 2)),
        ..answered(1, at)
    };
    let batch = Batch {
        exchanges: Vec::new(),
        ntp_folds: vec![fold(&[heard(start), heard(start + SECOND_NS)])],
        ..batch(1)
    };
    commit(&store, agent, &batch).await;
    assert_eq!(
        number(&pool, "SELECT sum(exchanges) FROM ntp_folds").await,
        2
    );
    assert_eq!(number(&pool, "SELECT count(*) FROM ntp_clients").await, 0);
}
