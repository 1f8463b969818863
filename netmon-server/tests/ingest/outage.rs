//! The database goes away and comes back: nothing is lost and nothing doubled.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use netmon_server::{agent_id::AgentId, ingest::Limits};

use crate::{
    agent::{Agent, Reply},
    batch::{FRAME_BYTES, batch},
    cluster::Cluster,
    database::{database, number},
    server::Server,
};

const AGENTS: usize = 3;
const BATCHES: u64 = 150;

/// Sends batches until all are acknowledged, on new connections when the old one ends, as an agent
/// with an outbox does. Every tenth batch is sent twice.
async fn outbox(server: &Server, id: AgentId) {
    let mut waiting: BTreeSet<u64> = (1..=BATCHES).collect();
    let mut next = 1;
    while !waiting.is_empty() {
        let Ok(mut agent) = connect(server, id).await else {
            continue;
        };
        for sequence in waiting
            .clone()
            .into_iter()
            .filter(|sequence| *sequence < next)
        {
            agent.send_batch(&batch(sequence)).await;
        }
        let mut ticks = tokio::time::interval(Duration::from_millis(40));
        loop {
            tokio::select! {
                _ = ticks.tick(), if next <= BATCHES => {
                    agent.send_batch(&batch(next)).await;
                    if next % 10 == 0 {
                        agent.send_batch(&batch(next)).await;
                    }
                    next += 1;
                    // Connections break, too.
                    if next % 60 == 0 {
                        agent.connection.close(0_u8.into(), b"");
                        break;
                    }
                }
                reply = agent.try_reply() => match reply {
                    Ok(Reply::Acknowledged(sequences)) => {
                        waiting.retain(|sequence| !sequences.contains(sequence));
                        if waiting.is_empty() {
                            return;
                        }
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => break,
                }
            }
        }
    }
}

async fn connect(server: &Server, id: AgentId) -> Result<Agent, String> {
    let identity = server.authority.agent(id);
    let config = server
        .authority
        .client(Some(identity), &[netmon_common::wire::ALPN]);
    Agent::try_connect(server.address, config, id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stops_for_seconds_costs_nothing() {
    let mut cluster = Cluster::start().await;
    let pool = database(&cluster).await;
    let server = Server::on(pool, Limits::default()).await;
    let agents = [(); AGENTS].map(|()| AgentId::random());
    let work = async {
        futures_util::future::join_all(agents.map(|id| outbox(&server, id))).await;
    };
    let outage = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            cluster.kill();
            tokio::time::sleep(Duration::from_secs(2)).await;
            cluster.restart().await;
        }
    };
    let started = Instant::now();
    let both = futures_util::future::join(work, outage);
    tokio::time::timeout(Duration::from_secs(120), both)
        .await
        .expect("all batches arrive");
    assert!(
        started.elapsed() > Duration::from_secs(6),
        "the outage came after the work"
    );

    let batches = (AGENTS as u64 * BATCHES) as i64;
    let pool = &server.pool;
    assert_eq!(
        number(pool, "SELECT count(*) FROM ingest_ledger").await,
        batches
    );
    assert_eq!(
        number(pool, "SELECT count(*) FROM bandwidth_stats").await,
        batches
    );
    let sums = "SELECT sum(egress_bytes) FROM bandwidth_samples";
    assert_eq!(number(pool, sums).await, batches * FRAME_BYTES);
    assert_eq!(
        number(pool, "SELECT count(*) FROM ntp_exchanges").await,
        batches
    );
    assert_eq!(
        number(pool, "SELECT sum(session_count) FROM ntp_clients").await,
        batches
    );
    assert_eq!(
        number(pool, "SELECT count(*) FROM ingest_refusals").await,
        0
    );
    assert!(server.metric("netmon_server_database_errors_total{operation=\"commit\"}") > 0);
}
