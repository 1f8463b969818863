//! The ledger is trimmed behind its floors, and no batch is stored anew because of it.

use std::sync::Arc;

use netmon_common::wire::{Batch, Kind, Omission, OmissionCause, StreamState};
use netmon_server::{
    agent_id::AgentId,
    metrics::BatchRefusal,
    store::{Committed, Known, Refusing, Store},
};
use sqlx::PgPool;
use time::{Duration, OffsetDateTime};

use crate::{
    batch::{FRAME_BYTES, batch},
    database::{RETENTION, number, register, store},
};

async fn commit(store: &Store, agent: AgentId, batch: &Batch) -> Committed {
    let rows = store.validate(agent, batch).unwrap();
    store.commit(&rows).await.unwrap()
}

fn refusing(agent: AgentId, sequence: u64) -> Refusing<'static> {
    Refusing {
        agent,
        epoch: 1,
        kind: Kind::Unspecified,
        sequence,
        cause: BatchRefusal::InvalidRow,
        reason: "bad",
        message: b"as it came",
    }
}

/// Trims as if so many days had passed.
async fn trim_after(store: &Store, days: i64) -> (u64, u64) {
    let later = OffsetDateTime::now_utc() + Duration::days(days);
    let trimmed = store.trim_ledger_once(later).await.unwrap();
    (trimmed.floors, trimmed.rows)
}

async fn floor(pool: &PgPool) -> i64 {
    number(pool, "SELECT coalesce(max(through), 0) FROM ingest_floors").await
}

async fn rows(pool: &PgPool) -> i64 {
    number(pool, "SELECT count(*) FROM ingest_ledger").await
}

#[tokio::test]
async fn young_rows_stay_and_old_ones_go_up_to_the_first_hole() {
    let (store, pool, agent) = store().await;
    for sequence in [1, 2, 3, 5, 6] {
        commit(&store, agent, &batch(sequence)).await;
    }
    assert_eq!(trim_after(&store, 0).await, (0, 0));
    assert_eq!((floor(&pool).await, rows(&pool).await), (0, 5));
    assert_eq!(trim_after(&store, 2).await, (1, 3));
    assert_eq!((floor(&pool).await, rows(&pool).await), (3, 2));
    // The hole is filled: the floor rises over what came before it.
    commit(&store, agent, &batch(4)).await;
    assert_eq!(trim_after(&store, 4).await, (1, 3));
    assert_eq!((floor(&pool).await, rows(&pool).await), (6, 0));
    assert_eq!(trim_after(&store, 6).await, (0, 0));
}

#[tokio::test]
async fn a_floor_rises_over_what_the_agent_gave_up() {
    let (store, pool, agent) = store().await;
    let omission = Omission {
        epoch: 1,
        kind: Kind::Unspecified.into(),
        first_sequence: 2,
        last_sequence: 7,
        cause: OmissionCause::TooOld.into(),
        batches: 6,
        records: 60,
    };
    let reporting = Batch {
        omissions: vec![omission],
        ..batch(8)
    };
    commit(&store, agent, &batch(1)).await;
    commit(&store, agent, &reporting).await;
    trim_after(&store, 2).await;
    assert_eq!((floor(&pool).await, rows(&pool).await), (8, 0));
}

#[tokio::test]
async fn batches_below_the_floor_keep_their_verdicts() {
    let (store, pool, agent) = store().await;
    commit(&store, agent, &batch(1)).await;
    let refused = store.refuse(refusing(agent, 2)).await.unwrap();
    commit(&store, agent, &batch(3)).await;
    trim_after(&store, 2).await;
    assert_eq!((floor(&pool).await, rows(&pool).await), (3, 0));

    assert_eq!(commit(&store, agent, &batch(1)).await, Committed::Duplicate);
    assert_eq!(commit(&store, agent, &batch(2)).await, refused);
    assert_eq!(store.refuse(refusing(agent, 2)).await.unwrap(), refused);
    let known = store.refuse(refusing(agent, 3)).await.unwrap();
    assert_eq!(known, Committed::Duplicate);
    assert_eq!(rows(&pool).await, 0);
    assert_eq!(
        number(&pool, "SELECT count(*) FROM bandwidth_stats").await,
        2
    );
    // A stream of another kind has a floor of its own.
    let mut other = batch(1);
    (other.kind, other.exchanges) = (Kind::Bandwidth.into(), Vec::new());
    other.bandwidth[0].interface = "eth9".to_owned();
    assert!(matches!(
        commit(&store, agent, &other).await,
        Committed::Stored(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_that_arrives_while_the_ledger_is_trimmed_is_never_stored() {
    let (store, pool, agent) = store().await;
    let store = Arc::new(store);
    let trimmer = Store::new(pool.clone(), RETENTION);
    for round in 1..=40_i64 {
        let sequences = (round as u64 * 5 - 4)..=(round as u64 * 5);
        for sequence in sequences.clone() {
            commit(&store, agent, &batch(sequence)).await;
        }
        let sender = Arc::clone(&store);
        let duplicates = tokio::spawn(async move {
            for _ in 0..4 {
                for sequence in sequences.clone().rev() {
                    let verdict = commit(&sender, agent, &batch(sequence)).await;
                    assert_eq!(verdict, Committed::Duplicate);
                }
            }
        });
        trim_after(&trimmer, 2 + round).await;
        duplicates.await.unwrap();
    }
    assert_eq!((floor(&pool).await, rows(&pool).await), (200, 0));
    let bytes = "SELECT sum(ingress_bytes) FROM bandwidth_samples";
    assert_eq!(number(&pool, bytes).await, 200 * FRAME_BYTES);
    let sessions = "SELECT sum(session_count) FROM ntp_clients";
    assert_eq!(number(&pool, sessions).await, 200);
}

#[tokio::test]
async fn what_nobody_can_ask_for_any_more_is_forgotten() {
    let (store, pool, agent) = store().await;
    let reporting = Batch {
        streams: vec![StreamState {
            epoch: 1,
            sealed_through: 3,
            ..StreamState::default()
        }],
        ..batch(1)
    };
    commit(&store, agent, &reporting).await;
    commit(&store, agent, &batch(3)).await;
    store.refuse(refusing(agent, 5)).await.unwrap();
    let all = "SELECT (SELECT count(*) FROM ingest_ledger) + (SELECT count(*) FROM ingest_floors)
        + (SELECT count(*) FROM ingest_streams) + (SELECT count(*) FROM ingest_refusals)";
    trim_after(&store, 2).await;
    // The run is not over: it may last for years.
    trim_after(&store, 410).await;
    assert_eq!(number(&pool, all).await, 2 + 1 + 1 + 1);
    let hello = netmon_common::wire::Hello {
        epoch: (OffsetDateTime::now_utc().unix_timestamp() as u64) * 1000 * 1024,
        ..Default::default()
    };
    store.register_agent(agent, &hello).await.unwrap();
    trim_after(&store, 398).await;
    assert_eq!(number(&pool, all).await, 5);
    trim_after(&store, 411).await;
    assert_eq!(number(&pool, all).await, 0);
}

#[tokio::test]
async fn an_agent_learns_which_batches_need_not_come_again() {
    let (store, _, agent) = store().await;
    let other = register(&store).await;
    for sequence in [1, 2, 4, 7] {
        commit(&store, agent, &batch(sequence)).await;
    }
    commit(&store, other, &batch(5)).await;
    store.refuse(refusing(agent, 6)).await.unwrap();
    let state = |settled_through| StreamState {
        epoch: 1,
        settled_through,
        sealed_through: 9,
        ..StreamState::default()
    };
    let known = |through, sequences: &[u64]| Known {
        epoch: 1,
        kind: Kind::Unspecified,
        through,
        sequences: sequences.to_vec(),
    };
    let asked = store.known(agent, &[state(1)]).await.unwrap();
    assert_eq!(asked, [known(0, &[2, 4, 7])]);
    assert_eq!(store.known(agent, &[]).await.unwrap(), []);
    trim_after(&store, 2).await;
    let asked = store.known(agent, &[state(1)]).await.unwrap();
    assert_eq!(asked, [known(2, &[4, 7])]);
    // A floor above a refusal says nothing: the agent is to hear of the refusal.
    for sequence in [3, 5] {
        commit(&store, agent, &batch(sequence)).await;
    }
    trim_after(&store, 4).await;
    assert_eq!(store.known(agent, &[state(1)]).await.unwrap(), []);
    let asked = store.known(agent, &[state(6)]).await.unwrap();
    assert_eq!(asked, [known(7, &[])]);
}
