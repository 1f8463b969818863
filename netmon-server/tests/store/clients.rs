//! Clients are folded in place, whatever the order of batches.

use netmon_common::wire::{Batch, NtpExchange, NtpMatch};
use sqlx::{FromRow, PgPool};
use time::OffsetDateTime;

use crate::{
    batch::{SECOND_NS, answered, batch, now_ns, packet, unanswered},
    database::{number, store},
    orders::{ORDERS, stored_in},
};

#[derive(Debug, PartialEq, FromRow)]
struct Client {
    client_port: i32,
    stratum: Option<i16>,
    offset_ns: Option<i64>,
    first_seen: OffsetDateTime,
    last_seen: OffsetDateTime,
    last_answered: Option<OffsetDateTime>,
    session_count: i64,
    answered_count: i64,
}

async fn client(pool: &PgPool) -> Client {
    sqlx::query_as("SELECT * FROM ntp_clients")
        .fetch_one(pool)
        .await
        .unwrap()
}

fn at(ns: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns / 1000 * 1000)).unwrap()
}

/// Three batches of one client: answered, answered otherwise, unanswered.
fn history(start: i64) -> [Batch; 3] {
    let changed = NtpExchange {
        client_port: 50_001,
        offset_ns: Some(9),
        response: Some(packet(4, 3)),
        ..answered(1, start + 2 * SECOND_NS)
    };
    let silent = NtpExchange {
        client_port: 50_002,
        ..unanswered(1, start + 4 * SECOND_NS)
    };
    let exchanges = [vec![answered(1, start)], vec![changed], vec![silent]];
    let mut sequence = 0;
    exchanges.map(|exchanges| {
        sequence += 1;
        Batch {
            exchanges,
            sealed_at_unix_ns: start,
            ..batch(sequence)
        }
    })
}

#[tokio::test]
async fn any_order_of_batches_gives_the_same_client() {
    let start = now_ns();
    let expected = Client {
        // Of the newest exchange.
        client_port: 50_002,
        // Of the newest response: an exchange without one forgets nothing.
        stratum: Some(3),
        offset_ns: Some(9),
        first_seen: at(start),
        last_seen: at(start + 4 * SECOND_NS),
        last_answered: Some(at(start + 2 * SECOND_NS + 1_000_000)),
        session_count: 3,
        answered_count: 2,
    };
    for order in ORDERS {
        let pool = stored_in(order, &history(start)).await;
        assert_eq!(client(&pool).await, expected, "{order:?}");
        pool.close().await;
    }
}

#[tokio::test]
async fn exchanges_within_a_batch_fold_like_batches() {
    let (store, pool, agent) = store().await;
    let start = now_ns();
    let mut exchanges: Vec<_> = history(start)
        .into_iter()
        .flat_map(|b| b.exchanges)
        .collect();
    exchanges.reverse();
    let batch = Batch {
        exchanges,
        ..batch(1)
    };
    store
        .commit(&store.validate(agent, &batch).unwrap())
        .await
        .unwrap();
    let client = client(&pool).await;
    assert_eq!((client.client_port, client.stratum), (50_002, Some(3)));
    assert_eq!((client.session_count, client.answered_count), (3, 2));
    assert_eq!(
        (client.first_seen, client.last_seen),
        (at(start), at(start + 4 * SECOND_NS))
    );
}

#[tokio::test]
async fn responses_nobody_asked_for_make_no_client() {
    let (store, pool, agent) = store().await;
    let spoofed = [
        NtpMatch::UnsolicitedResponse,
        NtpMatch::OriginMismatch,
        NtpMatch::ConflictingResponse,
        NtpMatch::DuplicateResponse,
    ];
    let exchange = |kind: NtpMatch| NtpExchange {
        r#match: kind.into(),
        ..answered(1, now_ns())
    };
    let batch = Batch {
        exchanges: spoofed.map(exchange).to_vec(),
        ..batch(1)
    };
    store
        .commit(&store.validate(agent, &batch).unwrap())
        .await
        .unwrap();
    assert_eq!(number(&pool, "SELECT count(*) FROM ntp_exchanges").await, 4);
    assert_eq!(number(&pool, "SELECT count(*) FROM ntp_clients").await, 0);
}

#[tokio::test]
async fn a_late_response_answers_a_request_that_was_counted() {
    let (store, pool, agent) = store().await;
    let start = now_ns();
    let late = NtpExchange {
        r#match: NtpMatch::Late.into(),
        ..answered(1, start)
    };
    let batch = Batch {
        exchanges: vec![unanswered(1, start), late],
        ..batch(1)
    };
    store
        .commit(&store.validate(agent, &batch).unwrap())
        .await
        .unwrap();
    let client = client(&pool).await;
    assert_eq!((client.session_count, client.answered_count), (1, 1));
}

#[tokio::test]
async fn a_request_that_waited_when_the_sensor_stopped_counts() {
    let (store, pool, agent) = store().await;
    let cut_off = NtpExchange {
        r#match: NtpMatch::SensorStopped.into(),
        null_reason: "sensor_stopped".to_owned(),
        ..unanswered(1, now_ns())
    };
    let batch = Batch {
        exchanges: vec![cut_off],
        ..batch(1)
    };
    store
        .commit(&store.validate(agent, &batch).unwrap())
        .await
        .unwrap();
    let client = client(&pool).await;
    assert_eq!((client.session_count, client.answered_count), (1, 0));
}
