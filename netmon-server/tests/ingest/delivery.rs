//! What is sent arrives, is stored, and is acknowledged.

use netmon_common::wire::{Live, LiveInterface};
use netmon_server::agent_id::AgentId;

use crate::{agent::Reply, batch::batch, database::number, server::Server};

#[tokio::test]
async fn a_batch_is_stored_before_it_is_acknowledged() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    for sequence in 1..=3 {
        agent.deliver(&batch(sequence)).await;
        let stored = number(&server.pool, "SELECT count(*) FROM bandwidth_stats").await;
        assert_eq!(stored, sequence as i64);
    }
    assert_eq!(
        server.metric("netmon_server_batches_total{result=\"committed\"}"),
        3
    );
    assert_eq!(
        server.metric("netmon_server_rows_total{table=\"ntp_exchanges\"}"),
        3
    );
    let alias: String = sqlx::query_scalar("SELECT alias FROM agents")
        .fetch_one(&server.pool)
        .await
        .unwrap();
    assert_eq!(alias, "test");
}

#[tokio::test]
async fn a_batch_sent_again_is_acknowledged_again() {
    let server = Server::start().await;
    let id = AgentId::random();
    server.agent_with(id).await.deliver(&batch(1)).await;
    server.agent_with(id).await.deliver(&batch(1)).await;
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM bandwidth_stats").await,
        1
    );
    assert_eq!(
        server.metric("netmon_server_batches_total{result=\"duplicate\"}"),
        1
    );
}

#[tokio::test]
async fn a_live_frame_is_shown_and_not_stored() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    let interface = LiveInterface {
        name: "eth0".to_owned(),
        ..LiveInterface::default()
    };
    agent
        .send_live(Live {
            interfaces: vec![interface],
            ..Live::default()
        })
        .await;
    agent.deliver(&batch(1)).await;
    server
        .metric_becomes("netmon_server_live_frames_total", 1)
        .await;
    let snapshot = server.live.newest(agent.id).unwrap();
    assert_eq!(snapshot.live.interfaces[0].name, "eth0");
    assert!(server.live.is_connected(agent.id));
    agent.connection.close(0_u8.into(), b"");
    server
        .metric_becomes("netmon_server_agents_connected", 0)
        .await;
    server
        .metric_becomes("netmon_server_quic_connections", 0)
        .await;
}

#[tokio::test]
async fn live_frames_pass_batches_that_wait_for_the_database() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    agent.deliver(&batch(1)).await;
    let mut holder = server.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE ingest_ledger")
        .execute(&mut *holder)
        .await
        .unwrap();
    // As many as an agent sends without an answer.
    for sequence in 2..34 {
        agent.send_batch(&batch(sequence)).await;
    }
    agent.send_live(Live::default()).await;
    server
        .metric_becomes("netmon_server_live_frames_total", 1)
        .await;
    assert!(server.live.newest(agent.id).is_some());
    holder.rollback().await.unwrap();
    let mut acknowledged = 0;
    while acknowledged < 32 {
        match agent.reply().await {
            Reply::Acknowledged(sequences) => acknowledged += sequences.len(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_batches_than_streams_all_arrive() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    let sender = agent.connection.clone();
    let sending = tokio::spawn(async move {
        for sequence in 1..=300 {
            let mut stream = sender.open_uni().await.unwrap();
            stream
                .write_all(&crate::agent::uplink(&batch(sequence)))
                .await
                .unwrap();
            stream.finish().unwrap();
        }
    });
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 300 {
        match agent.reply().await {
            Reply::Acknowledged(sequences) => acknowledged.extend(sequences),
            other => panic!("{other:?}"),
        }
    }
    sending.await.unwrap();
    acknowledged.sort_unstable();
    assert!(acknowledged.into_iter().eq(1..=300));
    assert_eq!(
        number(&server.pool, "SELECT sum(session_count) FROM ntp_clients").await,
        300
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_of_one_agent_arrive_although_few_are_held_at_once() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    let sender = agent.connection.clone();
    let sending = tokio::spawn(async move {
        let mut streams = tokio::task::JoinSet::new();
        for sequence in 1..=40 {
            let (sender, mut batch) = (sender.clone(), batch(sequence));
            let exchange = batch.exchanges[0].clone();
            batch.exchanges = vec![exchange; 3000];
            streams.spawn(async move {
                let mut stream = sender.open_uni().await.unwrap();
                stream
                    .write_all(&crate::agent::uplink(&batch))
                    .await
                    .unwrap();
                stream.finish().unwrap();
            });
        }
        streams.join_all().await;
    });
    let mut acknowledged = 0;
    while acknowledged < 40 {
        match agent.reply().await {
            Reply::Acknowledged(sequences) => acknowledged += sequences.len(),
            other => panic!("{other:?}"),
        }
    }
    sending.await.unwrap();
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM ntp_exchanges").await,
        120_000
    );
}
