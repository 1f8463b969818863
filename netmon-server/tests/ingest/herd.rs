//! A fleet that comes in one moment, and connections whose agents move.

use std::time::{Duration, Instant};

use netmon_common::wire::{ALPN, SERVER_NAME};
use netmon_server::agent_id::AgentId;
use quinn::Endpoint;
use tokio::{task::JoinSet, time::timeout};

use crate::{agent::Agent, batch::batch, server::Server};

const AGENTS: usize = 1000;

/// As long as an agent waits for its Welcome.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Without any jitter on the agents' side: worse than what agents do. Their half of the work is done
/// on the same processors, by a debug build beside other tests; what must not happen is that all
/// get so little of the server at once that each gives up and begins again.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_agents_at_once_are_all_let_in() {
    let server = Server::start().await;
    let agents: Vec<_> = (0..AGENTS)
        .map(|_| {
            let id = AgentId::random();
            let identity = server.authority.agent(id);
            (id, server.authority.client(Some(identity), &[ALPN]))
        })
        .collect();
    let (began, address) = (Instant::now(), server.address);
    let mut arrivals = JoinSet::new();
    for (id, config) in agents {
        arrivals.spawn(async move {
            let mut attempts = 1;
            loop {
                let attempt = Agent::try_connect(address, config.clone(), id);
                match timeout(ATTEMPT, attempt).await {
                    Ok(Ok(agent)) => return (agent, began.elapsed(), attempts),
                    _ => attempts += 1,
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    let arrived = arrivals.join_all().await;
    let mut after: Vec<_> = arrived.iter().map(|(_, after, _)| *after).collect();
    after.sort();
    let [half, last] = [after[AGENTS / 2], after[AGENTS - 1]];
    let attempts: u32 = arrived.iter().map(|(_, _, attempts)| attempts).sum();
    let refused = "netmon_server_connections_closed_total{cause=\"too_many_connections\"}";
    println!(
        "{AGENTS} agents at once: half in after {half:?}, all after {last:?}, with {attempts} \
         attempts, {} of them refused",
        server.metric(refused)
    );
    assert!(last < Duration::from_secs(60), "{last:?}");
    server
        .metric_becomes("netmon_server_agents_connected", AGENTS as u64)
        .await;
}

#[tokio::test]
async fn an_agent_that_moves_to_another_socket_keeps_its_connection() {
    let server = Server::start().await;
    let id = AgentId::random();
    let config = server
        .authority
        .client(Some(server.authority.agent(id)), &[ALPN]);
    let any = "127.0.0.1:0".parse().unwrap();
    let mut endpoint = Endpoint::client(any).unwrap();
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(server.address, SERVER_NAME).unwrap();
    let mut agent = Agent::greet(connection.await.unwrap(), id).await.unwrap();
    agent.deliver(&batch(1)).await;
    for sequence in 2..=5 {
        let socket = std::net::UdpSocket::bind(any).unwrap();
        endpoint.rebind(socket).unwrap();
        agent.deliver(&batch(sequence)).await;
    }
    assert_eq!(server.metric("netmon_server_agent_connections_total"), 1);
    assert_eq!(server.metric("netmon_server_quic_connections"), 1);
}

#[tokio::test]
async fn nobody_gets_a_ticket_for_early_data() {
    let server = Server::start().await;
    let id = AgentId::random();
    // Would use early data if it could.
    let config = server.authority.eager_client(server.authority.agent(id));
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(config);
    for sequence in 1..=2 {
        let connecting = endpoint.connect(server.address, SERVER_NAME).unwrap();
        let connecting = match connecting.into_0rtt() {
            Ok(_) => panic!("the client holds a ticket"),
            Err(connecting) => connecting,
        };
        let mut agent = Agent::greet(connecting.await.unwrap(), id).await.unwrap();
        // Tickets would come with the first data.
        agent.deliver(&batch(sequence)).await;
        agent.connection.close(0_u8.into(), b"");
    }
}
