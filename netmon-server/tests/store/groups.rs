//! Batches of several agents in one transaction: all or nothing, and each once.

use std::sync::Arc;

use netmon_common::wire::Batch;
use netmon_server::{
    agent_id::AgentId,
    store::{Committed, Rows, Store, StoreError},
};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::{
    batch::{FRAME_BYTES, batch, frame},
    database::{RETENTION, number, register, store},
};

fn rows(store: &Store, batches: &[(AgentId, Batch)]) -> Rows {
    let mut rows = Rows::default();
    for (agent, batch) in batches {
        rows.push(*agent, batch, store.window()).unwrap();
    }
    rows
}

async fn group(store: &Store, batches: &[(AgentId, Batch)]) -> Vec<Committed> {
    let rows = rows(store, batches);
    let committed = store.commit_group(&rows, 0..batches.len()).await.unwrap();
    committed.verdicts
}

fn stored(verdicts: &[Committed]) -> usize {
    let stored = |verdict: &&Committed| matches!(verdict, Committed::Stored(_));
    verdicts.iter().filter(stored).count()
}

/// Frames, their bytes, exchanges, sessions of clients, and ledger rows.
async fn books(pool: &PgPool) -> [i64; 5] {
    let bytes = "SELECT coalesce(sum(ingress_bytes), 0) FROM bandwidth_samples";
    let sessions = "SELECT coalesce(sum(session_count), 0) FROM ntp_clients";
    [
        number(pool, "SELECT count(*) FROM bandwidth_stats").await,
        number(pool, bytes).await,
        number(pool, "SELECT count(*) FROM ntp_exchanges").await,
        number(pool, sessions).await,
        number(pool, "SELECT count(*) FROM ingest_ledger").await,
    ]
}

#[tokio::test]
async fn a_group_of_many_agents_is_stored_with_one_transaction() {
    let (store, pool, agent) = store().await;
    let mut batches = vec![(agent, batch(1)), (agent, batch(2))];
    for _ in 0..20 {
        batches.push((register(&store).await, batch(1)));
    }
    // Agents come in any order.
    batches.reverse();
    assert_eq!(stored(&group(&store, &batches).await), 22);
    assert_eq!(books(&pool).await, [22, 22 * FRAME_BYTES, 22, 22, 22]);
    let transactions = "SELECT count(DISTINCT xmin::text) FROM bandwidth_stats";
    assert_eq!(number(&pool, transactions).await, 1);
}

#[tokio::test]
async fn the_same_batch_twice_in_a_group_is_stored_once() {
    let (store, pool, agent) = store().await;
    let batches = [(agent, batch(1)), (agent, batch(2)), (agent, batch(1))];
    let verdicts = group(&store, &batches).await;
    assert_eq!(stored(&verdicts), 2);
    assert_eq!(verdicts[2], Committed::Duplicate);
    assert_eq!(books(&pool).await, [2, 2 * FRAME_BYTES, 2, 2, 2]);
}

#[tokio::test]
async fn duplicates_among_new_batches_are_left_out() {
    let (store, pool, agent) = store().await;
    let known: Vec<_> = [2, 3, 5].map(|n| (agent, batch(n))).into();
    group(&store, &known).await;
    let all: Vec<_> = (1..=6).map(|n| (agent, batch(n))).collect();
    let verdicts = group(&store, &all).await;
    let duplicates: Vec<_> = verdicts
        .iter()
        .map(|v| *v == Committed::Duplicate)
        .collect();
    assert_eq!(duplicates, [false, true, true, false, true, false]);
    assert_eq!(books(&pool).await, [6, 6 * FRAME_BYTES, 6, 6, 6]);
}

#[tokio::test]
async fn an_invalid_batch_leaves_nothing_among_the_others() {
    let (store, pool, agent) = store().await;
    let mut invalid = batch(2);
    invalid
        .bandwidth
        .push(frame("eth1", invalid.sealed_at_unix_ns));
    invalid.exchanges[0].client_port = 70_000;
    let mut rows = Rows::default();
    rows.push(agent, &batch(1), store.window()).unwrap();
    rows.push(agent, &invalid, store.window()).unwrap_err();
    rows.push(agent, &batch(3), store.window()).unwrap();
    assert_eq!(rows.batches(), 2);
    let committed = store.commit_group(&rows, 0..2).await.unwrap();
    assert_eq!(stored(&committed.verdicts), 2);
    assert_eq!(books(&pool).await, [2, 2 * FRAME_BYTES, 2, 2, 2]);
    assert_eq!(number(&pool, "SELECT count(*) FROM interfaces").await, 1);
}

/// Has the database do something to frames of an interface.
async fn trigger(pool: &PgPool, interface: &str, does: &str) {
    let statement = format!(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.interface = '{interface}' THEN {does}; END IF; RETURN NEW; END $$;
         CREATE TRIGGER look BEFORE INSERT ON bandwidth_stats FOR EACH ROW EXECUTE FUNCTION look()"
    );
    sqlx::raw_sql(&statement).execute(pool).await.unwrap();
}

fn with_frame(sequence: u64, interface: &str) -> Batch {
    let mut batch = batch(sequence);
    batch.bandwidth = vec![frame(interface, batch.sealed_at_unix_ns)];
    batch
}

#[tokio::test]
async fn a_part_without_the_poison_batch_can_be_stored_by_itself() {
    let (store, pool, agent) = store().await;
    trigger(
        &pool,
        "poison",
        "RAISE EXCEPTION 'no' USING ERRCODE = '22003'",
    )
    .await;
    let batches: Vec<_> = (1..=5)
        .map(|n| (agent, with_frame(n, if n == 4 { "poison" } else { "eth0" })))
        .collect();
    let rows = rows(&store, &batches);
    let error = store.commit_group(&rows, 0..5).await.unwrap_err();
    assert!(matches!(error, StoreError::Permanent(_)), "{error}");
    assert_eq!(books(&pool).await, [0; 5]);
    for part in [0..3, 4..5] {
        let count = part.len();
        let committed = store.commit_group(&rows, part).await.unwrap();
        assert_eq!(stored(&committed.verdicts), count);
    }
    assert_eq!(books(&pool).await, [4, 4 * FRAME_BYTES, 4, 4, 4]);
}

#[tokio::test]
async fn rows_that_vanish_roll_the_group_back() {
    let (store, pool, agent) = store().await;
    trigger(&pool, "hole", "RETURN NULL").await;
    let batches = [(agent, batch(1)), (agent, with_frame(2, "hole"))];
    let rows = rows(&store, &batches);
    let error = store.commit_group(&rows, 0..2).await.unwrap_err();
    let wanted = StoreError::Mismatch {
        table: "bandwidth_stats",
        sent: 2,
        stored: 1,
    };
    assert_eq!(error.to_string(), wanted.to_string());
    assert_eq!(books(&pool).await, [0; 5]);
}

#[tokio::test]
async fn rows_that_are_there_without_their_ledger_row_are_not_doubled() {
    let (store, pool, agent) = store().await;
    let batches: Vec<_> = (1..=4).map(|n| (agent, batch(n))).collect();
    group(&store, &batches[..3]).await;
    // As after the ledger alone was restored from an older backup.
    sqlx::query("DELETE FROM ingest_ledger WHERE sequence > 1")
        .execute(&pool)
        .await
        .unwrap();
    let rows = rows(&store, &batches);
    let committed = store.commit_group(&rows, 0..4).await.unwrap();
    assert_eq!(stored(&committed.verdicts), 3);
    assert_eq!(committed.present, Some(4), "frames and exchanges of two");
    assert_eq!(books(&pool).await, [4, 4 * FRAME_BYTES, 4, 4, 4]);
    let committed = store.commit_group(&rows, 0..4).await.unwrap();
    assert_eq!(committed.verdicts, vec![Committed::Duplicate; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_hold_the_same_batches_store_each_once() {
    let (first, pool, agent) = store().await;
    let others: Vec<_> = futures_util::future::join_all((0..4).map(|_| register(&first))).await;
    let servers = [
        Arc::new(first),
        Arc::new(Store::new(pool.clone(), RETENTION)),
    ];
    const ROUNDS: u64 = 60;
    for round in 0..ROUNDS {
        let mut batches: Vec<_> = (1..=3).map(|n| (agent, batch(3 * round + n))).collect();
        batches.extend(others.iter().map(|other| (*other, batch(round + 1))));
        let mut tasks = JoinSet::new();
        for server in &servers {
            let (server, of_this) = (Arc::clone(server), batches.clone());
            tasks.spawn(async move { stored(&group(&server, &of_this).await) });
            // Each has them in an order of its own.
            batches.reverse();
        }
        assert_eq!(tasks.join_all().await.into_iter().sum::<usize>(), 7);
    }
    let all = (7 * ROUNDS) as i64;
    assert_eq!(books(&pool).await, [all, all * FRAME_BYTES, all, all, all]);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&pool, deadlocks).await, 0);
}

#[tokio::test]
async fn an_agent_whose_row_is_gone_is_told_from_a_broken_database() {
    let (store, pool, _) = store().await;
    let stranger = AgentId::random();
    let mut batch = batch(1);
    // Without an interface no foreign key would notice.
    (batch.interfaces, batch.bandwidth) = (Vec::new(), Vec::new());
    let rows = rows(&store, &[(stranger, batch)]);
    let error = store.commit_group(&rows, 0..1).await.unwrap_err();
    let expected = stranger.to_bigint();
    assert!(
        matches!(error, StoreError::Unregistered(agent) if agent == expected),
        "{error}"
    );
    assert_eq!(number(&pool, "SELECT count(*) FROM agents").await, 1);
    assert_eq!(books(&pool).await, [0; 5]);
}

#[tokio::test]
async fn an_agent_that_lives_is_noted_without_a_row_for_each_frame() {
    let (store, pool, agent) = store().await;
    let versions = "SELECT sum(n_tup_ins + n_tup_upd) FROM pg_stat_user_tables \
                    WHERE relname IN ('agents', 'interfaces')";
    for sequence in 1..=30 {
        let mut batch = batch(sequence);
        batch.interfaces.clear();
        group(&store, &[(agent, batch)]).await;
    }
    // A minute of frames and more: the interface appeared, and was seen again.
    let beyond = with_frame(90, "eth0");
    let last = beyond.sealed_at_unix_ns / 1000;
    group(&store, &[(agent, beyond)]).await;
    let seen = "SELECT (extract(epoch FROM last_seen) * 1000000)::bigint FROM interfaces";
    assert_eq!(number(&pool, seen).await, last);
    sqlx::query("SELECT pg_stat_force_next_flush()")
        .execute(&pool)
        .await
        .unwrap();
    assert!(number(&pool, versions).await <= 8);
}

#[tokio::test]
async fn a_distributed_database_is_asked_once_where_an_agent_lives() {
    let (_, pool, agent) = store().await;
    let single = Store::new(pool.clone(), RETENTION);
    assert_eq!(single.shard_of(agent).await.unwrap(), 0);
    // What Citus would be, as far as this server asks it.
    sqlx::raw_sql(
        "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
         VALUES (4242, 'citus', 10, 'public'::regnamespace, false, '13');
         CREATE TABLE asked (agent_id bigint);
         CREATE FUNCTION get_shard_id_for_distribution_column(name regclass, value bigint)
         RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO asked VALUES (value); RETURN 102008 + abs(value % 32); END $$",
    )
    .execute(&pool)
    .await
    .unwrap();
    let store = Store::new(pool.clone(), RETENTION);
    for _ in 0..3 {
        let shard = store.shard_of(agent).await.unwrap();
        assert_eq!(shard, 102_008 + (agent.to_bigint() % 32).abs());
    }
    assert_eq!(number(&pool, "SELECT count(*) FROM asked").await, 1);
}
