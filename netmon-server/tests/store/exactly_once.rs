//! A batch is stored once, however often and however it is sent.

use std::{sync::Arc, time::Duration};

use netmon_common::wire::Batch;
use netmon_server::{
    agent_id::AgentId,
    store::{Committed, Store},
};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::{
    batch::{FRAME_BYTES, answered, batch, frame, interface},
    database::{RETENTION, number, register, store},
};

async fn commit(store: &Store, agent: AgentId, batch: &Batch) -> Committed {
    store
        .commit(&store.validate(agent, batch).unwrap())
        .await
        .unwrap()
}

/// Frames, their bytes, exchanges, sessions of clients, and ledger rows.
async fn books(pool: &PgPool) -> [i64; 5] {
    [
        number(pool, "SELECT count(*) FROM bandwidth_stats").await,
        number(
            pool,
            "SELECT coalesce(sum(ingress_bytes), 0) FROM bandwidth_samples",
        )
        .await,
        number(pool, "SELECT count(*) FROM ntp_exchanges").await,
        number(
            pool,
            "SELECT coalesce(sum(session_count), 0) FROM ntp_clients",
        )
        .await,
        number(pool, "SELECT count(*) FROM ingest_ledger").await,
    ]
}

#[tokio::test]
async fn a_batch_sent_twice_is_stored_once() {
    let (store, pool, agent) = store().await;
    let batch = batch(1);
    assert!(matches!(
        commit(&store, agent, &batch).await,
        Committed::Stored(_)
    ));
    assert_eq!(commit(&store, agent, &batch).await, Committed::Duplicate);
    assert_eq!(books(&pool).await, [1, FRAME_BYTES, 1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sent_by_many_tasks_at_once_is_stored_once() {
    let (store, pool, agent) = store().await;
    let store = Arc::new(store);
    for sequence in 1..=10 {
        let batch = batch(sequence);
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let (store, batch) = (Arc::clone(&store), batch.clone());
            tasks.spawn(async move { commit(&store, agent, &batch).await });
        }
        let outcomes = tasks.join_all().await;
        let stored = outcomes
            .iter()
            .filter(|o| matches!(o, Committed::Stored(_)))
            .count();
        let duplicates = outcomes
            .iter()
            .filter(|o| **o == Committed::Duplicate)
            .count();
        assert_eq!((stored, duplicates), (1, 7));
    }
    assert_eq!(books(&pool).await, [10, 10 * FRAME_BYTES, 10, 10, 10]);
}

#[tokio::test]
async fn two_agents_may_use_the_same_numbers() {
    let (store, pool, agent) = store().await;
    let other = register(&store).await;
    let batch = batch(1);
    commit(&store, agent, &batch).await;
    commit(&store, other, &batch).await;
    assert_eq!(books(&pool).await, [2, 2 * FRAME_BYTES, 2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_touch_the_same_clients_in_any_order_never_deadlock() {
    let (store, pool, agent) = store().await;
    let other = register(&store).await;
    let store = Arc::new(store);
    let mut tasks = JoinSet::new();
    for sequence in 1..=40 {
        let mut batch = batch(sequence);
        let at = batch.sealed_at_unix_ns;
        let mut order: Vec<u8> = (1..=100).collect();
        // Half of the batches name clients and interfaces the other way round.
        if sequence % 2 == 0 {
            order.reverse();
        }
        batch.exchanges = order.iter().map(|client| answered(*client, at)).collect();
        batch.interfaces = order
            .iter()
            .map(|n| interface(&format!("veth{n}")))
            .collect();
        batch.bandwidth = order
            .iter()
            .map(|n| frame(&format!("veth{n}"), at))
            .collect();
        for agent in [agent, other] {
            let (store, batch) = (Arc::clone(&store), batch.clone());
            tasks.spawn(async move { commit(&store, agent, &batch).await });
        }
    }
    let outcomes = tasks.join_all().await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Committed::Stored(_)))
    );
    assert_eq!(
        books(&pool).await,
        [8000, 8000 * FRAME_BYTES, 8000, 8000, 80]
    );
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&pool, deadlocks).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_given_up_at_any_moment_leaves_all_or_nothing() {
    let (store, pool, agent) = store().await;
    commit(&store, agent, &batch(1)).await;
    for sequence in 2..=60 {
        let rows = store.validate(agent, &batch(sequence)).unwrap();
        let moment = Duration::from_micros(sequence * 150);
        let _ = tokio::time::timeout(moment, store.commit(&rows)).await;
        // Whatever became of it, the next attempt ends with the batch stored once.
        store.commit(&rows).await.unwrap();
    }
    assert_eq!(books(&pool).await, [60, 60 * FRAME_BYTES, 60, 60, 60]);
}

#[tokio::test]
async fn an_empty_batch_has_a_verdict_too() {
    let (store, pool, agent) = store().await;
    let batch = Batch {
        bandwidth: Vec::new(),
        exchanges: Vec::new(),
        interfaces: Vec::new(),
        ..batch(1)
    };
    assert!(matches!(
        commit(&store, agent, &batch).await,
        Committed::Stored(_)
    ));
    assert_eq!(commit(&store, agent, &batch).await, Committed::Duplicate);
    assert_eq!(books(&pool).await, [0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn batches_of_an_agent_that_is_not_registered_wait_for_its_row() {
    let (store, pool, _) = store().await;
    let stranger = AgentId::random();
    let rows = store.validate(stranger, &batch(1)).unwrap();
    let error = store.commit(&rows).await.unwrap_err();
    assert!(
        matches!(error, netmon_server::store::StoreError::Transient { .. }),
        "{error}"
    );
    assert_eq!(books(&pool).await, [0; 5]);
}

#[tokio::test]
async fn a_commit_is_durable_whatever_the_database_is_set_to() {
    let (_, pool, agent) = store().await;
    let trigger =
        "CREATE TABLE seen AS SELECT current_setting('synchronous_commit') AS value LIMIT 0;
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
         CREATE TRIGGER look AFTER INSERT ON ingest_ledger EXECUTE FUNCTION look()";
    sqlx::raw_sql(trigger).execute(&pool).await.unwrap();
    for (sequence, set, expected) in [(1, "off", "on"), (2, "local", "local")] {
        let options = (*pool.connect_options()).clone();
        let options = options.options([("synchronous_commit", set)]);
        let store = Store::new(PgPool::connect_lazy_with(options), RETENTION);
        commit(&store, agent, &batch(sequence)).await;
        let seen: String = sqlx::query_scalar("DELETE FROM seen RETURNING value")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(seen, expected);
    }
}
