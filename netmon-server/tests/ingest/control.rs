//! The control stream: a Hello in time, small messages, one connection per agent.

use std::time::{Duration, Instant};

use netmon_common::wire::{ALPN, Hello, MAX_CONTROL_BYTES};
use netmon_server::{
    agent_id::AgentId,
    ingest::{Limits, close},
};
use prost::Message;
use quinn::Connection;

use crate::{
    agent::{closed, dial},
    batch::batch,
    server::Server,
};

fn closings(cause: &str) -> String {
    format!("netmon_server_connections_closed_total{{cause=\"{cause}\"}}")
}

async fn stranger(server: &Server) -> Connection {
    let identity = server.authority.agent(AgentId::random());
    dial(
        server.address,
        server.authority.client(Some(identity), &[ALPN]),
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn without_a_hello_the_connection_is_closed_and_counted() {
    let hello = Duration::from_millis(500);
    let server = Server::with(Limits {
        hello,
        ..Limits::default()
    })
    .await;
    let mut good = server.agent().await;
    let silent = stranger(&server).await;
    let half = stranger(&server).await;
    let (mut control, _replies) = half.open_bi().await.unwrap();
    control.write_all(&[200]).await.unwrap();
    for connection in [&silent, &half] {
        assert_eq!(
            closed(connection).await.0,
            close::HELLO_MISSING.into_inner()
        );
    }
    assert_eq!(server.metric(&closings("hello_missing")), 2);
    good.deliver(&batch(1)).await;
}

#[tokio::test]
async fn a_hello_that_is_none_closes_the_connection() {
    let server = Server::start().await;
    let no_epoch = Hello::default().encode_length_delimited_to_vec();
    for octets in [no_epoch.as_slice(), b"\x05hello", b"\xff\xff\xff\xff\x7f"] {
        let connection = stranger(&server).await;
        let (mut control, _replies) = connection.open_bi().await.unwrap();
        control.write_all(octets).await.unwrap();
        assert_eq!(
            closed(&connection).await.0,
            close::CONTROL_MALFORMED.into_inner()
        );
    }
    assert_eq!(server.metric(&closings("control_malformed")), 3);
}

#[tokio::test]
async fn a_control_message_beyond_the_bound_closes_the_connection() {
    let server = Server::start().await;
    let (mut bad, mut good) = (server.agent().await, server.agent().await);
    let mut announced = Vec::new();
    prost::encode_length_delimiter(MAX_CONTROL_BYTES + 1, &mut announced).unwrap();
    bad.control.write_all(&announced).await.unwrap();
    assert_eq!(bad.closed().await.0, close::CONTROL_MALFORMED.into_inner());
    good.deliver(&batch(1)).await;
}

#[tokio::test]
async fn messages_of_a_newer_agent_on_the_control_stream_are_passed_over() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    agent.control.write_all(b"\x03\x7a\x01x\x00").await.unwrap();
    agent.deliver(&batch(1)).await;
    agent.control.finish().unwrap();
    agent.deliver(&batch(2)).await;
}

#[tokio::test]
async fn a_newer_connection_of_an_agent_replaces_the_older() {
    let server = Server::start().await;
    let older = server.agent().await;
    let started = Instant::now();
    let mut newer = server.agent_with(older.id).await;
    assert_eq!(older.closed().await.0, close::REPLACED.into_inner());
    assert!(started.elapsed() < Duration::from_secs(5));
    newer.deliver(&batch(1)).await;
    server
        .metric_becomes("netmon_server_quic_connections", 1)
        .await;
    assert!(server.live.is_connected(older.id));
    assert_eq!(server.metric(&closings("replaced")), 1);
}

#[tokio::test]
async fn an_agent_that_stops_its_replies_is_closed() {
    let server = Server::start().await;
    let agent = server.agent().await;
    let connection = agent.connection.clone();
    // Dropping the receiving half stops it; the next reply finds out.
    agent.send_batch(&batch(1)).await;
    drop(agent);
    assert_eq!(
        closed(&connection).await.0,
        close::CONTROL_MALFORMED.into_inner()
    );
}

#[tokio::test]
async fn an_agent_has_few_connections_without_a_hello_and_the_one_that_works_stays() {
    let server = Server::with(Limits {
        silent_per_agent: 2,
        ..Limits::default()
    })
    .await;
    let mut agent = server.agent().await;
    let silent = async || {
        let identity = Some(server.authority.agent(agent.id));
        let config = server.authority.client(identity, &[ALPN]);
        dial(server.address, config).await.unwrap()
    };
    let open = "netmon_server_quic_connections";
    let (first, _second) = (silent().await, silent().await);
    server.metric_becomes(open, 3).await;
    let (code, reason) = closed(&silent().await).await;
    assert_eq!(code, close::HELLO_MISSING.into_inner());
    assert!(reason.contains("too many connections"), "{reason}");
    assert_eq!(server.metric(&closings("too_many_connections")), 1);
    server.metric_becomes(open, 3).await;

    // As the agent's `doctor` ends its connection: nobody's fault.
    first.close(0_u8.into(), b"only asking");
    server.metric_becomes(open, 2).await;
    let _third = silent().await;
    server.metric_becomes(open, 3).await;
    for cause in ["control_malformed", "hello_missing", "replaced"] {
        assert_eq!(server.metric(&closings(cause)), 0, "{cause}");
    }
    assert_eq!(server.metric(&closings("too_many_connections")), 1);
    agent.deliver(&batch(1)).await;
}
