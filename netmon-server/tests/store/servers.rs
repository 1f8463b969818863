//! NTP servers are folded in place, whatever the order of batches.

use netmon_common::wire::{Batch, NtpExchange, NtpPacket};
use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::{
    batch::{SECOND_NS, answered, batch, now_ns, packet, unanswered},
    database::{number, store},
    orders::{ORDERS, stored_in},
};

async fn servers(pool: &PgPool) -> Vec<Value> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT to_jsonb(s)::text FROM (
             SELECT host(server) AS server, server_port, stratum, offset_ns, last_kiss,
                    (extract(epoch FROM last_kissed) * 1000000)::bigint AS kissed_us,
                    (extract(epoch FROM last_seen) * 1000000)::bigint AS last_us,
                    request_count, answered_count, kiss_count
             FROM ntp_servers ORDER BY server) s",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect()
}

/// Three batches of two clients: answered, told to slow down, and another server unanswered.
fn history(start: i64) -> [Batch; 3] {
    let kiss = NtpExchange {
        offset_ns: None,
        response: Some(NtpPacket {
            reference_id: u32::from_be_bytes(*b"RATE"),
            ..packet(4, 0)
        }),
        ..answered(2, start + SECOND_NS)
    };
    let silent = NtpExchange {
        server: vec![198, 51, 100, 2],
        ..unanswered(1, start + 2 * SECOND_NS)
    };
    let exchanges = [
        vec![answered(1, start)],
        vec![kiss],
        vec![answered(1, start + 2 * SECOND_NS), silent],
    ];
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
async fn any_order_of_batches_gives_the_same_servers() {
    let start = now_ns() / 1000 * 1000;
    let us = start / 1000;
    let expected = [
        json!({
            "server": "198.51.100.1", "server_port": 123, "stratum": 2, "offset_ns": -5,
            "last_kiss": "RATE", "kissed_us": us + 1_001_000, "last_us": us + 2_000_000,
            "request_count": 3, "answered_count": 3, "kiss_count": 1,
        }),
        json!({
            "server": "198.51.100.2", "server_port": 123, "stratum": null, "offset_ns": null,
            "last_kiss": null, "kissed_us": null, "last_us": us + 2_000_000,
            "request_count": 1, "answered_count": 0, "kiss_count": 0,
        }),
    ];
    for order in ORDERS {
        let pool = stored_in(order, &history(start)).await;
        assert_eq!(servers(&pool).await, expected, "{order:?}");
        pool.close().await;
    }
}

#[tokio::test]
async fn who_was_not_seen_for_the_longest_retention_is_forgotten() {
    let (store, pool, agent) = store().await;
    let start = now_ns();
    for batch in history(start) {
        let rows = store.validate(agent, &batch).unwrap();
        store.commit(&rows).await.unwrap();
    }
    let counts =
        "SELECT (SELECT count(*) FROM ntp_clients) * 10 + (SELECT count(*) FROM ntp_servers)";
    let age = "UPDATE ntp_clients SET last_seen = last_seen - interval '401 days' WHERE client = '192.0.2.2';
         UPDATE ntp_servers SET last_seen = last_seen - interval '401 days' WHERE server = '198.51.100.2'";
    sqlx::raw_sql(age).execute(&pool).await.unwrap();
    assert_eq!(number(&pool, counts).await, 32);
    let now = OffsetDateTime::now_utc();
    assert_eq!(store.forget_idle_once(now).await.unwrap(), 2);
    assert_eq!(number(&pool, counts).await, 21);
}
