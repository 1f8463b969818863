//! Interfaces keep their newest description, whatever the order of batches.

use netmon_common::wire::{Batch, Hello, Interface};
use netmon_server::store::Store;

use crate::{
    batch::{SECOND_NS, batch, frame, interface, now_ns},
    database::{number, store},
};

async fn commit(store: &Store, agent: netmon_server::agent_id::AgentId, batch: &Batch) {
    store
        .commit(&store.validate(agent, batch).unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_later_measurement_does_not_hide_an_earlier_description() {
    let (store, pool, agent) = store().await;
    let start = now_ns();
    let measured = Batch {
        interfaces: Vec::new(),
        bandwidth: vec![frame("eth0", start + 10 * SECOND_NS)],
        ..batch(2)
    };
    let described = Batch {
        sealed_at_unix_ns: start,
        bandwidth: Vec::new(),
        interfaces: vec![Interface {
            mtu: 9000,
            ..interface("eth0")
        }],
        ..batch(1)
    };
    commit(&store, agent, &measured).await;
    assert_eq!(number(&pool, "SELECT mtu FROM interfaces").await, 0);
    commit(&store, agent, &described).await;
    assert_eq!(number(&pool, "SELECT mtu FROM interfaces").await, 9000);
    let span = "SELECT extract(epoch FROM last_seen - first_seen) FROM interfaces";
    assert_eq!(number(&pool, span).await, 10);
}

#[tokio::test]
async fn an_older_description_does_not_replace_a_newer_one() {
    let (store, pool, agent) = store().await;
    let start = now_ns();
    let described = |sequence, offset, mtu| Batch {
        sealed_at_unix_ns: start + offset,
        interfaces: vec![Interface {
            mtu,
            ..interface("eth0")
        }],
        bandwidth: Vec::new(),
        ..batch(sequence)
    };
    commit(&store, agent, &described(2, SECOND_NS, 9000)).await;
    commit(&store, agent, &described(1, 0, 1500)).await;
    assert_eq!(number(&pool, "SELECT mtu FROM interfaces").await, 9000);
}

#[tokio::test]
async fn an_older_run_does_not_rename_its_agent() {
    let (store, pool, agent) = store().await;
    let hello = |epoch, alias: &str| Hello {
        epoch,
        alias: alias.to_owned(),
        ..Hello::default()
    };
    store
        .register_agent(agent, &hello(20, "new"))
        .await
        .unwrap();
    store
        .register_agent(agent, &hello(10, "old\0"))
        .await
        .unwrap();
    let row: (String, i64) = sqlx::query_as("SELECT alias, epoch FROM agents")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(row, ("new".to_owned(), 20));
}
