//! Streams of several kinds, and acknowledgements of all batches up to one.

use netmon_common::wire::{ALPN, Batch, Kind, RefusalCause, StreamState};
use netmon_server::agent_id::AgentId;

use crate::{
    agent::{Agent, Reply, dial},
    batch::batch,
    database::number,
    server::Server,
};

/// A bandwidth batch.
fn bandwidth(sequence: u64) -> Batch {
    Batch {
        kind: Kind::Bandwidth.into(),
        exchanges: Vec::new(),
        ..batch(sequence)
    }
}

fn exchanges(sequence: u64) -> Batch {
    Batch {
        kind: Kind::Exchanges.into(),
        bandwidth: Vec::new(),
        interfaces: Vec::new(),
        ..batch(sequence)
    }
}

fn state(kind: Kind, settled_through: u64) -> StreamState {
    StreamState {
        epoch: 1,
        kind: kind.into(),
        settled_through,
        sealed_through: 99,
    }
}

async fn connect(server: &Server, id: AgentId, streams: Vec<StreamState>) -> Agent {
    let config = server
        .authority
        .client(Some(server.authority.agent(id)), &[ALPN]);
    let connection = dial(server.address, config).await.unwrap();
    Agent::greet_with(connection, id, streams).await.unwrap()
}

#[tokio::test]
async fn each_kind_has_sequence_numbers_of_its_own() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    for sequence in 1..=2 {
        for (kind, batch) in [
            (Kind::Bandwidth, bandwidth(sequence)),
            (Kind::Exchanges, exchanges(sequence)),
        ] {
            agent.send_batch(&batch).await;
            let told = agent.acknowledgement().await;
            assert_eq!((told.kind(), told.sequences), (kind, vec![sequence]));
            assert_eq!(told.settled_through, 0, "the agent spoke of no streams");
        }
    }
    let kinds = "SELECT count(DISTINCT kind) FROM ingest_ledger";
    assert_eq!(number(&server.pool, kinds).await, 2);
}

#[tokio::test]
async fn a_stream_without_holes_is_acknowledged_as_a_whole() {
    let server = Server::start().await;
    let mut agent = connect(&server, AgentId::random(), vec![state(Kind::Bandwidth, 4)]).await;
    let mut said = Vec::new();
    for sequence in [6, 5, 8, 7] {
        agent.send_batch(&bandwidth(sequence)).await;
        let told = agent.acknowledgement().await;
        said.push((told.settled_through, told.sequences));
    }
    assert_eq!(said, [(4, vec![6]), (6, vec![]), (6, vec![8]), (8, vec![])]);
}

#[tokio::test]
async fn a_refusal_settles_its_number_and_comes_before_an_acknowledgement_beyond_it() {
    let server = Server::start().await;
    let mut agent = connect(&server, AgentId::random(), vec![state(Kind::Bandwidth, 0)]).await;
    agent.send_batch(&bandwidth(1)).await;
    assert_eq!(agent.acknowledgement().await.settled_through, 1);
    let mut invalid = bandwidth(2);
    invalid.bandwidth[0].interface = "a/b".to_owned();
    agent.send_batch(&invalid).await;
    match agent.reply().await {
        Reply::Refused(2, RefusalCause::InvalidRow, _) => {}
        other => panic!("{other:?}"),
    }
    agent.send_batch(&bandwidth(3)).await;
    assert_eq!(agent.acknowledgement().await.settled_through, 3);
}

#[tokio::test]
async fn batches_whose_acknowledgement_was_lost_are_acknowledged_at_the_hello() {
    let server = Server::start().await;
    let id = AgentId::random();
    let mut agent = connect(&server, id, Vec::new()).await;
    for sequence in [3, 4, 6] {
        agent.send_batch(&bandwidth(sequence)).await;
        agent.acknowledgement().await;
    }
    agent.connection.close(0_u8.into(), b"");
    // It has heard of nothing beyond 2.
    let mut agent = connect(&server, id, vec![state(Kind::Bandwidth, 2)]).await;
    let told = agent.acknowledgement().await;
    assert_eq!((told.settled_through, told.sequences), (4, vec![6]));
    agent.send_batch(&bandwidth(5)).await;
    assert_eq!(agent.acknowledgement().await.settled_through, 6);
    assert_eq!(
        server.metric("netmon_server_batches_total{result=\"duplicate\"}"),
        0
    );
}
