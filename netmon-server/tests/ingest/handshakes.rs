//! Only agents of ours get in.

use netmon_common::wire::ALPN;
use netmon_server::{
    agent_id::AgentId,
    ingest::{Limits, close},
};
use quinn::ClientConfig;

use crate::{
    agent::{closed, dial},
    authority::Authority,
    batch::batch,
    server::Server,
};

fn failures(cause: &str) -> String {
    format!("netmon_server_handshake_failures_total{{cause=\"{cause}\"}}")
}

/// Tries to connect; TLS 1.3 lets a client believe that it is connected until the server has
/// looked at its certificate, so the end of the connection counts too.
async fn is_rejected(server: &Server, config: ClientConfig) {
    if let Ok(connection) = dial(server.address, config).await {
        connection.closed().await;
    }
}

#[tokio::test]
async fn another_protocol_is_rejected_and_counted() {
    let server = Server::start().await;
    let mut good = server.agent().await;
    let identity = || Some(server.authority.agent(AgentId::random()));
    is_rejected(&server, server.authority.client(identity(), &[b"h3"])).await;
    is_rejected(&server, server.authority.client(identity(), &[])).await;
    server.metric_becomes(&failures("alpn"), 2).await;
    good.deliver(&batch(1)).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_rejected_and_counted() {
    let server = Server::start().await;
    let mut good = server.agent().await;
    let foreign = Authority::new().agent(good.id);
    is_rejected(&server, server.authority.client(Some(foreign), &[ALPN])).await;
    is_rejected(&server, server.authority.client(None, &[ALPN])).await;
    server.metric_becomes(&failures("certificate"), 2).await;
    good.deliver(&batch(1)).await;
    assert!(
        server.live.is_connected(good.id),
        "nobody took the agent's place"
    );
}

#[tokio::test]
async fn a_certificate_that_names_no_agent_is_rejected_and_counted() {
    let server = Server::start().await;
    let config = server
        .authority
        .client(Some(server.authority.nobody()), &[ALPN]);
    let connection = dial(server.address, config).await.unwrap();
    assert_eq!(closed(&connection).await.0, close::IDENTITY.into_inner());
    server.metric_becomes(&failures("identity"), 1).await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_server_is_counted() {
    let server = Server::start().await;
    let identity = server.authority.agent(AgentId::random());
    is_rejected(&server, Authority::new().client(Some(identity), &[ALPN])).await;
    server.metric_becomes(&failures("aborted_by_peer"), 1).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_the_others_go_on() {
    let server = Server::with(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let (mut first, second) = (server.agent().await, server.agent().await);
    let identity = server.authority.agent(AgentId::random());
    is_rejected(&server, server.authority.client(Some(identity), &[ALPN])).await;
    let refused = "netmon_server_connections_closed_total{cause=\"too_many_connections\"}";
    server.metric_becomes(refused, 1).await;
    first.deliver(&batch(1)).await;
    second.connection.close(0_u8.into(), b"");
    server
        .metric_becomes("netmon_server_quic_connections", 1)
        .await;
    server.agent().await.deliver(&batch(1)).await;
}
