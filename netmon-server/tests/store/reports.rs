//! What agents report of their own books is stored with the batch that says it.

use netmon_common::wire::{Batch, Gap, GapCause, Kind, Omission, OmissionCause, StreamState};
use sqlx::PgPool;

use crate::{
    batch::{DAY_NS, SECOND_NS, batch, now_ns},
    database::{number, store},
};

fn state(settled_through: u64, sealed_through: u64) -> StreamState {
    StreamState {
        epoch: 1,
        kind: Kind::Exchanges.into(),
        settled_through,
        sealed_through,
    }
}

fn omission(first: u64, last: u64) -> Omission {
    Omission {
        epoch: 1,
        kind: Kind::Exchanges.into(),
        first_sequence: first,
        last_sequence: last,
        cause: OmissionCause::SpoolFull.into(),
        batches: last - first + 1,
        records: 7,
    }
}

fn gap(from: i64, to: i64) -> Gap {
    Gap {
        from_unix_ns: from,
        to_unix_ns: to,
        cause: GapCause::Crashed.into(),
    }
}

async fn streams(pool: &PgPool) -> Vec<(i64, i16, i64, i64)> {
    sqlx::query_as("SELECT epoch, kind, settled_through, sealed_through FROM ingest_streams")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn streams_only_grow_whatever_the_order_of_batches() {
    let (store, pool, agent) = store().await;
    let says = |sequence, streams: Vec<StreamState>| Batch {
        streams,
        ..batch(sequence)
    };
    for batch in [
        says(2, vec![state(5, 9), state(4, 10)]),
        says(1, vec![state(3, 8)]),
    ] {
        store
            .commit(&store.validate(agent, &batch).unwrap())
            .await
            .unwrap();
    }
    assert_eq!(streams(&pool).await, [(1, Kind::Exchanges as i16, 5, 10)]);
}

#[tokio::test]
async fn omissions_and_gaps_reported_again_are_there_once_and_may_have_grown() {
    let (store, pool, agent) = store().await;
    let start = now_ns() - DAY_NS;
    for (sequence, last, to) in [
        (1, 20, SECOND_NS),
        (2, 25, 3 * SECOND_NS),
        (3, 22, SECOND_NS),
    ] {
        let batch = Batch {
            omissions: vec![omission(10, last), omission(40, 40)],
            gaps: vec![gap(start, start + to)],
            ..batch(sequence)
        };
        store
            .commit(&store.validate(agent, &batch).unwrap())
            .await
            .unwrap();
    }
    let omissions: Vec<(i64, i64, String, i64, i64)> = sqlx::query_as(
        "SELECT first_sequence, last_sequence, cause, batches, records FROM ingest_omissions
         ORDER BY first_sequence",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let full = "spool_full".to_owned();
    assert_eq!(
        omissions,
        [(10, 25, full.clone(), 16, 7), (40, 40, full, 1, 7)]
    );
    let gaps: Vec<(i64, String)> = sqlx::query_as(
        "SELECT extract(epoch FROM to_at - from_at)::bigint, cause FROM sensor_gaps",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(gaps, [(3, "crashed".to_owned())]);
}

#[tokio::test]
async fn a_gap_may_be_older_than_any_data() {
    let (store, pool, agent) = store().await;
    let batch = Batch {
        gaps: vec![gap(SECOND_NS, now_ns())],
        ..batch(1)
    };
    store
        .commit(&store.validate(agent, &batch).unwrap())
        .await
        .unwrap();
    assert_eq!(number(&pool, "SELECT count(*) FROM sensor_gaps").await, 1);
}

#[tokio::test]
async fn reports_that_cannot_be_are_refused_by_name() {
    let (store, _, agent) = store().await;
    type Spoil = fn(&mut Batch);
    let cases: &[(&str, Spoil)] = &[
        ("streams[0].settled_through: ", |b| {
            b.streams = vec![state(9, 8)]
        }),
        ("streams[0].epoch: ", |b| {
            b.streams = vec![StreamState {
                epoch: 0,
                ..state(1, 2)
            }];
        }),
        ("streams[1].kind: ", |b| {
            b.streams = vec![
                state(1, 2),
                StreamState {
                    kind: 99,
                    ..state(1, 2)
                },
            ];
        }),
        ("omissions[0].first_sequence: ", |b| {
            b.omissions = vec![omission(0, 8)]
        }),
        ("omissions[0].first_sequence: ", |b| {
            b.omissions = vec![Omission {
                first_sequence: 9,
                ..omission(1, 8)
            }];
        }),
        ("omissions[0].cause: ", |b| {
            b.omissions = vec![Omission {
                cause: 0,
                ..omission(1, 8)
            }];
        }),
        ("omissions[0].records: ", |b| {
            b.omissions = vec![Omission {
                records: u64::MAX,
                ..omission(1, 8)
            }];
        }),
        ("gaps[0].cause: ", |b| {
            b.gaps = vec![Gap {
                cause: 77,
                ..gap(1, 2)
            }];
        }),
        ("gaps[0].from_unix_ns: ", |b| {
            b.gaps = vec![gap(SECOND_NS, 0)]
        }),
        ("gaps[0].to_unix_ns: ", |b| b.gaps = vec![gap(0, i64::MAX)]),
        ("gaps: ", |b| b.gaps = vec![gap(0, 1); 5000]),
        ("kind: ", |b| b.kind = 9),
        ("exchanges: ", |b| {
            b.kind = Kind::Bandwidth.into();
        }),
        ("bandwidth: ", |b| b.kind = Kind::System.into()),
    ];
    for (place, spoil) in cases {
        let mut batch = batch(1);
        spoil(&mut batch);
        let message = store.validate(agent, &batch).unwrap_err().to_string();
        assert!(
            message.starts_with(place),
            "{message:?} should name {place:?}"
        );
    }
}
